"""Hashing: keyed hashes for cache keys and records, and canonical JSON to hash."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

#: Bytes of a hash that make a key; 18 make 24 characters of base64.
KEY_BYTES = 18


def canonical(value: object) -> bytes:
    """Return the canonical JSON of a value: sorted keys, no spaces, ASCII.

    Raises:
        ValueError: the value holds NaN or an infinity.
        TypeError: the value holds something that JSON does not have.

    """
    return _canonical.encode(value).encode()


# json.dumps() would make one for each value.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


class KeyHasher:
    """Keyed hash (BLAKE2b) for cache keys: who can read the cache learns no id and no prompt.

    Thread-safe.

    Args:
        secret: the app's secret, from which the key of the hash is derived.

    Example:
        >>> hasher = KeyHasher(b"secret")
        >>> hasher("user", 1) == hasher("user", "1")
        False

    """

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"flask-anam keys v2", "sha256")

    def __call__(self, kind: str, *parts: object) -> str:
        """Return the cache key for parts of any JSON type; 1 and "1" make different keys."""
        return f"anam1:{kind}:{self.digest(kind, *parts)}"

    @staticmethod
    def key_of(kind: str, digest: str) -> str:
        """Return the cache key for a digest that is known already."""
        return f"anam1:{kind}:{digest}"

    def digest(self, kind: str, *parts: object) -> str:
        """Return the hash alone: 24 characters of base64url."""
        text = canonical([kind, *parts])
        # BLAKE2b takes a key itself, at a third of the cost of HMAC-SHA256.
        digest = hashlib.blake2b(text, key=self._secret, digest_size=KEY_BYTES).digest()
        return base64.urlsafe_b64encode(digest).decode()
