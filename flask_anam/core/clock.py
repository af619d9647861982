"""Time as a dependency: a clock that tests replace, and a deadline made once per request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime


class Clock:
    """The real clock. Thread-safe. Tests pass a subclass whose time they move by hand."""

    def time(self) -> float:
        """Return Unix seconds: for stored values and for what other machines read."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump: for waits and deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for that many seconds."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time, made once per request and handed down."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(clock, clock.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds left; zero or less when it is over."""
        return self.at - self.clock.monotonic()


def moment_of(text: str) -> datetime:
    """Return the moment that a text of ISO 8601 names, UTC unless it says; raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def seconds_of(text: str) -> float:
    """Return the same as Unix seconds; raises ValueError for what is not of these centuries."""
    found = moment_of(text)
    if not 2000 <= found.year <= 2200:
        raise ValueError(text)
    return found.timestamp()
