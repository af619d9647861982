"""Cache: backends by URL, the memory cache and distributed locks."""
