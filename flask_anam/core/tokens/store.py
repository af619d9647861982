"""Token store: signed session tokens in a cache that is not trusted.

Values are JSON, signed with the app's secret, and carry the key they belong to; anything odd is
a miss. Keys are keyed hashes. A backend that fails costs its users no more than a mint.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from itsdangerous import BadSignature, Signer

from flask_anam.core.cache.backends import Backend, OwnRedisCache, PlainJson
from flask_anam.core.clock import Clock
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.outage import OUTAGE_PAUSE, OutageGuard
from flask_anam.core.tokens.token import LONGEST_LIFETIME, SessionToken

log = logging.getLogger("flask_anam")

_json = PlainJson()
#: Values whose signature is remembered instead of verified again.
MAX_REMEMBERED_VALUES = 1024
#: Characters of a value that is remembered, at most.
MAX_REMEMBERED_LENGTH = 4096
#: Seconds that a generation is kept: no token that is older than it can be stored any longer.
GENERATION_LIFETIME = LONGEST_LIFETIME + 86400.0
#: Seconds that the clock of another host may be behind ours.
MAX_CLOCK_SKEW = 60.0


class Lookup(NamedTuple):
    """The result of a cache lookup.

    Attributes:
        token: the stored token, or None.
        generation: the generation of the keys that invalidate it, to be stored with a token
            minted now; None when the cache could not be read, so that nothing may be stored.

    """

    token: SessionToken | None
    generation: str | None


class _Entry(NamedTuple):
    """A stored value: its key, Unix seconds of its end, and a text or a token."""

    key: object
    until: float
    text: str | None
    generation: object
    token: SessionToken | None


class DeferredLookup:
    """One cache lookup, done at the first use or in a round trip of another query to that Redis.

    Not thread-safe; create one per request.
    """

    def __init__(self, store: TokenStore, key: str, invalidation_keys: Sequence[str]) -> None:
        self._store = store
        self._key = key
        self._invalidation_keys = invalidation_keys
        self._result: Lookup | None = None

    def keys_for_server(self, address: tuple[str, ...] | None) -> Sequence[str]:
        """Return the keys to read on the Redis at that address; none when we are elsewhere."""
        is_here = address is not None and address == self._store.redis_address
        return (self._key, *self._invalidation_keys) if is_here else ()

    def resolve(self, values: Sequence[bytes | None]) -> None:
        """Take the values of `keys_for_server`, which another query has read."""
        stored = [_json.loads(value) for value in values]
        self._result = self._store.parse(self._key, self._invalidation_keys, stored)

    def result(self) -> Lookup:
        """Return the result; reads the cache unless `resolve` was called."""
        return self._result or self._store.lookup(self._key, self._invalidation_keys)


class TokenStore:
    """Token store: signed session tokens in a cachelib backend. Thread-safe when the backend is.

    Never raises for what the backend does: a failing read is a miss, a failing write is lost,
    and after a failure the backend is not asked for five seconds.
    """

    def __init__(self, backend: Backend, secret: bytes, clock: Clock) -> None:
        self._cache = backend.cache
        self._lease = backend.lease
        self._reopen = backend.reopen
        self._clock = clock
        # Derived once, here: itsdangerous would derive the key again for each value.
        key = hmac.digest(secret, b"flask-anam store v1", "sha256")
        self._signer = Signer(key, key_derivation="none", digest_method=hashlib.sha256)
        # The same value is read again and again; whether it is ours depends on nothing else.
        self._read = lru_cache(MAX_REMEMBERED_VALUES)(self._unsigned)
        self._guard = OutageGuard(clock, _warn)
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Use a cache of this process's own where the parent's must not be used here."""
        if self._reopen is not None:
            own = self._reopen()
            self._cache, self._lease = own.cache, own.lease

    @property
    def is_down(self) -> bool:
        """Whether the backend failed a moment ago and is not asked now."""
        return self._guard.is_down

    @property
    def can_lease(self) -> bool:
        """Whether processes can agree on who does something."""
        return self._lease.shared and not self._guard.is_down

    def acquire(self, key: str, seconds: float) -> str | None:
        """Take the lease of a key for `seconds`; return its owner, or None when it is taken."""
        return self._guard.call(lambda: self._lease.acquire(key, seconds), None)

    def release(self, key: str, owner: str) -> None:
        """Release a lease, if it is still ours."""
        self._guard.call(lambda: self._lease.release(key, owner), None)

    def lookup(self, key: str, invalidation_keys: Sequence[str] = ()) -> Lookup:
        """Return the unexpired token stored under a key, in one round trip.

        A token stored in an earlier generation of one of the invalidation keys is a miss.
        """
        values = self._guard.call(lambda: self._cache.get_many(key, *invalidation_keys), None)
        return self.parse(key, invalidation_keys, values)

    @property
    def redis_address(self) -> tuple[str, ...] | None:
        """Where another client can read our entries now; None where that cannot be done."""
        cache = self._cache
        return cache.address if isinstance(cache, OwnRedisCache) and not self.is_down else None

    def parse(
        self, key: str, invalidation_keys: Sequence[str], values: Sequence[object] | None
    ) -> Lookup:
        """Return the lookup that cached values make; None means that they could not be read."""
        if values is None or len(values) != 1 + len(invalidation_keys):
            return Lookup(None, None)
        value, *generations = values
        if any(generations):
            pairs = zip(invalidation_keys, generations, strict=True)
            generation = ".".join([self._text(name, text) or "" for name, text in pairs])
        else:  # the common case: nothing was ever cleared
            generation = "." * (len(generations) - 1)
        entry = self._verified(key, value)
        if entry is None or entry.generation != generation:
            return Lookup(None, generation)
        return Lookup(entry.token, generation)

    def put(self, key: str, token: SessionToken, seconds: float, generation: str = "") -> None:
        """Store a token for at most that many seconds."""
        facts = {"t": token.value, "m": token.minted_at, "e": token.expires_at, "g": generation}
        self._write(key, facts, seconds)

    def evict(self, key: str, token_id: str) -> None:
        """Delete the token under a key if it has that id, so that a newer token stays."""
        value = self._guard.call(lambda: self._cache.get(key), None)
        entry = self._verified(key, value)
        if entry is not None and entry.token is not None and entry.token.id == token_id:
            self.delete(key)

    def put_text(self, key: str, text: str, seconds: float) -> None:
        """Store a short text (never a secret) under a key."""
        self._write(key, {"n": text}, seconds)

    def get_text(self, key: str) -> str | None:
        """Return the text stored under a key, or None."""
        return self._text(key, self._guard.call(lambda: self._cache.get(key), None))

    def get_texts(self, *keys: str) -> list[str | None]:
        """Return the texts stored under several keys, in one round trip."""
        values = self._guard.call(lambda: self._cache.get_many(*keys), None)
        if values is None or len(values) != len(keys) or not any(values):
            return [None] * len(keys)
        return [self._text(key, value) for key, value in zip(keys, values, strict=True)]

    def delete(self, key: str) -> None:
        """Delete what is stored under a key."""
        self._guard.call(lambda: self._cache.delete(key), None)

    def bump_generation(self, invalidation_key: str) -> None:
        """Make every token stored with this key a miss, without knowing their own keys."""
        self.put_text(invalidation_key, secrets.token_urlsafe(9), GENERATION_LIFETIME)

    def _text(self, key: str, value: object) -> str | None:
        entry = self._verified(key, value)
        return entry.text if entry else None

    def _verified(self, key: str, value: object) -> _Entry | None:
        """Return what a stored value holds, or None unless it is ours, whole and in time."""
        if not isinstance(value, str | bytes):
            return None
        entry = self._read(value) if len(value) <= MAX_REMEMBERED_LENGTH else self._unsigned(value)
        now = self._clock.time()
        if entry is None or entry.key != key or entry.until <= now:
            return None
        token = entry.token
        # After the clock was set back, a token is a miss, not a token that lives for ever.
        if token and not token.minted_at - MAX_CLOCK_SKEW <= now < token.expires_at:
            return entry._replace(token=None)
        return entry

    def _unsigned(self, value: str | bytes) -> _Entry | None:
        """Return what a signed value holds, or None when it is not ours or has another shape."""
        try:
            facts = json.loads(self._signer.unsign(value))
        except (BadSignature, ValueError, RecursionError):
            return None
        return _entry_of(facts) if isinstance(facts, dict) else None

    def _write(self, key: str, facts: dict[str, Any], seconds: float) -> None:
        if seconds <= 0:
            return
        entry = {"k": key, "x": self._clock.time() + seconds, **facts}
        signed = self._signer.sign(json.dumps(entry, separators=(",", ":"))).decode()
        # Whole seconds, rounded up: 0 would mean "for ever"; "x" holds the exact time.
        timeout = math.ceil(seconds) + 1
        self._guard.call(lambda: self._cache.set(key, signed, timeout=timeout), None)


def _warn(error: Exception, _is_new: bool) -> None:
    log.warning(
        "The token cache failed (%s); tokens are minted without it for %.0f s.",
        type(error).__name__,
        OUTAGE_PAUSE,
    )


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
