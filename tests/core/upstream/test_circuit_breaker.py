"""Circuit breaker, by a clock that is moved by hand."""

from __future__ import annotations

import pytest

from flask_anam.core.clock import Deadline
from flask_anam.core.upstream.circuit_breaker import BodyBreakers, CircuitBreaker, Origin
from flask_anam.errors import AnamUnavailable
from flask_anam.testing import ManualClock


def exactly(low: float, high: float) -> float:
    """Return the middle: no spread."""
    return (low + high) / 2


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    """Return a closed breaker without jitter."""
    return CircuitBreaker(clock, exactly)


def enter(breaker: CircuitBreaker, seconds: float = 8.0) -> bool:
    """Begin a call whose deadline is that many seconds away."""
    return breaker.enter(Deadline.after(breaker._clock, seconds))


def refuses(breaker: CircuitBreaker) -> float:
    """Return the seconds to wait, of a breaker that refuses."""
    with pytest.raises(AnamUnavailable) as caught:
        enter(breaker)
    assert caught.value.hinted_wait is not None
    return caught.value.hinted_wait


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    """Make calls that fail."""
    for _ in range(times):
        breaker.record_failure(probe=enter(breaker))


def test_five_failures_in_a_row_open_the_breaker(breaker: CircuitBreaker) -> None:
    """Four do not; then calls are refused for ten seconds, and told so."""
    fail(breaker, 4)
    breaker.raise_if_open()
    fail(breaker)
    assert refuses(breaker) == 10.0
    with pytest.raises(AnamUnavailable) as caught:
        breaker.raise_if_open()
    assert caught.value.retry_after == 10.0


def test_an_answer_between_failures_keeps_it_closed(breaker: CircuitBreaker) -> None:
    """Only failures in a row count."""
    for _ in range(5):
        fail(breaker, 4)
        enter(breaker)
        breaker.record_success()
    enter(breaker)


def test_one_probe_passes_when_the_time_is_over(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """The others are told to come back in a second; its success closes the breaker."""
    fail(breaker, 5)
    clock.move(9.9)
    assert refuses(breaker) == pytest.approx(0.1)
    clock.move(0.1)
    breaker.raise_if_open()
    enter(breaker)
    assert refuses(breaker) == 1
    breaker.record_success()
    fail(breaker, 4)
    enter(breaker)


def test_a_probe_that_fails_opens_it_for_twice_as_long(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """10, 20, 40 seconds, at most 60; after a success it begins with 10 again."""
    fail(breaker, 5)
    waits = []
    for _ in range(5):
        waits.append(refuses(breaker))
        clock.move(waits[-1])
        fail(breaker)
    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0]
    clock.move(60)
    enter(breaker)
    breaker.record_success()
    fail(breaker, 5)
    assert refuses(breaker) == 10.0


def test_a_probe_that_says_nothing_makes_room_for_another(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """At once when it was given up, after ten seconds when it never came back."""
    fail(breaker, 5)
    clock.move(10)
    breaker.record_abandoned(probe=enter(breaker))
    enter(breaker)
    clock.move(9.9)
    assert refuses(breaker) == 1
    clock.move(0.1)
    enter(breaker)


def test_a_probe_is_alone_until_its_deadline(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """A slow probe, of a call that may take a minute, is not joined by others after ten seconds."""
    fail(breaker, 5)
    clock.move(10)
    assert enter(breaker, seconds=60.0)
    clock.move(59.9)
    assert refuses(breaker) == 1
    clock.move(0.1)
    assert enter(breaker, seconds=60.0)


def test_the_end_of_an_opening_is_spread(clock: ManualClock) -> None:
    """A fifth more or less, so that processes do not probe together."""
    for end, wait in ((0, 8.0), (1, 12.0)):
        breaker = CircuitBreaker(clock, lambda *span, end=end: span[end])
        fail(breaker, 5)
        assert refuses(breaker) == pytest.approx(wait)


def test_the_breaker_does_not_hang_on_the_wall_clock(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """A clock set back keeps it open no longer, nor does it prolong the time of a lost probe."""
    fail(breaker, 5)
    clock.jump(-3600)
    clock.move(10)
    enter(breaker)
    clock.jump(-3600)
    clock.move(10)
    enter(breaker)


def test_a_child_knows_what_its_parent_knew_of_anam(breaker: CircuitBreaker) -> None:
    """Only the lock is new, and free."""
    fail(breaker, 5)
    with breaker._lock:
        breaker.reinit_after_fork()
        assert refuses(breaker) == 10.0


def test_calls_under_way_when_it_opens_change_nothing(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """Thirty-two callers of one outage do not prolong the pause."""
    probes = [enter(breaker) for _ in range(32)]
    for probe in probes:
        breaker.record_failure(probe=probe)
    assert refuses(breaker) == 10.0


def test_a_late_probe_opens_no_breaker_that_has_closed(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """An older call has worked in between: its failure is one of five again."""
    fail(breaker, 5)
    clock.move(10.1)
    probe = enter(breaker)
    assert probe
    breaker.record_success()
    breaker.record_failure(probe=probe)
    breaker.raise_if_open()


def test_a_body_that_keeps_failing_is_not_forgotten(clock: ManualClock) -> None:
    """However many others fail beside it: five failures in a row open its breaker."""
    breakers = BodyBreakers(clock)
    for number in range(5 * 200):
        if number % 200 == 0:
            breakers.record_failure(Origin("bad", "ada"), probe=False)
        breakers.record_failure(Origin(f"body-{number}", "bob"), probe=False)
    with pytest.raises(AnamUnavailable):
        breakers.raise_if_open(Origin("bad", "ada"))
