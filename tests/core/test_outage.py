"""The outage guard: one pause for every kind of store."""

from __future__ import annotations

import pytest

from flask_anam.core.outage import OUTAGE_PAUSE, OutageGuard
from flask_anam.errors import Busy
from flask_anam.testing import ManualClock


class Store:
    """A store that fails as often as it is wished, and counts how often it is asked."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    def read(self) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise ConnectionError
        return "value"


def test_a_failing_store_is_not_asked_for_five_seconds(clock: ManualClock) -> None:
    """It is asked once, then not for 5 s, then again."""
    store, guard = Store(failures=1), OutageGuard(clock, lambda error, is_new: None)
    assert guard.call(store.read, default="default") == "default"
    clock.move(OUTAGE_PAUSE - 0.01)
    assert guard.is_down
    assert guard.call(store.read, default="default") == "default"
    assert store.asked == 1
    clock.move(0.02)
    assert not guard.is_down
    assert guard.call(store.read, default="default") == "value"


def test_an_outage_begins_once(clock: ManualClock) -> None:
    """Each failure is reported, and whether it is the first since the store last worked."""
    heard: list[tuple[str, bool]] = []
    guard = OutageGuard(clock, lambda error, is_new: heard.append((type(error).__name__, is_new)))
    store = Store(failures=2)
    for _ in range(3):
        guard.call(store.read, default=None)
        clock.move(OUTAGE_PAUSE)
    store.failures = store.asked + 1
    guard.call(store.read, default=None)
    assert heard == [
        ("ConnectionError", True),
        ("ConnectionError", False),
        ("ConnectionError", True),
    ]


def test_an_error_of_ours_is_no_outage(clock: ManualClock) -> None:
    """It reaches the caller, and the store is asked again at once."""
    guard = OutageGuard(clock, lambda error, is_new: pytest.fail("no outage"))

    def refuse() -> None:
        raise Busy

    with pytest.raises(Busy):
        guard.call(refuse, default=None)
    assert not guard.is_down


def test_a_clock_that_jumps_does_not_lengthen_the_pause(clock: ManualClock) -> None:
    """The pause goes by the monotonic clock."""
    guard = OutageGuard(clock, lambda error, is_new: None)
    guard.call(Store(failures=1).read, default=None)
    clock.jump(-3600)
    assert guard.is_down
    clock.move(OUTAGE_PAUSE)
    assert not guard.is_down
