"""Circuit breaker: stops calling Anam for a while after repeated failures."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.errors import AnamUnavailable

#: Failures in a row that open the breaker.
FAILURES_TO_OPEN = 5
#: Seconds for which the breaker stays open at first; doubled after each failed probe.
MIN_OPEN_TIME = 10.0
#: Upper bound of that time, in seconds.
MAX_OPEN_TIME = 60.0
#: Least seconds for which a probe without a result holds back the next one.
MIN_PROBE_TIME = 10.0


class CircuitBreaker:
    """Circuit breaker over consecutive failures. Per process, thread-safe and safe after fork.

    Closed: calls pass; five failures in a row open it. Open: calls are refused for 10 seconds,
    then 20, 40, at most 60, each a fifth more or less. Half open: one call, the probe, passes;
    its success closes the breaker and its failure opens it again.

    Args:
        clock: time; only monotonic time is read.
        random_to: returns a number between two others, to spread the ends of open times.

    """

    def __init__(
        self, clock: Clock, random_to: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._clock = clock
        self._random_to = random_to
        self._failures = 0
        self._open_time = MIN_OPEN_TIME
        self._open_until: float | None = None
        self._probe_until = 0.0
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock. The state stays: Anam is as healthy for the child as for its parent."""
        self._lock = threading.Lock()

    def raise_if_open(self) -> None:
        """Raise AnamUnavailable while open; call it before waiting for anything."""
        with self._lock:
            if self._open_until is not None:
                self._raise_before(self._open_until)

    def enter(self, deadline: Deadline) -> bool:
        """Begin a call; return whether it is the probe of a half-open breaker.

        A probe without a result holds back the next one for 10 seconds, or until the deadline of
        its call when that is later.

        Raises:
            AnamUnavailable: the breaker is open, or another probe is under way.

        """
        with self._lock:
            if self._open_until is None:
                return False
            self._raise_before(self._open_until)
            now = self._clock.monotonic()
            if now < self._probe_until:
                raise AnamUnavailable(hinted_wait=1)
            self._probe_until = max(now + MIN_PROBE_TIME, deadline.at)
            return True

    def record_success(self) -> None:
        """Record that Anam answered; a refusal (4xx) is an answer too."""
        with self._lock:
            self._failures, self._open_time, self._open_until = 0, MIN_OPEN_TIME, None
            self._probe_until = 0.0

    def record_failure(self, *, probe: bool) -> None:
        """Record a failure: no connection, no answer in time, or a server error (5xx).

        Calls that were under way when the breaker opened change nothing: they belong to the
        same outage.
        """
        with self._lock:
            self._failures += 1
            if probe:
                self._open_time = min(self._open_time * 2, MAX_OPEN_TIME)
                self._probe_until = 0.0
            opens = self._open_until is None and self._failures >= FAILURES_TO_OPEN
            if probe or opens:
                wait = self._open_time * self._random_to(0.8, 1.2)
                self._open_until = self._clock.monotonic() + wait

    def record_abandoned(self, *, probe: bool) -> None:
        """Record that a call ended without a result, which says nothing about Anam's health."""
        if probe:
            with self._lock:
                self._probe_until = 0.0

    def _raise_before(self, open_until: float) -> None:
        left = open_until - self._clock.monotonic()
        if left > 0:
            raise AnamUnavailable(hinted_wait=left)
