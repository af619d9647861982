"""What protects this process from a slow Anam: a bounded number of calls under way."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask_anam.core.clock import Deadline
from flask_anam.errors import Busy

#: Seconds that a call waits for a place at most.
PLACE_WAIT = 2.0


class Bulkhead:
    """At most so many calls at a time. Thread-safe; a forked child starts with all places."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = (os.getpid(), threading.BoundedSemaphore(places))

    @contextmanager
    def place(self, deadline: Deadline) -> Iterator[None]:
        """Hold a place.

        Raises:
            Busy: none became free within two seconds or the deadline.

        """
        if self._free[0] != os.getpid():
            self._free = (os.getpid(), threading.BoundedSemaphore(self._places))
        free = self._free[1]
        if not free.acquire(timeout=max(0.0, min(PLACE_WAIT, deadline.left()))):
            raise Busy
        try:
            yield
        finally:
            free.release()
