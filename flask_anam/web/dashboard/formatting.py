"""Numbers, lengths and times as people write them. Times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def number(value: float) -> str:
    """Return a whole number with thousands set apart: ``12,345``."""
    return f"{round(value):,}"


def percent(share: float) -> str:
    """Return a share of 1.0 in percent; what is there at all is never 0 %."""
    if 0 < share < 0.005:
        return "under 1 %"
    return f"{round(share * 100):,} %"


def length(seconds: float | None) -> str:
    """Return a length of time: ``42 s``, ``4 min 12 s``, ``1 h 05 min``; a dash for None."""
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


def talked(seconds: float) -> str:
    """Return a sum of lengths in whole minutes, from 10 hours in hours."""
    if seconds < 60:
        return f"{round(seconds)} s"
    return f"{seconds / 60:,.0f} min" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def moment(at: float) -> str:
    """Return a moment: ``Tue 14 Jul 2026, 09:30``."""
    found = _utc(at)
    return f"{found:%a} {found.day} {found:%b %Y, %H:%M}"


def step(start: int, seconds: int) -> str:
    """Return a step of a period: ``Tue 14 Jul, 09:00 to 10:00`` or ``Tue 14 Jul``."""
    first, last = _utc(start), _utc(start + seconds)
    day = f"{first:%a} {first.day} {first:%b}"
    if seconds > 86400:
        final = _utc(start + seconds - 1)
        return f"{day} to {final:%a} {final.day} {final:%b}"
    return day if seconds == 86400 else f"{day}, {first:%H:%M} to {last:%H:%M}"


def tick(at: int, seconds: int) -> str:
    """Return what stands below an axis of time; midnight is named by its day."""
    found = _utc(at)
    if seconds >= 86400 or not at % 86400:
        return f"{found.day} {found:%b}"
    return f"{found:%H:%M}"


def field(at: float) -> str:
    """Return a moment as a ``datetime-local`` field wants it."""
    return f"{_utc(at):%Y-%m-%dT%H:%M}"


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
