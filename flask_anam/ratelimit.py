"""Limits per user, counted exactly, given back when a mint fails for no fault of the user's.

The only module that knows Flask-Limiter, and with settings the only one that knows limits. Counts
live in the storage of the host's own Limiter when there is exactly one, else in one of ours.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask
from limits import RateLimitItem, parse_many
from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, Storage, storage_from_string

from flask_anam.core.clock import Clock
from flask_anam.core.settings import Settings
from flask_anam.core.store import KeyMaker
from flask_anam.errors import Busy, ConfigError, RateLimited

log = logging.getLogger("flask_anam")

#: Seconds that a failing storage is left alone.
SKIP_FOR = 5.0


@dataclass(frozen=True, slots=True)
class Window:
    """How a limit stands for one user.

    Attributes:
        limit: hits allowed in the window.
        used: hits counted, this one included.
        reset: seconds until the window ends.

    """

    limit: int
    used: int
    reset: int

    @property
    def remaining(self) -> int:
        """Hits left in the window."""
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class _Bucket:
    """The counter of one limit, user and window of time."""

    item: RateLimitItem
    key: str
    reset: int

    def window(self, used: int) -> Window:
        return Window(self.item.amount, used, self.reset)


class UserLimit:
    """One limit per user, such as "10 per hour; 2 per minute". Thread-safe.

    Windows are aligned to the clock, so that a count can be given back to the window it was
    taken from, and so that what is left is known without asking the storage again.

    Args:
        name: "token" or "request", part of the key.
        limit: notation of Flask-Limiter, already checked.
        counters: where counts are kept.
        keys: makes the keys, which show no user id.
        clock: time.
        on_full: called with name, user id and seconds to wait when a user hits the limit.

    """

    def __init__(
        self,
        name: str,
        limit: str,
        counters: Counters,
        keys: KeyMaker,
        clock: Clock,
        on_full: Callable[[str, str, int], None],
    ) -> None:
        self.name = name
        # The scarcest first: a refusal by a later one has less to give back.
        self._items = sorted(parse_many(limit), key=lambda i: i.amount / i.get_expiry())
        self._counters = counters
        self._keys = keys
        self._clock = clock
        self._on_full = on_full

    def hit(self, user_id: str) -> Window:
        """Count one hit; return how the tightest window stands.

        Raises:
            RateLimited: a window is full; nothing is counted then.
            Busy: the storage is down and ``ANAM_LIMITER_ON_ERROR`` is "closed".

        """
        return self._take(user_id, self._buckets(user_id))

    def peek(self, user_id: str) -> Window:
        """Return how the tightest window stands, without counting."""
        return _tightest(
            [bucket.window(self._counters.read(bucket.key)) for bucket in self._buckets(user_id)]
        )

    @contextmanager
    def charged(self, user_id: str) -> Iterator[None]:
        """Count one hit for the work inside; give it back when that fails upstream.

        Raises:
            RateLimited: a window is full; the work is not begun.

        """
        buckets = self._buckets(user_id)
        self._take(user_id, buckets)
        try:
            yield
        except BaseException:
            self._give_back(buckets)
            raise

    def _take(self, user_id: str, buckets: list[_Bucket]) -> Window:
        windows: list[Window] = []
        for position, bucket in enumerate(buckets):
            used = self._counters.add(bucket.key, bucket.item.get_expiry())
            if used > bucket.item.amount:
                self._give_back(buckets[: position + 1])
                self._on_full(self.name, user_id, bucket.reset)
                raise RateLimited(limit=bucket.item.amount, retry_after=bucket.reset)
            windows.append(bucket.window(used))
        return _tightest(windows)

    def _buckets(self, user_id: str) -> list[_Bucket]:
        now = self._clock.time()
        buckets = []
        for item in self._items:
            size = item.get_expiry()
            number, passed = divmod(now, size)
            key = self._keys("limit", self.name, user_id, str(item), int(number))
            buckets.append(_Bucket(item, key, max(1, math.ceil(size - passed))))
        return buckets

    def _give_back(self, buckets: list[_Bucket]) -> None:
        for bucket in buckets:
            self._counters.add(bucket.key, bucket.item.get_expiry(), -1)


def _tightest(windows: list[Window]) -> Window:
    return min(windows, key=lambda window: window.remaining / window.limit)


class Counters:
    """Named counters in a storage of the limits library, with a way out when that is down.

    Args:
        app: whose Limiter is looked for, at the first use.
        settings: storage URL, and what to do on errors.
        clock: time.

    """

    def __init__(self, app: Flask, settings: Settings, clock: Clock) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._storage: Storage | None = None
        self._own = open_storage(settings.rate_limit_storage_uri)
        self._local = MemoryStorage()
        self._skip_until = -math.inf

    def add(self, key: str, seconds: int, amount: int = 1) -> int:
        """Add to a counter that lives for so many seconds; return its new value.

        Raises:
            Busy: the storage is down and ``ANAM_LIMITER_ON_ERROR`` is "closed".

        """
        if self._clock.monotonic() >= self._skip_until:
            try:
                return self._add_to(self.storage, key, seconds, amount)
            except Exception as failure:  # noqa: BLE001 - each storage has errors of its own
                self._note(failure)
        if self._settings.limiter_on_error == "closed":
            raise Busy("Limits cannot be counted at the moment.", hinted_wait=SKIP_FOR)
        if self._settings.limiter_on_error == "open":
            return 0
        return self._add_to(self._local, key, seconds, amount)

    def read(self, key: str) -> int:
        """Return a counter; 0 when it is not known."""
        if self._clock.monotonic() >= self._skip_until:
            try:
                return self.storage.get(key)
            except Exception as failure:  # noqa: BLE001
                self._note(failure)
        return self._local.get(key)

    @property
    def storage(self) -> Storage:
        """The storage in use: that of the host's only Limiter, else our own."""
        if self._storage is None:
            self._storage = _host_storage(self._app) or self._own
        return self._storage

    def _add_to(self, storage: Storage, key: str, seconds: int, amount: int) -> int:
        if isinstance(storage, MemoryStorage):
            with self._lock:  # its own incr() reads the value back outside its lock
                return storage.incr(key, seconds, amount)
        decrease = getattr(storage, "decr", None)
        if amount < 0 and decrease is not None:  # memcached cannot add a negative number
            return int(decrease(key, -amount))
        return storage.incr(key, seconds, amount)

    def _note(self, failure: Exception) -> None:
        self._skip_until = self._clock.monotonic() + SKIP_FOR
        log.warning(
            "The storage of the rate limits failed (%s); ANAM_LIMITER_ON_ERROR is %r for %.0f s.",
            type(failure).__name__,
            self._settings.limiter_on_error,
            SKIP_FOR,
        )


def open_storage(uri: str) -> Storage:
    """Return a storage of the limits library for a URL.

    Raises:
        ConfigError: the URL names no storage, or its client library is not installed.

    """
    redis = uri.startswith(("redis://", "rediss://"))
    try:
        storage = storage_from_string(uri, **(_redis_options() if redis else {}))
    except (ConfigurationError, ImportError) as no:
        raise ConfigError(
            f"ANAM_RATE_LIMIT_STORAGE_URI cannot be used: {no}. Use memory:// or "
            "redis://host:6379, and install the client library."
        ) from None
    if not isinstance(storage, Storage):
        raise ConfigError("ANAM_RATE_LIMIT_STORAGE_URI must not name an async storage.")
    return storage


def _redis_options() -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_timeout": 0.25,
        "socket_connect_timeout": 0.25,
        "retry": Retry(NoBackoff(), 0),
    }


def _host_storage(app: Flask) -> Storage | None:
    """Return the storage of the host's Limiter when there is exactly one in use, else None."""
    found = [
        limiter
        for limiter in app.extensions.get("limiter", ())
        if getattr(limiter, "enabled", False) and getattr(limiter, "initialized", False)
    ]
    return found[0].storage if len(found) == 1 else None
