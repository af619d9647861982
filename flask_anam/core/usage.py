"""Counting in this process: tokens minted, reused, used, failed, and how long sessions lasted."""

from __future__ import annotations

import threading
from collections import Counter

from flask_anam.core.clock import Clock
from flask_anam.core.fork import renew_in_children


class UsageCounters:
    """Counters of one app in this process. Thread-safe; lost when the process ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.renew()
        renew_in_children(self)
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._ended = 0
        self._seconds = 0.0

    def renew(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        """Add one to ``tokens_created``, ``tokens_reused`` or ``tokens_reused_stale``."""
        with self._lock:
            self._counts[what] += 1

    def count_failure(self, code: str) -> None:
        """Add one failure of that error code."""
        with self._lock:
            self._failures[code] += 1

    def records_lost(self, how_many: int = 1) -> None:
        """Count usage records that could not be stored."""
        with self._lock:
            self._counts["records_lost"] += how_many

    def session_started(self) -> None:
        """Count a conversation that has started."""
        with self._lock:
            self._counts["tokens_used"] += 1

    def session_ended(self, seconds: float) -> None:
        """Count a conversation that is over, after that time."""
        with self._lock:
            self._ended += 1
            self._seconds += seconds

    def metrics(self) -> dict[str, object]:
        """Return all counters; times in seconds, the average 0.0 before the first end."""
        with self._lock:
            return {
                "tokens_created": self._counts["tokens_created"],
                "tokens_reused": self._counts["tokens_reused"],
                "tokens_reused_stale": self._counts["tokens_reused_stale"],
                "tokens_used": self._counts["tokens_used"],
                "tokens_failed": sum(self._failures.values()),
                "tokens_failed_by_code": dict(sorted(self._failures.items())),
                "sessions_active": max(0, self._counts["tokens_used"] - self._ended),
                "sessions_ended": self._ended,
                "average_session_duration": self._seconds / self._ended if self._ended else 0.0,
                "records_lost": self._counts["records_lost"],
            }
