"""Where limits are counted: in the host's own Limiter storage, in one of ours, or in this process.

Uses the storages of the limits library; the only module that knows Flask-Limiter.
"""

from __future__ import annotations

import logging
import math
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
from flask_anam.core.tokens.store import DeferredLookup
from flask_anam.errors import Busy, ConfigError

log = logging.getLogger("flask_anam")
T = TypeVar("T")

#: Seconds for which a failing storage is not asked again.
SKIP_FOR = 5.0
#: Counters kept in this process before those of past windows are swept out.
SWEEP_ABOVE = 1_000
#: Counters kept in this process at most; then the older half of them begins anew.
MOST_COUNTERS = 100_000


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

    def _sweep(self, now: float) -> None:
        kept = [(key, count) for key, count in self._counts.items() if count[1] > now]
        if len(kept) >= MOST_COUNTERS:
            kept = kept[-MOST_COUNTERS // 2 :]
        self._counts = dict(kept)
        self._sweep_above = min(MOST_COUNTERS - 1, max(SWEEP_ABOVE, 2 * len(kept)))

    def read(self, key: str) -> int:
        """Return a counter; 0 when it is not known."""
        count, until = self._counts.get(key, (0, 0.0))
        return count if until > self._clock.time() else 0


class CounterStorage:
    """Named counters, with a way out when their storage is down. Thread-safe.

    Args:
        app: whose Limiter is looked for, at the first use.
        settings: storage URL, and what to do on errors.
        clock: time.

    """

    def __init__(self, app: Flask, settings: Settings, clock: Clock) -> None:
        self._app = app
        self._on_error = settings.limiter_on_error
        self._clock = clock
        self._local = InProcessCounters(clock)
        self._uri = settings.rate_limit_storage_uri
        self._skip_until = -math.inf
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Open a storage of this process's own: a lock of another's might be held for ever."""
        self._own = None if self._uri == "memory://" else open_storage(self._uri)
        self._found: tuple[Storage | None] | None = None

    @property
    def are_shared(self) -> bool:
        """Whether all processes of the app count together."""
        return not isinstance(self._storage(), MemoryStorage | None)

    def add(self, key: str, seconds: int, amount: int = 1) -> int:
        """Add to a counter that lives for so many seconds; return its new value.

        Raises:
            Busy: the storage is down and ``ANAM_LIMITER_ON_ERROR`` is "closed".

        """
        return self._do(
            lambda storage: _add(storage, key, seconds, amount),
            lambda local: local.add(key, seconds, amount),
            when_open=0,
        )

    def add_and_read(
        self,
        add: Sequence[tuple[str, int]],
        read: Sequence[str],
        along: DeferredLookup | None = None,
    ) -> tuple[list[int], list[int]]:
        """Add one to some counters (key and seconds), and read others; on Redis in one round trip.

        Args:
            add: key and seconds of each counter to add to.
            read: keys of counters to read.
            along: a lookup in the token cache, made in the same round trip where that is possible.

        Raises:
            Busy: the storage is down and ``ANAM_LIMITER_ON_ERROR`` is "closed".

        """
        return self._do(
            lambda storage: _add_and_read(storage, add, read, along),
            lambda local: (
                [local.add(key, seconds, 1) for key, seconds in add],
                [local.read(key) for key in read],
            ),
            when_open=([0] * len(add), [0] * len(read)),
        )

    def _do(
        self,
        shared: Callable[[Storage], T],
        local: Callable[[InProcessCounters], T],
        *,
        when_open: T,
    ) -> T:
        storage = self._storage()
        if storage is None:
            return local(self._local)
        if self._clock.monotonic() >= self._skip_until:
            try:
                return shared(storage)
            except Exception as failure:  # noqa: BLE001 - each storage has errors of its own
                self._note(failure)
        if self._on_error == "closed":
            raise Busy("Limits cannot be counted at the moment.", hinted_wait=SKIP_FOR)
        return when_open if self._on_error == "open" else local(self._local)

    def _storage(self) -> Storage | None:
        """Return the storage of the host's only Limiter, else our own; None for this process."""
        if self._found is None:
            self._found = (_host_storage(self._app) or self._own,)
            if self._found == (None,) and several_workers_are_likely():
                log.warning(
                    "ANAM_RATE_LIMIT_STORAGE_URI is memory://, so every worker counts for itself. "
                    "Use redis://..."
                )
        return self._found[0]

    def _note(self, failure: Exception) -> None:
        self._skip_until = self._clock.monotonic() + SKIP_FOR
        log.warning(
            "The storage of the rate limits failed (%s); ANAM_LIMITER_ON_ERROR is %r for %.0f s.",
            type(failure).__name__,
            self._on_error,
            SKIP_FOR,
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
    except (ConfigurationError, ValueError) as no:
        # Other texts may show the URL, and that a password.
        told = str(no) if "prerequisite" in str(no) else "no such storage, or a mistake in the URL"
        raise ConfigError(
            f"ANAM_RATE_LIMIT_STORAGE_URI cannot be used: {told}. Use memory:// or "
            "redis://host:6379, and install the client library."
        ) from None
    if not isinstance(storage, Storage):
        raise ConfigError("ANAM_RATE_LIMIT_STORAGE_URI must not name an async storage.")
    return storage


def _host_storage(app: Flask) -> Storage | None:
    """Return the storage of the host's Limiter when there is exactly one in use, else None."""
    found = [
        limiter
        for limiter in app.extensions.get("limiter", ())
        if getattr(limiter, "enabled", False) and getattr(limiter, "initialized", False)
    ]
    return found[0].storage if len(found) == 1 else None


class _MemoryLock:
    """Guards `MemoryStorage`, whose incr() reads the value back outside its own lock."""

    def __init__(self) -> None:
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self.lock = threading.Lock()


_memory = _MemoryLock()


def _add(storage: Storage, key: str, seconds: int, amount: int) -> int:
    decrease = getattr(storage, "decr", None)
    with _memory.lock if isinstance(storage, MemoryStorage) else nullcontext():
        if amount < 0 and decrease is not None:  # memcached cannot add a negative number
            return int(decrease(key, -amount))
        return storage.incr(key, seconds, amount)


def _add_and_read(
    storage: Storage,
    add: Sequence[tuple[str, int]],
    read: Sequence[str],
    along: DeferredLookup | None,
) -> tuple[list[int], list[int]]:
    if type(storage) is not RedisStorage:
        return [_add(storage, key, s, 1) for key, s in add], [storage.get(key) for key in read]
    client, name = storage.storage, storage.prefixed_key
    more = along.keys_in(redis_address(client)) if along else ()
    commands: list[tuple[str | int, ...]] = []
    for key, seconds in add:
        commands += [("INCRBY", name(key), 1), ("EXPIRE", name(key), seconds)]
    *counts, values = _ask_redis(client, [*commands, ("MGET", *map(name, read), *more)])
    if along and more:
        along.take(values[len(read) :])
    return [int(count) for count in counts[::2]], [int(v or 0) for v in values[: len(read)]]


def _ask_redis(client: Any, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
    """Send commands in one write and return the answers: a pipeline without its bookkeeping."""
    pool = client.connection_pool
    try:
        connection = pool.get_connection()
    except TypeError:  # before redis-py 5.3 it had to be told what for
        connection = pool.get_connection("_")
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [connection.read_response() for _ in commands]
    except BaseException:
        connection.disconnect()  # the next one must not read what was left unread
        raise
    finally:
        pool.release(connection)
