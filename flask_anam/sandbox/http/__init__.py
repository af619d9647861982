"""HTTP/1.1 and WebSocket server: connections, messages, and faults injected on demand."""
