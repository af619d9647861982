"""Single-flight: of several threads that want the same value, one computes it for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from flask_anam.core.clock import Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.errors import AnamError, Busy

T = TypeVar("T")


class _Flight(Generic[T]):
    """Call under way, with the result or the error that its followers wait for."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.result: T | None = None
        self.error: AnamError | None = None


class SingleFlight(Generic[T]):
    """Single-flight: runs one call per key at a time in this process; followers share its result.

    Thread-safe and safe after fork. No lock is held while the call runs, and a key is removed when
    its call ends.
    """

    def __init__(self) -> None:
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Drop the flights of the parent process, whose threads do not run in the child."""
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight[T]] = {}

    def run(self, key: str, work: Callable[[], T], deadline: Deadline) -> tuple[T, bool]:
        """Return the result of `work`, and whether this caller ran it (as the leader).

        Raises:
            Busy: the leader was not done before this caller's deadline.
            AnamError: what `work` raised; each follower gets an equal error of its own.

        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight()
            if leads:
                return self._lead(key, flight, work), True
            if not flight.landed.wait(max(0.0, deadline.left())):
                raise Busy
            if flight.error is not None:
                raise flight.error.again()
            if flight.result is not None:
                return flight.result, False
            # The leader was killed before it had a result: try again, perhaps as the leader.

    def _lead(self, key: str, flight: _Flight[T], work: Callable[[], T]) -> T:
        try:
            flight.result = work()
        except AnamError as error:
            flight.error = error.again()
            raise
        else:
            return flight.result
        finally:
            with self._lock:
                self._flights.pop(key, None)
            flight.landed.set()
