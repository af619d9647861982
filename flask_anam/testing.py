"""Helpers for the tests of apps that use Flask-Anam."""

from __future__ import annotations

from flask_anam.core.clock import Clock


class ManualClock(Clock):
    """A clock that moves only when told to; sleeping moves it. Give it to ``FlaskAnam(clock=...)``.

    Args:
        now: Unix seconds to begin with.

    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def time(self) -> float:
        """Return the hand-set time."""
        return self.now

    def monotonic(self) -> float:
        """Return the same time: it never goes back here."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on without waiting."""
        self.slept.append(seconds)
        self.now += seconds

    def move(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds
