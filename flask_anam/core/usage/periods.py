"""Periods: the times that a report covers, and the steps it is divided into. All are UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flask_anam.core.clock import parse_timestamp
from flask_anam.core.usage.records import COUNT_BUCKET
from flask_anam.errors import InvalidRequest

#: Name to seconds of the period and seconds of one step.
PRESETS: Mapping[str, tuple[int, int]] = {
    "hour": (3600, 300),
    "day": (86400, 3600),
    "week": (7 * 86400, 6 * 3600),
    "month": (30 * 86400, 86400),
}
#: The name of a period between two given times.
CUSTOM = "custom"
#: Seconds of the steps that a custom period may have; it gets the shortest one that fits.
_STEPS = (300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
#: Upper limit of the steps of a custom period.
_MAX_STEPS = 62
#: Upper limit of seconds of a custom period: a leap year.
MAX_PERIOD = 366 * 86400
_HINT = "Use a date or a date and time (UTC), such as 2026-07-14 or 2026-07-14T09:30."


@dataclass(frozen=True, slots=True)
class Period:
    """Period: the time that a report covers, in steps.

    Attributes:
        name: of `PRESETS`, or ``custom``.
        since: Unix seconds at which it begins; a multiple of `COUNT_BUCKET`.
        until: Unix seconds at which it ends, exclusive; a multiple of `COUNT_BUCKET`.
        step: seconds of one bar; a multiple of `COUNT_BUCKET`.

    """

    name: str
    since: int
    until: int
    step: int

    def before(self) -> tuple[int, int]:
        """Return start and end of the preceding period of equal length."""
        return 2 * self.since - self.until, self.since

    def starts(self) -> range:
        """Return the start of each step, Unix seconds; the first may begin before the period."""
        return range(self.since - self.since % self.step, self.until, self.step)


def preset(name: str, now: float) -> Period:
    """Return the period of that name that ends with the current step.

    Raises:
        InvalidRequest: `name` is not in `PRESETS`.

    """
    if name not in PRESETS:
        names = ", ".join([*PRESETS, CUSTOM])
        raise InvalidRequest(details={"range": [f"Unknown range. Use one of {names}."]})
    span, step = PRESETS[name]
    until = math.floor(now / step) * step + step
    return Period(name, until - span, until, step)


def custom(since: str, until: str, now: float) -> Period:
    """Return the period between two ISO 8601 times; an empty `until` means now.

    Raises:
        InvalidRequest: a time cannot be read, `until` is not after `since`, or the period is
            longer than `MAX_PERIOD`; the details name the field.

    """
    times, details = dict[str, float](), dict[str, object]()
    for field, text in {"since": since, "until": until}.items():
        try:
            times[field] = now if field == "until" and not text else parse_timestamp(text.strip())
        except ValueError:
            details[field] = [_HINT if text else f"Say when it begins. {_HINT}"]
    if details:
        raise InvalidRequest(details=details)
    start = math.floor(times["since"] / COUNT_BUCKET) * COUNT_BUCKET
    end = math.ceil(times["until"] / COUNT_BUCKET) * COUNT_BUCKET
    if start >= end:
        raise InvalidRequest(details={"until": ["The end must come after the beginning."]})
    if end - start > MAX_PERIOD:
        raise InvalidRequest(details={"since": ["Choose at most 366 days."]})
    step = next(step for step in _STEPS if (end - start) / step <= _MAX_STEPS)
    return Period(CUSTOM, start, end, step)


def format_timestamp(moment: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second: ``2026-07-14T09:30:00Z``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
