"""What protects this process, and Anam, when Anam is slow or gone.

The bulkhead bounds calls under way, the breaker stops calling what does not answer, the budget
keeps retries from multiplying an outage. All three are per process and thread-safe.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.errors import AnamUnavailable, Busy

#: Seconds that a call waits for a place at most.
PLACE_WAIT = 2.0
#: Failures in a row that open the breaker, and seconds it stays open at first and at most.
FAILURES_TO_OPEN, OPEN_FOR, OPEN_AT_MOST = 5, 10.0, 60.0
#: Seconds after which a probe that never came back is given up.
PROBE_FOR = 10.0
#: Retries cost so many coins of so many, and a success earns one back.
BUDGET, RETRY_COST = 20, 5


class Bulkhead:
    """At most so many calls at a time."""

    def __init__(self, places: int) -> None:
        self._places = places
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Start with all places free: the calls of a parent process are not ours."""
        self._free = threading.BoundedSemaphore(self._places)

    @contextmanager
    def place(self, deadline: Deadline) -> Iterator[None]:
        """Hold a place.

        Raises:
            Busy: none became free within two seconds or the deadline.

        """
        free = self._free
        if not free.acquire(timeout=max(0.0, min(PLACE_WAIT, deadline.left()))):
            raise Busy
        try:
            yield
        finally:
            free.release()


class Breaker:
    """Opens after five failures in a row; then lets one probe through now and then.

    Closed: calls pass. Open: calls are refused for 10 seconds, then 20, 40, at most 60, each a
    fifth more or less. Half open: one call passes; its success closes the breaker.
    """

    def __init__(
        self, clock: Clock, random_to: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._clock = clock
        self._random_to = random_to
        self._failures = 0
        self._open_for = OPEN_FOR
        self._open_until: float | None = None
        self._probe_until = 0.0
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock; what is known of Anam stays true in a child."""
        self._lock = threading.Lock()

    def refuse_if_open(self) -> None:
        """Raise AnamUnavailable while open; call it before waiting for anything."""
        with self._lock:
            self._refuse_until_probe_time()

    def enter(self) -> bool:
        """Count a call as begun; return whether it is the probe, as when half open.

        Raises:
            AnamUnavailable: the breaker is open, or another probe is under way.

        """
        with self._lock:
            self._refuse_until_probe_time()
            if self._open_until is None:
                return False
            now = self._clock.monotonic()
            if now < self._probe_until:
                raise AnamUnavailable(hinted_wait=1)
            self._probe_until = now + PROBE_FOR
            return True

    def worked(self) -> None:
        """Count a call as answered, if only with a refusal."""
        with self._lock:
            self._failures, self._open_for, self._open_until = 0, OPEN_FOR, None
            self._probe_until = 0.0

    def failed(self, *, probe: bool) -> None:
        """Count a call as failed: no connection, no answer, or a server error.

        Calls that were under way when it opened change nothing: they belong to one outage.
        """
        with self._lock:
            self._failures += 1
            if probe:
                self._open_for = min(self._open_for * 2, OPEN_AT_MOST)
                self._probe_until = 0.0
            opens = self._open_until is None and self._failures >= FAILURES_TO_OPEN
            if probe or opens:
                wait = self._open_for * self._random_to(0.8, 1.2)
                self._open_until = self._clock.monotonic() + wait

    def given_up(self, *, probe: bool) -> None:
        """Count a call as never finished: it says nothing about Anam."""
        if probe:
            with self._lock:
                self._probe_until = 0.0

    def _refuse_until_probe_time(self) -> None:
        if self._open_until is not None:
            left = self._open_until - self._clock.monotonic()
            if left > 0:
                raise AnamUnavailable(hinted_wait=left)


class RetryBudget:
    """Lets retries through while most calls work, and nearly none when nothing does.

    A retry that works gets its price back, any other success earns one coin.
    """

    def __init__(self) -> None:
        self._coins = BUDGET
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def earn(self, *, retried: bool) -> None:
        """Count a success: of a first attempt, or of a retry."""
        with self._lock:
            self._coins = min(BUDGET, self._coins + (RETRY_COST if retried else 1))

    def spend(self) -> bool:
        """Pay for a retry; False when there is not enough left."""
        with self._lock:
            if self._coins < RETRY_COST:
                return False
            self._coins -= RETRY_COST
            return True
