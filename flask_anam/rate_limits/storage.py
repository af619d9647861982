"""Storage backend of the rate limits: the host's Limiter storage, our own, or this process.

Uses the storages of the limits library; the only module that knows Flask-Limiter.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from flask import Flask
from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, RedisStorage, Storage, storage_from_string

from flask_anam.core.cache.backends import redis_address, redis_options
from flask_anam.core.clock import Clock
from flask_anam.core.config.settings import Settings
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.outage import OUTAGE_PAUSE, OutageGuard
from flask_anam.core.tokens.store import DeferredLookup
from flask_anam.errors import Busy, ConfigError

log = logging.getLogger("flask_anam")
T = TypeVar("T")

#: Counters kept in this process before those of past windows are swept out.
SWEEP_ABOVE = 1_000
#: Counters kept in this process at most; then the older half of them restarts at zero.
MAX_COUNTERS = 100_000


class InProcessCounters:
    """Exact counters in this process, by the injected clock. Thread-safe and safe after fork."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._sweep_above = SWEEP_ABOVE
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def add(self, key: str, seconds: int, amount: int) -> int:
        """Add to a counter that lives for so many seconds; return its new value."""
        now = self._clock.time()
        with self._lock:
            count, until = self._counts.get(key, (0, 0.0))
            if until <= now:
                count, until = 0, now + seconds
            self._counts[key] = (count + amount, until)
            if len(self._counts) > self._sweep_above:
                self._sweep(now)
        return count + amount

    def add_and_read(
        self, add: Sequence[tuple[str, int]], read: Sequence[str], _lookup: DeferredLookup | None
    ) -> tuple[list[int], list[int]]:
        """Add one to some counters (key and seconds), and read others; 0 for an unknown counter."""
        return [self.add(key, seconds, 1) for key, seconds in add], list(map(self.read, read))

    def read(self, key: str) -> int:
        """Return a counter; 0 when it is not known."""
        count, until = self._counts.get(key, (0, 0.0))
        return count if until > self._clock.time() else 0

    def _sweep(self, now: float) -> None:
        current = [(key, count) for key, count in self._counts.items() if count[1] > now]
        if len(current) >= MAX_COUNTERS:
            current = current[-MAX_COUNTERS // 2 :]
        self._counts = dict(current)
        self._sweep_above = min(MAX_COUNTERS - 1, max(SWEEP_ABOVE, 2 * len(current)))


class LibraryCounters:
    """Counters in a storage of the limits library. Thread-safe; raises what the storage raises."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def add(self, key: str, seconds: int, amount: int) -> int:
        """Add to a counter that lives for so many seconds; return its new value."""
        decrease = getattr(self.storage, "decr", None)
        with _memory.lock if isinstance(self.storage, MemoryStorage) else nullcontext():
            if amount < 0 and decrease is not None:  # memcached cannot add a negative number
                return int(decrease(key, -amount))
            return self.storage.incr(key, seconds, amount)

    def add_and_read(
        self, add: Sequence[tuple[str, int]], read: Sequence[str], lookup: DeferredLookup | None
    ) -> tuple[list[int], list[int]]:
        """Add one to some counters and read others; on Redis in one round trip, with the lookup."""
        storage = self.storage
        if type(storage) is not RedisStorage:
            counts = [self.add(key, seconds, 1) for key, seconds in add]
            return counts, [storage.get(key) for key in read]
        client, name = storage.storage, storage.prefixed_key
        more = lookup.keys_for_server(redis_address(client)) if lookup else ()
        commands: list[tuple[str | int, ...]] = []
        for key, seconds in add:
            commands += [("INCRBY", name(key), 1), ("EXPIRE", name(key), seconds)]
        *answers, values = _ask_redis(client, [*commands, ("MGET", *map(name, read), *more)])
        if lookup and more:
            lookup.resolve(values[len(read) :])
        return [int(count) for count in answers[::2]], [int(v or 0) for v in values[: len(read)]]


class CounterStorage:
    """Named counters that outlive an outage of their storage. Thread-safe.

    Args:
        app: whose Limiter is looked for, at the first use; None for none.
        settings: storage URL, and what to do on errors.
        clock: time.

    """

    def __init__(self, app: Flask | None, settings: Settings, clock: Clock) -> None:
        self._app = app
        self._on_error = settings.limiter_on_error
        self._in_process = InProcessCounters(clock)
        self._uri = settings.rate_limit_storage_uri
        self._guard = OutageGuard(clock, self._record_outage)
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Open a storage of this process's own: a lock of another's might be held for ever."""
        self._own = None if self._uri == "memory://" else open_storage(self._uri)
        self._chosen: tuple[LibraryCounters | None] | None = None

    @property
    def are_shared(self) -> bool:
        """Whether all processes of the app count together."""
        shared = self._shared()
        return shared is not None and not isinstance(shared.storage, MemoryStorage)

    def add(self, key: str, seconds: int, amount: int = 1) -> int:
        """Add to a counter that lives for so many seconds; return its new value.

        Raises:
            Busy: the storage is down and ``ANAM_LIMITER_ON_ERROR`` is "closed".

        """
        return self._with_fallback(lambda counters: counters.add(key, seconds, amount), 0)

    def add_and_read(
        self, add: Sequence[tuple[str, int]], read: Sequence[str], lookup: DeferredLookup | None
    ) -> tuple[list[int], list[int]]:
        """Add one to some counters (key and seconds), and read others; on Redis in one round trip.

        Args:
            add: key and seconds of each counter to add to.
            read: keys of counters to read.
            lookup: a lookup in the token cache, made in the same round trip where possible.

        Raises:
            Busy: the storage is down and ``ANAM_LIMITER_ON_ERROR`` is "closed".

        """
        return self._with_fallback(
            lambda counters: counters.add_and_read(add, read, lookup),
            ([0] * len(add), [0] * len(read)),
        )

    def _with_fallback(
        self, operation: Callable[[InProcessCounters | LibraryCounters], T], when_open: T
    ) -> T:
        """Count in the storage; while it is down, as ``ANAM_LIMITER_ON_ERROR`` says."""
        shared = self._chosen[0] if self._chosen else self._shared()
        if shared is None:
            return operation(self._in_process)
        result = self._guard.call(lambda: (operation(shared),), None)
        if result is not None:
            return result[0]
        if self._on_error == "closed":
            raise Busy("Limits cannot be counted at the moment.", hinted_wait=OUTAGE_PAUSE)
        return when_open if self._on_error == "open" else operation(self._in_process)

    def _shared(self) -> LibraryCounters | None:
        """Return the storage of the host's only Limiter, else our own; None for this process."""
        if self._chosen is None:
            storage = (_host_storage(self._app) if self._app else None) or self._own
            self._chosen = (LibraryCounters(storage) if storage else None,)
            if storage is None and several_workers_are_likely():
                log.warning(
                    "ANAM_RATE_LIMIT_STORAGE_URI is memory://, so every worker counts for itself. "
                    "Use redis://..."
                )
        return self._chosen[0]

    def _record_outage(self, error: Exception, _is_new: bool) -> None:
        log.warning(
            "The storage of the rate limits failed (%s); ANAM_LIMITER_ON_ERROR is %r for %.0f s.",
            type(error).__name__,
            self._on_error,
            OUTAGE_PAUSE,
        )


def several_workers_are_likely() -> bool:
    """Whether the environment looks like a server with several worker processes."""
    several = os.environ.get("WEB_CONCURRENCY", "1") not in {"", "1"}
    return several or "gunicorn" in os.environ.get("SERVER_SOFTWARE", "")


def open_storage(uri: str) -> Storage:
    """Return a storage of the limits library for a URL.

    Raises:
        ConfigError: the URL names no storage, or its client library is not installed.

    """
    redis = uri.startswith(("redis://", "rediss://"))
    try:
        storage = storage_from_string(uri, **(redis_options() if redis else {}))
    except (ConfigurationError, ValueError) as exc:
        # Other texts may show the URL, and that a password.
        text = (
            str(exc) if "prerequisite" in str(exc) else "no such storage, or a mistake in the URL"
        )
        raise ConfigError(
            f"ANAM_RATE_LIMIT_STORAGE_URI cannot be used: {text}. Use memory:// or "
            "redis://host:6379, and install the client library."
        ) from None
    if not isinstance(storage, Storage):
        raise ConfigError("ANAM_RATE_LIMIT_STORAGE_URI must not name an async storage.")
    return storage


def _host_storage(app: Flask) -> Storage | None:
    """Return the storage of the host's Limiter when there is exactly one in use, else None."""
    limiters = [
        limiter
        for limiter in app.extensions.get("limiter", ())
        if getattr(limiter, "enabled", False) and getattr(limiter, "initialized", False)
    ]
    return limiters[0].storage if len(limiters) == 1 else None


class _MemoryLock:
    """Guards `MemoryStorage`, whose incr() reads the value back outside its own lock."""

    def __init__(self) -> None:
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self.lock = threading.Lock()


_memory = _MemoryLock()


def _ask_redis(client: Any, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
    """Send commands in one write and return the answers: a pipeline without its bookkeeping."""
    pool = client.connection_pool
    try:
        connection = pool.get_connection()
    except TypeError:  # before redis-py 5.3 it takes the name of a command
        connection = pool.get_connection("_")
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [connection.read_response() for _ in commands]
    except BaseException:
        connection.disconnect()  # the next one must not read what was left unread
        raise
    finally:
        pool.release(connection)
