"""Counting limits in this process, by a clock that is moved by hand."""

from __future__ import annotations

import threading

import pytest

from flask_anam.rate_limits.storage import SWEEP_ABOVE, InProcessCounters
from flask_anam.testing import ManualClock


@pytest.fixture
def counters(clock: ManualClock) -> InProcessCounters:
    """Return counters at zero."""
    return InProcessCounters(clock)


def test_a_counter_tells_its_new_value(counters: InProcessCounters) -> None:
    """Each key has its own; an unknown one is zero."""
    assert [counters.add("a", 60, 1), counters.add("a", 60, 2), counters.add("b", 60, 1)] == [
        1,
        3,
        1,
    ]
    assert [counters.read("a"), counters.read("b"), counters.read("c")] == [3, 1, 0]


def test_a_counter_lives_from_its_first_hit(
    counters: InProcessCounters, clock: ManualClock
) -> None:
    """Later hits do not make it live longer; then it begins at zero."""
    counters.add("a", 60, 5)
    clock.move(59)
    assert counters.add("a", 60, 1) == 6
    clock.move(1)
    assert counters.read("a") == 0
    assert counters.add("a", 60, 1) == 1


def test_a_hit_can_be_given_back(counters: InProcessCounters, clock: ManualClock) -> None:
    """With a negative amount, in the same window."""
    counters.add("a", 60, 2)
    assert counters.add("a", 60, -1) == 1
    assert counters.read("a") == 1


def test_counting_is_exact_under_concurrency(counters: InProcessCounters) -> None:
    """Every value is told once."""
    counts: list[int] = []
    together = threading.Barrier(20)

    def work() -> None:
        together.wait(10)
        counts.extend([counters.add("a", 60, 1) for _ in range(50)])

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == list(range(1, 1001))


def test_past_windows_are_swept_out(counters: InProcessCounters, clock: ManualClock) -> None:
    """Memory does not grow with every user there ever was; what counts still is kept."""
    for number in range(SWEEP_ABOVE):
        counters.add(f"old {number}", 10, 1)
    counters.add("long", 3600, 7)
    clock.move(10)
    for number in range(2 * SWEEP_ABOVE + 1):
        counters.add(f"new {number}", 60, 1)
    assert len(counters._counts) <= 2 * SWEEP_ABOVE + 2
    assert not any(key.startswith("old") for key in counters._counts)
    assert counters.read("long") == 7


def test_a_child_goes_on_with_a_lock_of_its_own(counters: InProcessCounters) -> None:
    """The parent's may be held by a thread that is not here."""
    counters.add("a", 60, 1)
    with counters._lock:
        counters.reinit_after_fork()
        assert counters.add("a", 60, 1) == 2
