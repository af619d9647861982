"""Quotas: minutes per window of time, and concurrent sessions, of one user.

Windows are fixed windows of the `limits` library, aligned to the clock (UTC).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limits import parse_many

from flask_anam.core.usage.records import SessionRecord
from flask_anam.errors import ConfigError, MinutesExhausted, TooManySessions

if TYPE_CHECKING:
    from flask_anam.core.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Window:
    """Fixed window: one window of a minutes limit.

    Attributes:
        since: Unix seconds at which it began.
        seconds: seconds of conversation that it allows.
        ends_in: seconds until it ends.

    """

    since: float
    seconds: float
    ends_in: float


@dataclass(frozen=True, slots=True)
class Quota:
    """Quota: the limits of a user at one moment.

    Attributes:
        now: that moment, Unix seconds.
        windows: the windows of the minutes limit that it falls into.
        max_concurrent: upper limit of sessions that run or may still start, or None.

    """

    now: float
    windows: tuple[Window, ...]
    max_concurrent: int | None

    def granted(self, record: SessionRecord, spent: list[float], open_now: int) -> SessionRecord:
        """Return the record of a mint, its `max_seconds` at most what is left in every window.

        Args:
            record: of the mint under way.
            spent: seconds used or reserved, for each window.
            open_now: number of the user's sessions that run or may still start.

        Raises:
            TooManySessions: `open_now` has reached the limit.
            MinutesExhausted: less than a second is left in a window.

        """
        if self.max_concurrent is not None and open_now >= self.max_concurrent:
            raise TooManySessions
        left = [window.seconds - used for window, used in zip(self.windows, spent, strict=True)]
        used_up = [w.ends_in for w, rest in zip(self.windows, left, strict=True) if rest < 1]
        if used_up:
            raise MinutesExhausted(retry_after=max(used_up))
        allowed = [math.floor(rest) for rest in left]
        if record.max_seconds is not None:
            allowed.append(record.max_seconds)
        return replace(record, max_seconds=min(allowed)) if allowed else record


class QuotaRules:
    """Quota rules: the limits of one app, from its settings. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Read the limits.

        Raises:
            ConfigError: there is a limit, and ``ANAM_TOKEN_REUSE = "until_expiry"`` lets one token
                start many sessions, so that it could not be kept.

        """
        limit = settings.minutes_limit
        items = parse_many(limit) if limit else []
        self._items = [(item.get_expiry(), item.amount) for item in items]
        self._max_concurrent = settings.concurrent_sessions
        #: Whether there is a limit.
        self.any = bool(self._items) or self._max_concurrent is not None
        if self.any and settings.token_reuse == "until_expiry":
            raise ConfigError(
                'ANAM_TOKEN_REUSE = "until_expiry" lets one token start many sessions, so that '
                "ANAM_MINUTES_LIMIT and ANAM_CONCURRENT_SESSIONS cannot be kept. Use "
                '"until_used", or no such limit.'
            )

    def at(self, now: float) -> Quota:
        """Return the limits of a moment, Unix seconds."""
        windows = []
        for size, minutes in self._items:
            since = now - now % size
            windows.append(Window(since, minutes * 60.0, max(1.0, since + size - now)))
        return Quota(now, tuple(windows), self._max_concurrent)
