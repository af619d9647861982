"""Outage guard: a circuit breaker for a backing store, which stops asking a store that fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from flask_anam.core.clock import Clock
from flask_anam.errors import AnamError

T = TypeVar("T")
D = TypeVar("D")

#: Seconds for which a store that failed is not asked again.
OUTAGE_PAUSE = 5.0


class OutageGuard:
    """Calls a backing store (cache, database, counters); after a failure it pauses for 5 s.

    Thread-safe: no lock is held while the store works, so that several threads may meet the
    same outage before the pause begins. Safe after fork.

    Args:
        clock: time.
        on_failure: called with each failure, and whether it begins an outage: False when the
            store has not answered since the failure before.
        ignores: exceptions that do not mean an outage; they reach the caller of `call`.

    Example:
        >>> guard = OutageGuard(Clock(), lambda error, is_new: None)
        >>> guard.call(lambda: 1 / 0, default=None), guard.is_down
        (None, True)

    """

    def __init__(
        self,
        clock: Clock,
        on_failure: Callable[[Exception, bool], None],
        *,
        ignores: tuple[type[Exception], ...] = (AnamError,),
    ) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._ignores = ignores
        self._paused_until = -math.inf
        self._has_failed = False

    @property
    def is_down(self) -> bool:
        """Whether the store failed less than 5 s ago, so that it is not asked now."""
        return self._clock.monotonic() < self._paused_until

    def call(self, work: Callable[[], T], default: D) -> T | D:
        """Return what `work` returns, or `default` when it fails or the store is paused.

        Raises:
            Exception: `work` raised one of `ignores`.

        """
        if self._clock.monotonic() < self._paused_until:
            return default
        try:
            result = work()
        except self._ignores:
            raise
        except Exception as error:  # noqa: BLE001 - each store's library has errors of its own
            self._paused_until = self._clock.monotonic() + OUTAGE_PAUSE
            is_new, self._has_failed = not self._has_failed, True
            self._on_failure(error, is_new)
            return default
        self._has_failed = False
        return result
