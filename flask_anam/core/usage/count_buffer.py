"""Counts on their way to a store: gathered in this process, written in batches."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Mapping

from flask_anam.core.clock import Clock
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.usage.records import COUNT_BUCKET, CountKey

#: Seconds after which gathered counts are written, and how many kinds are held at most.
WRITE_AFTER, MAX_BUFFERED_COUNTS = 10.0, 10_000


class CountBuffer:
    """Gathers counts and hands them to `write` a little later, in a thread of its own.

    Thread-safe. What `write` does not take is kept and tried again with what comes next; at exit
    it is handed over once more. A forked child begins with none: the parent's are the parent's.

    Args:
        write: stores counts; returns False when they must be kept.
        clock: time, of the counts; not of the thread.
        immediate: whether to hand over each count at once, since `write` costs nothing.

    """

    def __init__(
        self, write: Callable[[Mapping[CountKey, int]], bool], clock: Clock, *, immediate: bool
    ) -> None:
        self._write = write
        self._clock = clock
        self._at_once = immediate
        self.reinit_after_fork()
        reset_after_fork(self)
        if not immediate:
            atexit.register(_flush_at_exit, weakref.ref(self))

    def reinit_after_fork(self) -> None:
        """Begin anew, without thread and counts."""
        self._lock = threading.Lock()
        self._counts: dict[CountKey, int] = {}
        self._timer: threading.Timer | None = None
        self._is_closed = False

    def add(self, persona_type: str, outcome: str) -> None:
        """Count once."""
        start = int(self._clock.time() // COUNT_BUCKET * COUNT_BUCKET)
        key = (start, persona_type, outcome)
        if self._at_once and self._write({key: 1}):
            return
        with self._lock:
            if len(self._counts) < MAX_BUFFERED_COUNTS:
                self._counts[key] = self._counts.get(key, 0) + 1
            if self._timer is None and not self._at_once:
                self._timer = self._started_timer()

    def flush(self) -> None:
        """Hand over what is gathered."""
        with self._lock:
            counts, self._counts = self._counts, {}
        if counts and not self._write(counts):
            with self._lock:
                for key, number in counts.items():
                    self._counts[key] = self._counts.get(key, 0) + number

    def close(self) -> None:
        """Hand over what is gathered, now and not later; nothing is under way afterwards."""
        with self._lock:
            timer, self._timer, self._is_closed = self._timer, None, True
        if timer is not None:
            timer.cancel()
            timer.join()
        self.flush()

    def _started_timer(self) -> threading.Timer | None:
        if self._is_closed:
            return None
        timer = threading.Timer(WRITE_AFTER, self._flush_later)
        timer.daemon = True
        timer.start()
        return timer

    def _flush_later(self) -> None:
        self.flush()
        with self._lock:  # what has come meanwhile, or could not be written, gets another turn
            self._timer = self._started_timer() if self._counts else None


def _flush_at_exit(buffer: weakref.ref[CountBuffer]) -> None:
    kept = buffer()
    if kept is not None:
        kept.flush()
