"""Tokens: the session token, the token store and the reuse policy."""
