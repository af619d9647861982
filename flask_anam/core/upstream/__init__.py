"""Upstream: the client of the Anam API, with timeouts, retries and circuit breaker."""
