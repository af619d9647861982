"""Stretches of time that a dashboard shows, and how finely it cuts them up. All times are UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flask_anam.core.clock import parse_timestamp
from flask_anam.core.usage.records import COUNT_BUCKET
from flask_anam.errors import InvalidRequest

#: Name to seconds in all and seconds of one step.
PRESETS: Mapping[str, tuple[int, int]] = {
    "hour": (3600, 300),
    "day": (86400, 3600),
    "week": (7 * 86400, 6 * 3600),
    "month": (30 * 86400, 86400),
}
CUSTOM = "custom"
#: Steps for a custom period, which gets the finest one that makes no more than this many.
_STEPS = (300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
_MOST_STEPS = 62
#: Seconds of a custom period at most: a leap year.
LONGEST_PERIOD = 366 * 86400
_HOW = "Use a date or a date and time (UTC), such as 2026-07-14 or 2026-07-14T09:30."


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time.

    Attributes:
        name: of `PRESETS`, or ``custom``.
        since: Unix seconds at which it begins; a multiple of `COUNT_BUCKET`.
        until: Unix seconds at which it is over; likewise.
        step: seconds of one bar; a multiple of `COUNT_BUCKET`.

    """

    name: str
    since: int
    until: int
    step: int

    def before(self) -> tuple[int, int]:
        """Return beginning and end of the time before it that is as long."""
        return 2 * self.since - self.until, self.since

    def starts(self) -> range:
        """Return when its steps begin; the first may begin before the period does."""
        return range(self.since - self.since % self.step, self.until, self.step)


def preset(name: str, now: float) -> Period:
    """Return a period that ends with the step that is under way.

    Raises:
        InvalidRequest: there is none of that name.

    """
    if name not in PRESETS:
        names = ", ".join([*PRESETS, CUSTOM])
        raise InvalidRequest(details={"range": [f"Unknown range. Use one of {names}."]})
    span, step = PRESETS[name]
    until = math.floor(now / step) * step + step
    return Period(name, until - span, until, step)


def custom(since: str, until: str, now: float) -> Period:
    """Return the period between two moments; without the second one until now.

    Raises:
        InvalidRequest: one cannot be read, they are in the wrong order or too far apart; the
            details name the field.

    """
    moments = {"since": since, "until": until}
    found, details = dict[str, float](), dict[str, object]()
    for field, text in moments.items():
        try:
            found[field] = now if field == "until" and not text else parse_timestamp(text.strip())
        except ValueError:
            details[field] = [_HOW if text else f"Say when it begins. {_HOW}"]
    if details:
        raise InvalidRequest(details=details)
    start = math.floor(found["since"] / COUNT_BUCKET) * COUNT_BUCKET
    end = math.ceil(found["until"] / COUNT_BUCKET) * COUNT_BUCKET
    if start >= end:
        raise InvalidRequest(details={"until": ["The end must come after the beginning."]})
    if end - start > LONGEST_PERIOD:
        raise InvalidRequest(details={"since": ["Choose at most 366 days."]})
    step = next(one for one in _STEPS if (end - start) / one <= _MOST_STEPS)
    return Period(CUSTOM, start, end, step)
