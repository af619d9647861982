"""Concurrency of an account: cached status of how many sessions run and may run at Anam."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.single_flight import SingleFlight
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.retries import MAX_RETRY_AFTER

#: Seconds for which an answer, or an error, is cached.
FRESH_TIME = 5.0
#: Seconds for which the last answer is returned while Anam cannot be asked.
STALE_TIME = 60.0
#: Longest time that asking Anam may take, in seconds: a mint may be waiting for it.
ASK_TIMEOUT = 2.0
#: Size of the cache, in accounts; the oldest entry is evicted first.
CACHE_SIZE = 256
#: Largest number in an answer (sessions or seconds) that is accepted.
MAX_NUMBER = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyStatus:
    """Concurrency of an account as Anam reports it: a hint, only a start is authoritative.

    Attributes:
        limit: sessions that may run at once, or None when Anam does not say.
        active: sessions that run, approximately, or None.
        can_start: whether another session may start, or None.
        wait: seconds until a session is expected to end, or None.
        age: seconds since Anam reported it.
        stale: whether a later request to Anam failed.

    """

    limit: int | None
    active: int | None
    can_start: bool | None
    wait: int | None
    age: float = 0.0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    """The last request for an account: its time and error, and the last status and its time."""

    asked_at: float
    error: errors.UpstreamError | None
    status: ConcurrencyStatus | None
    status_at: float


class ConcurrencyMonitor:
    """Cache of the concurrency of each account. Per process, thread-safe and safe after fork.

    Args:
        client: the Anam API.
        keys: makes the names of accounts, which do not reveal the API key.
        clock: time.

    """

    def __init__(self, client: AnamClient, keys: KeyHasher, clock: Clock) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._cache: OrderedDict[str, _CacheEntry] = OrderedDict()
        self._flights: SingleFlight[_CacheEntry] = SingleFlight()
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock. The cache stays: it is as true in the child as in its parent."""
        self._lock = threading.Lock()

    @scrubs_traceback
    def status(self, api_key: str, deadline: Deadline) -> ConcurrencyStatus:
        """Return the status of an account, at most five seconds old.

        While Anam cannot be asked, the last status is returned for a minute, marked as stale.

        Raises:
            UpstreamError: Anam refused, failed or could not be reached, and there is no status
                of the last minute.

        """
        entry = self._entry(api_key, deadline)
        age = self._clock.monotonic() - entry.status_at
        if entry.status is None or (entry.error and age > STALE_TIME):
            raise (entry.error or errors.AnamUnavailable()).again()
        wait = entry.status.wait
        left = None if wait is None else max(0, math.ceil(wait - age))
        return replace(entry.status, wait=left, age=age, stale=entry.error is not None)

    @scrubs_traceback
    def raise_if_full(self, api_key: str, deadline: Deadline) -> None:
        """Raise AnamAtCapacity while Anam reports that no session can start.

        Its Retry-After is Anam's estimate, at most 300 seconds, and ends no sooner than the cache
        entry. Nothing is raised when Anam cannot be asked within two seconds: the mint will show.
        """
        try:
            status = self.status(api_key, deadline)
        except errors.UpstreamError:
            return
        if status.can_start is False and not status.stale:
            wait: float | None = status.wait
            if wait is not None:
                # A retry before the cache is refreshed would get the same refusal.
                wait = min(max(wait, 1.0, FRESH_TIME - status.age), MAX_RETRY_AFTER)
            raise errors.AnamAtCapacity(hinted_wait=wait)

    def _entry(self, api_key: str, deadline: Deadline) -> _CacheEntry:
        account = self._keys("concurrency", api_key)
        entry = self._fresh(account)
        if entry is not None:
            return entry
        soon = Deadline(self._clock, min(deadline.at, self._clock.monotonic() + ASK_TIMEOUT))
        entry, _ = self._flights.run(
            account, lambda: self._fresh(account) or self._fetch(account, api_key, soon), deadline
        )
        return entry

    def _fresh(self, account: str) -> _CacheEntry | None:
        entry = self._cache.get(account)
        is_fresh = entry and self._clock.monotonic() - entry.asked_at < FRESH_TIME
        return entry if is_fresh else None

    def _fetch(self, account: str, api_key: str, deadline: Deadline) -> _CacheEntry:
        try:
            status = _read(self._client.concurrency(api_key, deadline))
        except errors.UpstreamError as error:
            last = self._cache.get(account)
            now = self._clock.monotonic()
            status_before = (last.status, last.status_at) if last else (None, 0.0)
            entry = _CacheEntry(now, error.again(), *status_before)
        else:
            now = self._clock.monotonic()
            entry = _CacheEntry(now, None, status, now)
        with self._lock:
            self._cache.pop(account, None)
            self._cache[account] = entry
            while len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
        return entry


def _read(document: Mapping[str, Any]) -> ConcurrencyStatus:
    """Read Anam's answer; a value of the wrong type counts as missing."""
    can_start = document.get("canStartSession")
    return ConcurrencyStatus(
        limit=_whole(document.get("limit")),
        active=_whole(document.get("active")),
        can_start=can_start if isinstance(can_start, bool) else None,
        wait=_whole(document.get("estimatedWaitSeconds")),
    )


def _whole(value: object) -> int | None:
    """Return a number rounded up, or None for anything but a number from 0 to 10^9."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return math.ceil(value) if 0 <= value <= MAX_NUMBER else None  # nan fails both comparisons
