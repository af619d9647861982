"""Counting in this process: tokens minted, reused, used, failed, and how long sessions lasted."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass

from flask_anam.core.clock import Clock
from flask_anam.core.fork import renew_in_children

#: Sessions whose end is awaited at most; the oldest is forgotten first.
MAX_OPEN_SESSIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A conversation that was reported as started."""

    user_id: str
    token_id: str
    started_at: float


class UsageCounters:
    """Counters of one app in this process. Thread-safe; lost when the process ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.renew()
        renew_in_children(self)
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._open: OrderedDict[str, OpenSession] = OrderedDict()
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

    def session_started(self, session_id: str, *, user_id: str, token_id: str) -> bool:
        """Note a start; False when that session is already known."""
        session = OpenSession(user_id=user_id, token_id=token_id, started_at=self._clock.time())
        with self._lock:
            if session_id in self._open:
                return False
            self._open[session_id] = session
            self._counts["tokens_used"] += 1
            while len(self._open) > MAX_OPEN_SESSIONS:
                self._open.popitem(last=False)
            return True

    def session_ended(self, session_id: str, user_id: str) -> float | None:
        """Note the end of this user's session; return its seconds, None when there is no such."""
        with self._lock:
            session = self._open.get(session_id)
            if session is None or session.user_id != user_id:
                return None
            del self._open[session_id]
            seconds = max(0.0, self._clock.time() - session.started_at)
            self._ended += 1
            self._seconds += seconds
            return seconds

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
                "sessions_active": len(self._open),
                "sessions_ended": self._ended,
                "average_session_duration": self._seconds / self._ended if self._ended else 0.0,
            }
