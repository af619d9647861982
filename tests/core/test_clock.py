"""Clock and deadline."""

from __future__ import annotations

from flask_anam.core.clock import Deadline
from flask_anam.testing import ManualClock


def test_a_deadline_is_counted_from_its_making() -> None:
    """It reads the monotonic clock only, and goes below zero when over."""
    clock = ManualClock()
    deadline = Deadline.after(clock, 8.0)
    clock.jump(-3600)
    assert deadline.left() == 8.0
    clock.move(9.0)
    assert deadline.left() == -1.0
