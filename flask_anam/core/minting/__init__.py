"""Minting: from a request to one token, with lock, cool-downs and fallback."""
