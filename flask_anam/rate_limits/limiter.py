"""Rate limits per user (fixed windows): counted exactly, and given back when a mint fails.

Windows are aligned to the clock, so that a count can be given back to the window it was taken
from, and so that what is left is known without asking the storage again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

from limits import parse_many

from flask_anam.core.clock import Clock
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.tokens.store import DeferredLookup
from flask_anam.errors import RateLimited
from flask_anam.rate_limits.storage import CounterStorage

#: Hashes of users that are remembered in this process.
MAX_REMEMBERED = 4096


class Window(NamedTuple):
    """How a limit stands for one user.

    Attributes:
        limit: hits allowed in the window.
        used: hits counted.
        reset: seconds until the window ends.

    """

    limit: int
    used: int
    reset: int

    @property
    def remaining(self) -> int:
        """Hits left in the window."""
        return max(0, self.limit - self.used)


class _Limit(NamedTuple):
    """One part of a limit, taken apart once: so many hits in so many seconds."""

    amount: int
    seconds: int


class _Bucket(NamedTuple):
    """The counter of one limit, user and window of time."""

    amount: int
    seconds: int
    key: str
    reset: int


class UserRateLimits:
    """The token limit and the request limit of one app. Thread-safe.

    Args:
        settings: the limits, in the notation of Flask-Limiter, already checked.
        counters: where counts are kept.
        keys: makes their keys, which show no user id.
        clock: time.
        on_full: called with "token" or "request", user id and seconds when a user hits a limit.

    """

    def __init__(
        self,
        settings: Settings,
        counters: CounterStorage,
        keys: KeyHasher,
        clock: Clock,
        on_full: Callable[[str, str, int], None],
    ) -> None:
        self._limits = {
            "token": _scarcest_first(settings.token_rate_limit),
            "request": _scarcest_first(settings.request_rate_limit),
            "report": _scarcest_first(settings.request_rate_limit),
        }
        self.counters = counters
        self._key = lru_cache(MAX_REMEMBERED)(keys)
        self._clock = clock
        self._on_full = on_full

    def quota(self, user_id: str, *, counts_request: bool = True) -> RequestQuota:
        """Return the quota of one request; only its mint counts unless `counts_request`."""
        return RequestQuota(self, user_id, counts_request=counts_request)

    def admit_report(self, user_id: str) -> None:
        """Count a report of a start or an end: as many as requests, in counters of their own.

        Raises:
            RateLimited: the limit is reached.

        """
        for bucket in self.buckets("report", user_id):
            if self.counters.add(bucket.key, bucket.seconds) > bucket.amount:
                raise self.refuse("request", user_id, bucket)

    def buckets(self, name: str, user_id: str) -> list[_Bucket]:
        """Return the counters of a limit for a user, for the time that it is now."""
        now, who = int(self._clock.time()), self._key("limit", user_id)
        buckets = []
        for amount, seconds in self._limits[name]:
            number, passed = divmod(now, seconds)
            key = f"{who}:{name}:{amount}:{seconds}:{number}"
            buckets.append(_Bucket(amount, seconds, key, seconds - passed))
        return buckets

    def refuse(self, name: str, user_id: str, full: _Bucket) -> RateLimited:
        """Report that a limit is reached, and return the error to raise."""
        self._on_full(name, user_id, full.reset)
        return RateLimited(limit=full.amount, retry_after=full.reset)


class RequestQuota:
    """The quota of one request of one user. Not thread-safe: it belongs to the request.

    Attributes:
        window: how the token limit stands, as far as is known; None before `admit`.

    """

    def __init__(self, limits: UserRateLimits, user_id: str, *, counts_request: bool) -> None:
        self._limits = limits
        self._user_id = user_id
        self._counts_request = counts_request
        self.window: Window | None = None

    def admit(self, lookup: DeferredLookup | None = None) -> None:
        """Count the request, once; on Redis one round trip, which also reads the token limit.

        Args:
            lookup: a cache lookup that is made in the same round trip, if it is in the same Redis.

        Raises:
            RateLimited: the request limit is reached; the request is not counted then.

        """
        if not self._counts_request:
            return
        self._counts_request = False
        limits = self._limits
        requests = limits.buckets("request", self._user_id)
        tokens = limits.buckets("token", self._user_id)
        counts, values = limits.counters.add_and_read(
            [(bucket.key, bucket.seconds) for bucket in requests],
            [bucket.key for bucket in tokens],
            lookup,
        )
        for bucket, used in zip(requests, counts, strict=True):
            if used > bucket.amount:
                self._give_back(requests)
                raise limits.refuse("request", self._user_id, bucket)
        self.window = _tightest(tokens, values)

    @contextmanager
    def charge(self, is_final: Callable[[BaseException], bool]) -> Iterator[None]:
        """Count one mint for the work inside; give it back when that fails.

        Args:
            is_final: whether a failed mint counts all the same, by its error.

        Raises:
            RateLimited: the token limit is reached; the work is not begun.

        """
        buckets = self._limits.buckets("token", self._user_id)
        self._take(buckets)
        try:
            yield
        except BaseException as error:
            if not is_final(error):
                self._give_back(buckets)
            raise

    def _take(self, buckets: list[_Bucket]) -> None:
        values: list[int] = []
        for position, bucket in enumerate(buckets):
            used = self._limits.counters.add(bucket.key, bucket.seconds)
            if used > bucket.amount:
                self._give_back(buckets[: position + 1])
                raise self._limits.refuse("token", self._user_id, bucket)
            values.append(used)
        self.window = _tightest(buckets, values)

    def _give_back(self, buckets: list[_Bucket]) -> None:
        for bucket in buckets:
            self._limits.counters.add(bucket.key, bucket.seconds, -1)


def _scarcest_first(limit: str) -> list[_Limit]:
    """Return the parts of a limit; a refusal by a later one has less to give back then."""
    parts = {_Limit(item.amount, item.get_expiry()) for item in parse_many(limit)}
    return sorted(parts, key=lambda part: part.amount / part.seconds)


def _tightest(buckets: list[_Bucket], values: list[int]) -> Window:
    """Return the window with the smallest share left."""
    windows = []
    for bucket, used in zip(buckets, values, strict=True):
        windows.append(Window(bucket.amount, used, bucket.reset))
    return min(windows, key=_share_left) if len(windows) > 1 else windows[0]


def _share_left(window: Window) -> float:
    return window.remaining / window.limit
