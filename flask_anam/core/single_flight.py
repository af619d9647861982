"""Single-flight: of several threads that want the same thing, one fetches it for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from flask_anam.core.clock import Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.errors import AnamError, Busy

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = threading.Event()
        self.result: T | None = None
        self.error: AnamError | None = None


class SingleFlight(Generic[T]):
    """Runs one call per key at a time in this process; the others wait for its outcome.

    Thread-safe and safe after fork. No lock is held while the call runs, and nothing is left
    behind when it is over.
    """

    def __init__(self) -> None:
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Forget the flights of a parent process, whose threads are not here."""
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight[T]] = {}

    def run(self, key: str, work: Callable[[], T], deadline: Deadline) -> tuple[T, bool]:
        """Return the outcome of `work`, and whether this caller ran it.

        Raises:
            Busy: another caller ran it and was not done within this caller's deadline.
            AnamError: what `work` raised; waiters get an equal error of their own.

        """
        while True:
            flight, leads = self._join(key)
            if leads:
                return self._lead(key, flight, work), True
            if not flight.landed.wait(max(0.0, deadline.left())):
                raise Busy
            if flight.error is not None:
                raise flight.error.again()
            if flight.result is not None:
                return flight.result, False
            # The leader was killed before it had an outcome: try again, perhaps as leader.

    def _join(self, key: str) -> tuple[_Flight[T], bool]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            self._flights[key] = flight = _Flight()
            return flight, True

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
