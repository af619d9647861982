"""What went wrong lately and must not be tried again yet.

A refusal that concerns the account (its key, its plan, its rate) holds for every process that
shares the store; a refused request body only for this process, unless a fallback takes its place.
"""

from __future__ import annotations

import json
import random
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from flask_anam import errors
from flask_anam.core.clock import Clock
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.minting.error_codec import from_facts, to_facts
from flask_anam.core.tokens.store import TokenStore

#: Seconds of a cool-down after a refused key: at first, and at most after repeated refusals.
AUTH_FIRST, AUTH_MOST = 30.0, 300.0
#: Seconds after a refusal of the plan or spend cap, which does not pass by itself.
QUOTA = 300.0
#: Seconds after a rate limit that says nothing: at first, and at most.
RATE_FIRST, RATE_MOST = 2.0, 60.0
#: Seconds for which a refused body is not sent again, and a persona that Anam does not know.
REJECTED, MISSING = 10.0, 600.0
#: Cool-downs remembered in this process at most.
REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class _Setback:
    error: errors.UpstreamError
    until: float
    seconds: float
    times: int

    def left(self, now: float) -> float:
        """Return the seconds left; none when the clock was set back, rather than hours."""
        left = self.until - now
        return left if left <= self.seconds + 60 else 0.0


class CoolDowns:
    """Remembers errors that another try would only repeat. Thread-safe.

    Args:
        store: shared with other processes, if it is.
        clock: time; only Unix seconds, since they are shared.
        random_to: spreads the ends of rate cool-downs.

    """

    def __init__(
        self,
        store: TokenStore,
        clock: Clock,
        random_to: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random_to = random_to
        self._known: OrderedDict[str, _Setback] = OrderedDict()
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def check(self, account: str, body: str) -> None:
        """Raise the remembered error for an account or a body, if its time is not over."""
        noted = self._store.noted_many(account, body)
        for key, text in zip((account, body), noted, strict=True):
            setback = self._local(key) or self._shared(text)
            if setback is None:
                continue
            left = setback.left(self._clock.time())
            if left > 0:
                error = setback.error.again()
                if error.status == 503:
                    error.retry_after = max(1.0, left)
                raise error

    def note(self, error: errors.UpstreamError, account: str, body: str, *, fallback: bool) -> None:
        """Remember an error that a mint ended with, if it is of a kind to be remembered."""
        if isinstance(error, errors.AnamRejected):
            dead = error.persona_missing and fallback
            self._remember(body, error, MISSING if dead else REJECTED, shared=dead)
            return
        seconds = self._seconds(error, account)
        if seconds is not None:
            self._remember(account, error, seconds, shared=True)

    def forget(self, account: str) -> None:
        """Forget what was held against an account: a mint has worked."""
        with self._lock:
            self._known.pop(account, None)

    def _times_before(self, error: errors.UpstreamError, key: str) -> int:
        """Return how often an error came back after its pause.

        Calls that were under way when it came first meet it too; that is still the first time.
        """
        last = self._known.get(key)
        if last is None or type(last.error) is not type(error):
            return 0
        return last.times - (last.left(self._clock.time()) > 0)

    def _seconds(self, error: errors.UpstreamError, account: str) -> float | None:
        times = self._times_before(error, account)
        if isinstance(error, errors.AnamAuthError):
            return min(AUTH_FIRST * 2.0**times, AUTH_MOST)
        if isinstance(error, errors.AnamQuotaError):
            return QUOTA
        if isinstance(error, errors.AnamRateLimited):
            if error.hinted_wait is not None:
                return max(1.0, error.hinted_wait)
            return min(RATE_FIRST * 2.0**times, RATE_MOST) * self._random_to(0.8, 1.2)
        return None

    def _remember(
        self, key: str, error: errors.UpstreamError, seconds: float, *, shared: bool
    ) -> None:
        until = self._clock.time() + seconds
        with self._lock:
            times = self._times_before(error, key) + 1
            self._known.pop(key, None)
            self._known[key] = _Setback(error.again(), until, seconds, times)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        if shared:
            self._store.note(key, json.dumps([until, to_facts(error), seconds]), seconds)

    def _local(self, key: str) -> _Setback | None:
        setback = self._known.get(key)
        return setback if setback and setback.left(self._clock.time()) > 0 else None

    def _shared(self, noted: str | None) -> _Setback | None:
        if noted is None:
            return None
        try:
            until, facts, seconds = json.loads(noted)
            return _Setback(from_facts(facts), float(until), float(seconds), 1)
        except (KeyError, TypeError, ValueError):
            return None
