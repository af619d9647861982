"""Where tokens are kept: a small, distrustful layer over a cachelib backend.

Values are JSON, signed with the app's secret, and carry the key they belong to; anything odd is
a miss. Keys are keyed hashes. A backend that fails costs its users nothing but the mint.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from itsdangerous import BadSignature, Signer

from flask_anam.core.cache.backends import Backend, OwnRedisCache, PlainJson
from flask_anam.core.clock import Clock
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.tokens.token import SessionToken

log = logging.getLogger("flask_anam")
T = TypeVar("T")

_json = PlainJson()
#: Values that are remembered instead of verified again, and their characters at most.
REMEMBERED, LONGEST_REMEMBERED = 1024, 4096
#: Seconds that a failing cache is left alone.
SKIP_FOR = 5.0
#: Seconds that a mark of `TokenStore.invalidate` is kept: longer than any token is.
MARK_LIFETIME = 2 * 86400.0


class Lookup(NamedTuple):
    """What a look into the store found.

    Attributes:
        token: the token, or None.
        generation: the state of the marks, to be kept with a token minted now; None when the
            store could not be read, so that nothing should be kept.

    """

    token: SessionToken | None
    generation: str | None


class _Entry(NamedTuple):
    """What a kept value holds: its key, Unix seconds of its end, and a text or a token."""

    key: object
    until: float
    text: str | None
    generation: object
    token: SessionToken | None


class DeferredLookup:
    """One lookup, which may ride along with another question to the same Redis.

    Belongs to one thread.
    """

    def __init__(self, store: TokenStore, key: str, marks: Sequence[str]) -> None:
        self._store = store
        self._key = key
        self._marks = marks
        self._found: Lookup | None = None

    def keys_in(self, address: tuple[str, ...] | None) -> Sequence[str]:
        """Return what to read in the Redis at that address; nothing when we are elsewhere."""
        here = address is not None and address == self._store.redis_address
        return (self._key, *self._marks) if here else ()

    def take(self, values: Sequence[bytes | None]) -> None:
        """Take what was read."""
        self._found = self._store.judge(self._key, self._marks, [_json.loads(v) for v in values])

    def result(self) -> Lookup:
        """Return what was found; nothing has been asked for it when it came along."""
        return self._found or self._store.lookup(self._key, self._marks)


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
        # The same value is read again and again; whether it is ours depends on nothing else.
        self._read = lru_cache(REMEMBERED)(self._unsigned)
        self._skip_until = -math.inf
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
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

    def acquire(self, key: str, seconds: float) -> str | None:
        """Take the lease of a key for `seconds`; return its owner, or None when it is taken."""
        return self._try(lambda: self._lease.acquire(key, seconds))

    def release(self, key: str, owner: str) -> None:
        """Give a lease back."""
        self._try(lambda: self._lease.release(key, owner))

    def lookup(self, key: str, marks: Sequence[str] = ()) -> Lookup:
        """Return the unexpired token kept under a key, in one round trip.

        A token kept before one of the marks was renewed is a miss.
        """
        return self.judge(key, marks, self._try(lambda: self._cache.get_many(key, *marks)))

    def glance(self, key: str, marks: Sequence[str] = ()) -> DeferredLookup:
        """Return the same lookup, to be made later or along with another question."""
        return DeferredLookup(self, key, marks)

    @property
    def redis_address(self) -> tuple[str, ...] | None:
        """Where another client can read our entries now; None where that cannot be done."""
        cache = self._cache
        return cache.address if isinstance(cache, OwnRedisCache) and not self.is_down else None

    def judge(self, key: str, marks: Sequence[str], kept: Sequence[object] | None) -> Lookup:
        """Return what values say that were kept under a key and marks; None: they are not known."""
        if kept is None or len(kept) != 1 + len(marks):
            return Lookup(None, None)
        seen = [self._text(mark, value) for mark, value in zip(marks, kept[1:], strict=True)]
        generation = ".".join([mark or "" for mark in seen])
        entry = self._opened(key, kept[0])
        if entry is None or entry.generation != generation:
            return Lookup(None, generation)
        return Lookup(self._fresh(entry), generation)

    def put(self, key: str, token: SessionToken, seconds: float, generation: str = "") -> None:
        """Keep a token for at most that many seconds."""
        facts = {"t": token.value, "m": token.minted_at, "e": token.expires_at, "g": generation}
        self._write(key, facts, seconds)

    def evict(self, key: str, token_id: str) -> None:
        """Delete the token under a key if it has that id, so that a newer one stays."""
        entry = self._opened(key, self._try(lambda: self._cache.get(key)))
        token = self._fresh(entry) if entry else None
        if token is not None and token.id == token_id:
            self.forget(key)

    def note(self, key: str, text: str, seconds: float) -> None:
        """Keep a short text (never a secret) under a key."""
        self._write(key, {"n": text}, seconds)

    def noted(self, key: str) -> str | None:
        """Return the text kept under a key, or None."""
        return self._text(key, self._try(lambda: self._cache.get(key)))

    def noted_many(self, *keys: str) -> list[str | None]:
        """Return the texts kept under several keys, in one round trip."""
        kept = self._try(lambda: self._cache.get_many(*keys))
        if kept is None or len(kept) != len(keys):
            return [None] * len(keys)
        return [self._text(key, value) for key, value in zip(keys, kept, strict=True)]

    def forget(self, key: str) -> None:
        """Delete what is kept under a key."""
        self._try(lambda: self._cache.delete(key))

    def invalidate(self, mark: str) -> None:
        """Make every token kept under this mark a miss, without knowing their keys."""
        self.note(mark, secrets.token_urlsafe(9), MARK_LIFETIME)

    def _fresh(self, entry: _Entry) -> SessionToken | None:
        token, now = entry.token, self._clock.time()
        # A clock that jumped back must read as a miss, not as a token that lives for ever.
        return token if token and token.minted_at - 60 <= now < token.expires_at else None

    def _text(self, key: str, kept: object) -> str | None:
        entry = self._opened(key, kept)
        return entry.text if entry else None

    def _opened(self, key: str, kept: object) -> _Entry | None:
        """Return what a kept value holds, or None unless it is ours, whole and in time."""
        if not isinstance(kept, str | bytes):
            return None
        entry = self._read(kept) if len(kept) <= LONGEST_REMEMBERED else self._unsigned(kept)
        ours = entry is not None and entry.key == key and entry.until > self._clock.time()
        return entry if ours else None

    def _unsigned(self, kept: str | bytes) -> _Entry | None:
        """Return what a signed value holds, or None when it is not ours or has another shape."""
        try:
            facts = json.loads(self._signer.unsign(kept))
        except (BadSignature, ValueError, RecursionError):
            return None
        return _entry_of(facts) if isinstance(facts, dict) else None

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


def _entry_of(facts: dict[str, Any]) -> _Entry | None:
    until, text = facts.get("x"), facts.get("n")
    if not isinstance(until, int | float):
        return None
    try:
        token = SessionToken(
            value=str(facts["t"]), minted_at=float(facts["m"]), expires_at=float(facts["e"])
        )
    except (KeyError, TypeError, ValueError):
        token = None
    text = text if isinstance(text, str) else None
    return _Entry(facts.get("k"), until, text, facts.get("g"), token)
