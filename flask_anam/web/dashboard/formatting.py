"""Formatting of numbers, durations and times for people. Times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime

#: Seconds.
_DAY = 86400
#: Seconds; a sum of durations is shown in hours from here on, below in minutes.
_HOURS_FROM = 36_000


def number(value: float) -> str:
    """Return a whole number with thousands separators: ``12,345``."""
    return f"{round(value):,}"


def percent(share: float) -> str:
    """Return a share of 1.0 in percent; a positive share is never shown as 0 %."""
    if 0 < share < 0.005:
        return "under 1 %"
    return f"{round(share * 100):,} %"


def duration(seconds: float | None) -> str:
    """Return a duration: ``42 s``, ``4 min 12 s``, ``1 h 05 min``; a dash for None."""
    if seconds is None:
        return "–"  # noqa: RUF001 - a dash
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02} min" if minutes else f"{hours:,} h"


def total_duration(seconds: float) -> str:
    """Return a sum of durations in whole minutes; in hours from 10 hours on."""
    if seconds < 60:
        return f"{round(seconds)} s"
    return f"{seconds / 60:,.0f} min" if seconds < _HOURS_FROM else f"{seconds / 3600:,.0f} h"


def timestamp(at: float) -> str:
    """Return a point in time: ``Tue 14 Jul 2026, 09:30``."""
    time = _utc(at)
    return f"{time:%a} {time.day} {time:%b %Y, %H:%M}"


def interval(start: int, seconds: int) -> str:
    """Return an interval of a period: ``Tue 14 Jul, 09:00 to 10:00`` or ``Tue 14 Jul``."""
    first, last = _utc(start), _utc(start + seconds)
    day = f"{first:%a} {first.day} {first:%b}"
    if seconds > _DAY:
        final = _utc(start + seconds - 1)
        return f"{day} to {final:%a} {final.day} {final:%b}"
    return day if seconds == _DAY else f"{day}, {first:%H:%M} to {last:%H:%M}"


def axis_label(at: int, seconds: int) -> str:
    """Return the label of a time axis for bars of `seconds`; midnight is labelled with its date."""
    time = _utc(at)
    if seconds >= _DAY or not at % _DAY:
        return f"{time.day} {time:%b}"
    return f"{time:%H:%M}"


def datetime_local(at: float) -> str:
    """Return the value of an ``<input type="datetime-local">``."""
    return f"{_utc(at):%Y-%m-%dT%H:%M}"


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
