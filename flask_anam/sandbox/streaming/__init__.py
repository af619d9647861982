"""Streaming engine: signalling, and one media session for each connected client."""
