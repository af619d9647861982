"""Retries: retry budget, backoff with full jitter, and the wait that an answer asks for."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from flask_anam.core.forksafe import reset_after_fork

#: Upper bound of the first backoff, in seconds; doubled with each attempt.
BACKOFF_BASE = 0.25
#: Upper bound of any backoff, in seconds; the server waits no longer than that for a retry.
BACKOFF_CAP = 2.0
#: Upper bound of the wait that an answer asks for, in seconds.
MAX_RETRY_AFTER = 300.0
#: Seconds that must be left before the deadline for an attempt to be worth starting.
MIN_ATTEMPT_TIME = 1.0
#: Capacity of the retry budget, in tokens.
RETRY_TOKENS = 20
#: Cost of one retry, in tokens.
RETRY_COST = 5


class RetryBudget:
    """Retry budget: a token bucket that keeps retries from multiplying an outage.

    Retries pass while most calls succeed, and nearly none while nothing does. Per process,
    thread-safe and safe after fork.
    """

    def __init__(self) -> None:
        self._tokens = RETRY_TOKENS
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def acquire(self) -> bool:
        """Take the tokens for one retry; return False when too few are left."""
        with self._lock:
            if self._tokens < RETRY_COST:
                return False
            self._tokens -= RETRY_COST
            return True

    def release(self, *, retried: bool) -> None:
        """Return tokens after a success: the cost of a retry, or one for a first attempt."""
        with self._lock:
            self._tokens = min(RETRY_TOKENS, self._tokens + (RETRY_COST if retried else 1))


def backoff(attempt: int, random_to: Callable[[float, float], float] = random.uniform) -> float:
    """Return the seconds to wait after attempt 0, 1, ...: full jitter, doubling up to the cap."""
    return random_to(0.0, min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt))


def wait_hint(headers: Mapping[str, str]) -> float | None:
    """Return the seconds an answer asks to wait, at most 300; None when it does not say.

    Reads ``Retry-After`` (seconds, or an HTTP date, which is compared with the answer's own
    ``Date``, not with our clock), then the reset headers that Anam documents. Values that are
    not valid are ignored.
    """
    hint = _retry_after(headers.get("Retry-After", ""), headers.get("Date", ""))
    if hint is None:
        for name in ("RateLimit-Reset", "X-RateLimit-Org-Hour-Reset"):
            hint = _seconds(headers.get(name, ""))
            if hint is not None:
                break
    return None if hint is None else min(hint, MAX_RETRY_AFTER)


def http_date(text: str) -> float | None:
    """Return the Unix seconds of a date in an HTTP header, or None when it is not valid."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _retry_after(value: str, date: str) -> float | None:
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    until, now = http_date(value), http_date(date)
    return None if until is None or now is None else max(0.0, until - now)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text.strip())
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
