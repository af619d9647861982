"""When to try again: what an answer says about waiting, and how long to wait when it is silent."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

#: Seconds: the first back-off at most, any back-off at most, and the longest wait ever told.
BASE, CAP, LONGEST_HINT = 0.25, 2.0, 300.0
#: Seconds that must be left for an attempt to be worth starting.
MIN_ATTEMPT = 1.0


def backoff(attempt: int, random_to: Callable[[float, float], float] = random.uniform) -> float:
    """Return the seconds to wait after attempt 0, 1, ...: full jitter, doubling up to the cap."""
    return random_to(0.0, min(CAP, BASE * 2**attempt))


def wait_hint(headers: Mapping[str, str]) -> float | None:
    """Return the seconds an answer asks us to wait, at most 300; None when it does not say.

    Reads ``Retry-After`` (seconds or an HTTP date, which is held against the answer's own
    ``Date``, not our clock), then the reset headers Anam documents. Nonsense is ignored.
    """
    hint = _retry_after(headers.get("Retry-After", ""), headers.get("Date", ""))
    if hint is None:
        for name in ("RateLimit-Reset", "X-RateLimit-Org-Hour-Reset"):
            hint = _seconds(headers.get(name, ""))
            if hint is not None:
                break
    return None if hint is None else min(hint, LONGEST_HINT)


def _retry_after(value: str, date: str) -> float | None:
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    until, now = _timestamp(value), _timestamp(date)
    return None if until is None or now is None else max(0.0, until - now)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text.strip())
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _timestamp(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
