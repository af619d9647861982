"""Where tokens are kept: a small, distrustful layer over a cachelib backend.

Values are JSON, signed with the app's secret, and carry the key they belong to; anything odd is
a miss. Keys are keyed hashes. A backend that fails costs its users nothing but the mint.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from itsdangerous import BadSignature, Signer

from flask_anam.core.backends import Backend
from flask_anam.core.clock import Clock
from flask_anam.core.fork import renew_in_children
from flask_anam.core.personas import canonical
from flask_anam.core.tokens import SessionToken

log = logging.getLogger("flask_anam")
T = TypeVar("T")

#: Seconds that a failing cache is left alone.
SKIP_FOR = 5.0
#: Seconds that a mark of `TokenStore.invalidate` is kept: longer than any token is.
MARK_LIFETIME = 2 * 86400.0


class KeyMaker:
    """Makes cache keys that tell nothing to somebody who can read the cache. Thread-safe."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"flask-anam keys v1", "sha256")

    def __call__(self, kind: str, *parts: object) -> str:
        """Return the key for parts of any JSON type; 1 and "1" make different keys."""
        digest = hmac.digest(self._secret, canonical([kind, *parts]), "sha256")
        return f"anam1:{kind}:{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


class Lookup(NamedTuple):
    """What a look into the store found.

    Attributes:
        token: the token, or None.
        generation: the state of the marks, to be kept with a token minted now; None when the
            store could not be read, so that nothing should be kept.

    """

    token: SessionToken | None
    generation: str | None


class TokenStore:
    """Session tokens in a cachelib backend. Thread-safe when the backend is.

    Never raises for what the backend does: a failing read is a miss, a failing write is lost,
    and after a failure the backend is left alone for five seconds.
    """

    def __init__(self, backend: Backend, secret: bytes, clock: Clock) -> None:
        self._cache = backend.cache
        self._lease = backend.lease
        self._reopen = backend.reopen
        self._clock = clock
        # Derived once, here: itsdangerous would derive the key anew for each value.
        key = hmac.digest(secret, b"flask-anam store v1", "sha256")
        self._signer = Signer(key, key_derivation="none", digest_method=hashlib.sha256)
        self._skip_until = -math.inf
        renew_in_children(self)

    def renew(self) -> None:
        """Use a cache of this process's own where the parent's must not be used here."""
        if self._reopen is not None:
            own = self._reopen()
            self._cache, self._lease = own.cache, own.lease

    @property
    def is_down(self) -> bool:
        """Whether the backend failed a moment ago and is left alone."""
        return self._clock.monotonic() < self._skip_until

    @property
    def can_lease(self) -> bool:
        """Whether processes can agree on who does something."""
        return self._lease.shared and not self.is_down

    def acquire(self, key: str) -> str | None:
        """Return an owner string when the lease of a key is ours now, else None."""
        return self._try(lambda: self._lease.acquire(key))

    def release(self, key: str, owner: str) -> None:
        """Give a lease back."""
        self._try(lambda: self._lease.release(key, owner))

    def lookup(self, key: str, marks: Sequence[str] = ()) -> Lookup:
        """Return the unexpired token kept under a key, in one round trip.

        A token kept before one of the marks was renewed is a miss.
        """
        return self.judge(key, marks, self._try(lambda: self._cache.get_many(key, *marks)))

    def judge(self, key: str, marks: Sequence[str], kept: Sequence[object] | None) -> Lookup:
        """Return what the values say that were kept under a key and under its marks.

        None means that they could not be read.
        """
        if kept is None or len(kept) != 1 + len(marks):
            return Lookup(None, None)
        seen = [self._opened(mark, value) for mark, value in zip(marks, kept[1:], strict=True)]
        generation = ".".join([str(mark["n"]) if mark else "" for mark in seen])
        entry = self._opened(key, kept[0])
        if entry is None or entry.get("g") != generation:
            return Lookup(None, generation)
        return Lookup(self._token(entry), generation)

    def put(self, key: str, token: SessionToken, seconds: float, generation: str = "") -> None:
        """Keep a token for at most that many seconds."""
        facts = {"t": token.value, "m": token.minted_at, "e": token.expires_at, "g": generation}
        self._write(key, facts, seconds)

    def evict(self, key: str, token_id: str) -> None:
        """Delete the token under a key if it has that id, so that a newer one stays."""
        entry = self._opened(key, self._try(lambda: self._cache.get(key)))
        token = self._token(entry) if entry else None
        if token is not None and token.id == token_id:
            self.forget(key)

    def note(self, key: str, text: str, seconds: float) -> None:
        """Keep a short text (never a secret) under a key."""
        self._write(key, {"n": text}, seconds)

    def noted(self, key: str) -> str | None:
        """Return the text kept under a key, or None."""
        entry = self._opened(key, self._try(lambda: self._cache.get(key)))
        text = entry.get("n") if entry else None
        return text if isinstance(text, str) else None

    def noted_many(self, *keys: str) -> list[str | None]:
        """Return the texts kept under several keys, in one round trip."""
        kept = self._try(lambda: self._cache.get_many(*keys))
        if kept is None or len(kept) != len(keys):
            return [None] * len(keys)
        entries = [self._opened(key, value) for key, value in zip(keys, kept, strict=True)]
        texts = [entry.get("n") if entry else None for entry in entries]
        return [text if isinstance(text, str) else None for text in texts]

    def forget(self, key: str) -> None:
        """Delete what is kept under a key."""
        self._try(lambda: self._cache.delete(key))

    def invalidate(self, mark: str) -> None:
        """Make every token kept under this mark a miss, without knowing their keys."""
        self.note(mark, secrets.token_urlsafe(9), MARK_LIFETIME)

    def _token(self, entry: dict[str, Any]) -> SessionToken | None:
        try:
            token = SessionToken(
                value=str(entry["t"]), minted_at=float(entry["m"]), expires_at=float(entry["e"])
            )
        except (KeyError, TypeError, ValueError):
            return None
        # A clock that jumped back must read as a miss, not as a token that lives for ever.
        fresh = token.minted_at - 60 <= self._clock.time() < token.expires_at
        return token if fresh else None

    def _opened(self, key: str, kept: object) -> dict[str, Any] | None:
        """Return what a kept value holds, or None unless it is ours, whole and in time."""
        if not isinstance(kept, str | bytes):
            return None
        try:
            entry = json.loads(self._signer.unsign(kept))
        except (BadSignature, ValueError, RecursionError):
            return None
        if not isinstance(entry, dict) or entry.get("k") != key:
            return None
        until = entry.get("x")
        return entry if isinstance(until, int | float) and until > self._clock.time() else None

    def _write(self, key: str, facts: dict[str, Any], seconds: float) -> None:
        if seconds <= 0:
            return
        entry = {"k": key, "x": self._clock.time() + seconds, **facts}
        signed = self._signer.sign(json.dumps(entry, separators=(",", ":"))).decode()
        # Whole seconds, rounded up: 0 would mean "for ever"; "x" holds the exact time.
        self._try(lambda: self._cache.set(key, signed, timeout=math.ceil(seconds) + 1))

    def _try(self, work: Callable[[], T]) -> T | None:
        if self.is_down:
            return None
        try:
            return work()
        except Exception as failure:  # noqa: BLE001 - each backend has errors of its own
            self._skip_until = self._clock.monotonic() + SKIP_FOR
            log.warning(
                "The token cache failed (%s); tokens are minted without it for %.0f s.",
                type(failure).__name__,
                SKIP_FOR,
            )
            return None
