"""Write-behind buffer: gathers counts in this process and writes them to the store in batches."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Mapping

from flask_anam.core.clock import Clock
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.outage import OutageGuard
from flask_anam.core.usage.records import COUNT_BUCKET, CountKey
from flask_anam.core.usage.store import SessionStore

#: Seconds after which buffered counts are written.
WRITE_AFTER = 10.0
#: Upper limit of kinds of counts (interval, persona, outcome) in the buffer.
MAX_BUFFERED_COUNTS = 10_000


class CountBuffer:
    """Write-behind buffer: gathers counts and writes them a little later, in a thread of its own.

    Thread-safe. What the store does not take stays in the buffer and is written with later counts,
    the last time at exit. A forked child begins with an empty buffer: the parent writes its own.
    A store in the memory of this process gets each count at once, without buffer and thread.

    Args:
        store: where counts are kept.
        guard: stands between the buffer and a store that fails.
        clock: time, of the counts; not of the thread.

    """

    def __init__(self, store: SessionStore, guard: OutageGuard, clock: Clock) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self.reinit_after_fork()
        reset_after_fork(self)
        if store.shared:
            atexit.register(_flush_at_exit, weakref.ref(self))

    def reinit_after_fork(self) -> None:
        """Start over, without thread and counts."""
        self._lock = threading.Lock()
        self._counts: dict[CountKey, int] = {}
        self._timer: threading.Timer | None = None
        self._is_closed = False

    def add(self, persona_type: str, outcome: str) -> None:
        """Count one outcome: ``minted``, ``reused``, ``replayed``, ``stale`` or an error code."""
        start = int(self._clock.time() // COUNT_BUCKET * COUNT_BUCKET)
        key = (start, persona_type, outcome)
        if not self._store.shared:
            self._store.count({key: 1})
            return
        with self._lock:
            if key in self._counts or len(self._counts) < MAX_BUFFERED_COUNTS:
                self._counts[key] = self._counts.get(key, 0) + 1
            if self._timer is None:
                self._timer = self._started_timer()

    def flush(self) -> None:
        """Write the buffered counts now; keep them when the store does not take them."""
        with self._lock:
            counts, self._counts = self._counts, {}
        if counts and not self._write(counts):
            with self._lock:
                for key, number in counts.items():
                    self._counts[key] = self._counts.get(key, 0) + number

    def close(self) -> None:
        """Write the buffered counts now; no thread runs afterwards."""
        with self._lock:
            timer, self._timer, self._is_closed = self._timer, None, True
        if timer is not None:
            timer.cancel()
            timer.join()
        self.flush()

    def _write(self, counts: Mapping[CountKey, int]) -> bool:
        return self._guard.call(lambda: self._store.count(counts), default=False) is None

    def _started_timer(self) -> threading.Timer | None:
        if self._is_closed:
            return None
        timer = threading.Timer(WRITE_AFTER, self._flush_later)
        timer.daemon = True
        timer.start()
        return timer

    def _flush_later(self) -> None:
        self.flush()
        with self._lock:  # again, for counts that came meanwhile or could not be written
            self._timer = self._started_timer() if self._counts else None


def _flush_at_exit(reference: weakref.ref[CountBuffer]) -> None:
    buffer = reference()
    if buffer is not None:
        buffer.flush()
