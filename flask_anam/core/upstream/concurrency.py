"""How many sessions run at Anam and may run: asked seldom, and once for everybody."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.single_flight import SingleFlight

#: Seconds for which an answer, or a failure, is told again.
FRESH_FOR = 5.0
#: Seconds for which an old answer is told for want of a new one.
STALE_FOR = 60.0
#: Seconds that asking may take: a mint may be waiting for it.
ASK_FOR = 2.0
#: Seconds to wait that a refusal tells at most.
LONGEST_WAIT = 300.0
#: Accounts that are remembered.
REMEMBERED = 256
#: Sessions, or seconds, that are believed at most.
MOST = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """What Anam says of the sessions of an account; a hint, since only the start decides.

    Attributes:
        limit: sessions that may run at once, or None when Anam does not tell.
        active: sessions that run, about, or None.
        can_start: whether another one may start, or None.
        wait: seconds until a place will be free, as far as Anam can tell; else None.
        age: seconds since Anam said so.
        stale: whether Anam was asked again since, in vain.

    """

    limit: int | None
    active: int | None
    can_start: bool | None
    wait: int | None
    age: float = 0.0
    stale: bool = False


class Source(Protocol):
    """Who knows: the client of the Anam API."""

    def concurrency(self, api_key: str, deadline: Deadline) -> Mapping[str, Any]:
        """Return Anam's own words; raises UpstreamError."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of an account, and when it was asked last."""

    asked_at: float
    error: errors.UpstreamError | None = None
    said: Occupancy | None = None
    said_at: float = 0.0


class Capacity:
    """Knows how full the accounts are. Thread-safe and safe after fork.

    Args:
        source: the Anam API.
        keys: makes the names of accounts, which show no API key.
        clock: time.

    """

    def __init__(self, source: Source, keys: KeyHasher, clock: Clock) -> None:
        self._source = source
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._flights: SingleFlight[_Known] = SingleFlight()
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock; what is known of Anam stays true in a child."""
        self._lock = threading.Lock()

    @scrubs_traceback
    def occupancy(self, api_key: str, deadline: Deadline) -> Occupancy:
        """Return how full an account is, as of at most five seconds ago.

        While Anam cannot be asked, the last answer is returned for a minute, marked as stale.

        Raises:
            UpstreamError: Anam refused, failed or could not be reached, and nothing is known.

        """
        known = self._ask(api_key, deadline)
        now = self._clock.monotonic()
        if known.said is None or (known.error and now - known.said_at > STALE_FOR):
            raise (known.error or errors.AnamUnavailable()).again()
        return _aged(known.said, now - known.said_at, stale=known.error is not None)

    @scrubs_traceback
    def refuse_if_full(self, api_key: str, deadline: Deadline) -> None:
        """Raise AnamAtCapacity while Anam says that nobody can start.

        When it cannot be asked within two seconds, nothing is raised: the mint will show.
        """
        try:
            now = self.occupancy(api_key, deadline)
        except errors.UpstreamError:
            return
        if now.can_start is False and not now.stale:
            raise errors.AnamAtCapacity(hinted_wait=_bounded(now.wait))

    def _ask(self, api_key: str, deadline: Deadline) -> _Known:
        account = self._keys("concurrency", api_key)
        known = self._fresh(account)
        if known is not None:
            return known
        soon = Deadline(self._clock, min(deadline.at, self._clock.monotonic() + ASK_FOR))
        known, _ = self._flights.run(
            account, lambda: self._fresh(account) or self._fetch(account, api_key, soon), deadline
        )
        return known

    def _fresh(self, account: str) -> _Known | None:
        known = self._known.get(account)
        is_fresh = known and self._clock.monotonic() - known.asked_at < FRESH_FOR
        return known if is_fresh else None

    def _fetch(self, account: str, api_key: str, deadline: Deadline) -> _Known:
        try:
            said = _read(self._source.concurrency(api_key, deadline))
        except errors.UpstreamError as error:
            old = self._known.get(account)
            now = self._clock.monotonic()
            said_before = (old.said, old.said_at) if old else (None, 0.0)
            known = _Known(now, error.again(), *said_before)
        else:
            now = self._clock.monotonic()
            known = _Known(now, None, said, now)
        with self._lock:
            self._known.pop(account, None)
            self._known[account] = known
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known


def _read(found: Mapping[str, Any]) -> Occupancy:
    """Read Anam's answer; what is not of the right kind counts as not told."""
    can_start = found.get("canStartSession")
    return Occupancy(
        limit=_whole(found.get("limit")),
        active=_whole(found.get("active")),
        can_start=can_start if isinstance(can_start, bool) else None,
        wait=_whole(found.get("estimatedWaitSeconds")),
    )


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return math.ceil(value) if 0 <= value <= MOST else None  # nan is neither


def _aged(said: Occupancy, age: float, *, stale: bool) -> Occupancy:
    """Return what was said some time ago as it looks now."""
    wait = None if said.wait is None else max(0, math.ceil(said.wait - age))
    return replace(said, wait=wait, age=age, stale=stale)


def _bounded(wait: int | None) -> float | None:
    return None if wait is None else min(max(float(wait), 1.0), LONGEST_WAIT)
