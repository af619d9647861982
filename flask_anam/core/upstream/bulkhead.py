"""Bulkhead: limits how many calls to Anam one process has under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask_anam.core.clock import Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.errors import Busy

#: Longest wait for a free slot, in seconds.
MAX_WAIT = 2.0


class Bulkhead:
    """Bulkhead: a semaphore with a bounded wait. Per process, thread-safe and safe after fork.

    Args:
        max_calls: calls that may be under way at a time, 1 or more.

    """

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Free all slots: the calls of the parent process do not run in the child."""
        self._slots = threading.BoundedSemaphore(self._max_calls)

    @contextmanager
    def acquire(self, deadline: Deadline) -> Iterator[None]:
        """Hold a slot for the length of a `with` block.

        Raises:
            Busy: no slot became free within 2 seconds or before the deadline.

        """
        slots = self._slots
        if not slots.acquire(timeout=max(0.0, min(MAX_WAIT, deadline.left()))):
            raise Busy
        try:
            yield
        finally:
            slots.release()
