"""Clock and deadline: time as a dependency that tests replace; parsers of ISO 8601."""

from __future__ import annotations

import time as system
from dataclasses import dataclass
from datetime import UTC, datetime


class Clock:
    """System clock. Thread-safe. Tests pass a subclass whose time they move by hand.

    ``time()`` returns Unix seconds, for values that are stored or that other machines read;
    ``monotonic()`` returns monotonic seconds, for waits and deadlines.
    """

    # The functions themselves: they are called a dozen times per request.
    time = staticmethod(system.time)
    monotonic = staticmethod(system.monotonic)

    def sleep(self, seconds: float) -> None:
        """Sleep for that many seconds."""
        system.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """Deadline: a point in monotonic time, made once per request and passed down."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(clock, clock.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds left; zero or less when it has passed."""
        return self.at - self.clock.monotonic()


def parse_datetime(text: str) -> datetime:
    """Return the datetime of an ISO 8601 text, in UTC unless it has an offset.

    Raises:
        ValueError: it is not ISO 8601.

    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_timestamp(text: str) -> float:
    """Return the Unix seconds of an ISO 8601 text, in UTC unless it has an offset.

    Raises:
        ValueError: it is not ISO 8601, or not of the years 2000 to 2200.

    """
    moment = parse_datetime(text)
    if not 2000 <= moment.year <= 2200:
        raise ValueError(text)
    return moment.timestamp()
