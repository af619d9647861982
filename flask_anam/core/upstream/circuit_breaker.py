"""Circuit breaker: stops calling Anam for a while after repeated failures."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

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
#: Origins of internal errors, and breakers of single bodies, that are remembered at most.
MAX_REMEMBERED = 256


class Origin(NamedTuple):
    """Where a mint comes from: the hash of its request body, and the user, if there is one."""

    body: str
    user: str | None

    def is_apart(self, other: Origin) -> bool:
        """Whether both body and user differ: two mints that no single user or persona explains."""
        return self.body != other.body and (self.user != other.user or self.user is None)


class CircuitBreaker:
    """Circuit breaker over consecutive failures. Per process, thread-safe and safe after fork.

    Closed: calls pass; five failures in a row open it. Open: calls are refused for 10 seconds,
    then 20, 40, at most 60, each a fifth more or less. Half open: one call, the probe, passes;
    its success closes the breaker and its failure opens it again.

    A status of exactly 500 is what Anam answers to errors of one request. It counts as a failure
    only once two mints of different bodies and users have met it since the last success, and the
    probe is not the body that met it last, unless nobody else asks for ten seconds.

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
        self._internal_errors = 0
        self._origins: list[Origin] = []
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

    def enter(self, deadline: Deadline, origin: Origin | None = None) -> bool:
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
            met_last = origin and self._origins and self._origins[-1].body == origin.body
            if now < self._probe_until or (met_last and now < self._open_until + MIN_PROBE_TIME):
                raise AnamUnavailable(hinted_wait=1)
            self._probe_until = max(now + MIN_PROBE_TIME, deadline.at)
            return True

    def record_success(self) -> None:
        """Record that Anam answered; a refusal (4xx) is an answer too."""
        with self._lock:
            self._failures, self._open_time, self._open_until = 0, MIN_OPEN_TIME, None
            self._probe_until, self._internal_errors, self._origins = 0.0, 0, []

    def record_failure(self, *, probe: bool, origin: Origin | None = None) -> None:
        """Record a failure: no connection, no answer in time, or a server error (5xx).

        Calls that were under way when the breaker opened change nothing: they belong to the
        same outage.

        Args:
            probe: what `enter` returned.
            origin: of a mint that met a status of exactly 500; None for every other failure.

        """
        with self._lock:
            if origin is None:
                self._failures += 1
            else:
                self._record_internal_error(origin)
            # The breaker may have closed, or be another, since this probe began.
            probe = probe and self._open_until is not None
            if probe:
                self._open_time = min(self._open_time * 2, MAX_OPEN_TIME)
                self._probe_until = 0.0
            failures = self._failures + (self._internal_errors if self._is_general() else 0)
            opens = self._open_until is None and failures >= FAILURES_TO_OPEN
            if probe or opens:
                wait = self._open_time * self._random_to(0.8, 1.2)
                self._open_until = self._clock.monotonic() + wait

    def record_abandoned(self, *, probe: bool) -> None:
        """Record that a call ended without a result, which says nothing about Anam's health."""
        if probe:
            with self._lock:
                self._probe_until = 0.0

    def _record_internal_error(self, origin: Origin) -> None:
        self._internal_errors += 1
        if origin in self._origins:
            self._origins.remove(origin)
        self._origins = [*self._origins[1 - MAX_REMEMBERED :], origin]

    def _is_general(self) -> bool:
        """Whether internal errors since the last success have more than one cause in common."""
        return any(self._origins[-1].is_apart(other) for other in self._origins[:-1])

    def _raise_before(self, open_until: float) -> None:
        left = open_until - self._clock.monotonic()
        if left > 0:
            raise AnamUnavailable(hinted_wait=left)


class BodyBreakers:
    """A circuit breaker per request body, so that a body Anam fails at stops no other body.

    Per process and thread-safe. A body gets a breaker with its first status of 500; those of 256
    bodies are remembered.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def raise_if_open(self, origin: Origin | None) -> None:
        """Raise AnamUnavailable while the breaker of a body is open."""
        breaker = self._breakers.get(origin.body) if origin else None
        if breaker is not None:
            breaker.raise_if_open()

    def enter(self, origin: Origin | None, deadline: Deadline) -> bool:
        """Begin a call; return whether it is the probe of the body.

        Raises:
            AnamUnavailable: the breaker of the body is open, or another probe is under way.

        """
        breaker = self._breakers.get(origin.body) if origin else None
        return breaker is not None and breaker.enter(deadline)

    def record_failure(self, origin: Origin | None, *, probe: bool) -> None:
        """Record a status of 500."""
        if origin is None:
            return
        with self._lock:
            breaker = self._breakers.setdefault(origin.body, CircuitBreaker(self._clock))
            self._breakers.move_to_end(origin.body)
            if len(self._breakers) > MAX_REMEMBERED:
                self._breakers.popitem(last=False)
        breaker.record_failure(probe=probe)

    def record_abandoned(self, origin: Origin | None, *, probe: bool) -> None:
        """Record that a call ended in a way that says nothing about the body."""
        breaker = self._breakers.get(origin.body) if origin else None
        if breaker is not None:
            breaker.record_abandoned(probe=probe)

    def record_success(self, origin: Origin | None) -> None:
        """Record that Anam answered; the body needs no breaker any more."""
        if origin and origin.body in self._breakers:
            with self._lock:
                self._breakers.pop(origin.body, None)
