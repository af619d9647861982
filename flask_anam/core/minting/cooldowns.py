"""Cool-downs (negative cache): remembers upstream errors, so that requests fail fast.

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
from flask_anam.core.minting.error_codec import decode_error, encode_error
from flask_anam.core.tokens.store import TokenStore

#: Seconds of a cool-down after a refused API key: the first, and the longest after repetitions.
AUTH_FIRST = 30.0
AUTH_LONGEST = 300.0
#: Seconds after a refusal of the plan or spend cap, which does not pass by itself.
QUOTA_PAUSE = 300.0
#: Seconds after a rate limit without Retry-After: the first, and the longest.
RATE_FIRST = 2.0
RATE_LONGEST = 60.0
#: Seconds for which a refused body is not sent again.
REJECTED_PAUSE = 10.0
#: Seconds for which a persona that Anam does not know is not asked for again.
MISSING_PAUSE = 600.0
#: Cool-downs remembered in this process at most.
MAX_REMEMBERED = 256
#: Seconds that the clock may be set back before a cool-down counts as over.
MAX_CLOCK_SKEW = 60.0


@dataclass(frozen=True, slots=True)
class _CoolDown:
    error: errors.UpstreamError
    until: float
    seconds: float
    times: int

    def left(self, now: float) -> float:
        """Return the seconds left; none when the clock was set back, rather than hours."""
        left = self.until - now
        return left if left <= self.seconds + MAX_CLOCK_SKEW else 0.0


class CoolDowns:
    """Cool-downs of the accounts and request bodies of one app. Thread-safe.

    Args:
        store: shared with other processes, if it is.
        clock: time; only Unix seconds, since they are shared.
        random_between: spreads the ends of rate cool-downs.

    """

    def __init__(
        self,
        store: TokenStore,
        clock: Clock,
        random_between: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random_between = random_between
        self._local: OrderedDict[str, _CoolDown] = OrderedDict()
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def raise_if_cooling(self, account: str, body: str) -> None:
        """Raise the remembered error for an account or a body, if its cool-down is not over.

        Raises:
            UpstreamError: the error remembered; ``retry_after`` is what is left, in seconds.

        """
        now = self._clock.time()
        texts = self._store.get_texts(account, body)
        for key, text in zip((account, body), texts, strict=True):
            cool_down = self._local.get(key)
            if text is not None and (cool_down is None or cool_down.left(now) <= 0):
                cool_down = _parsed(text)
            if cool_down is None:
                continue
            left = cool_down.left(now)
            if left > 0:
                error = cool_down.error.again()
                if error.status == 503:
                    error.retry_after = max(1.0, left)
                raise error

    def record(
        self, error: errors.UpstreamError, account: str, body: str, *, has_fallback: bool
    ) -> None:
        """Remember the error of a mint, if it is of a kind that another try would only repeat.

        A refused key, plan or rate concerns the account; a refused request only its body.
        """
        if isinstance(error, errors.AnamAuthError) and error.of_request:
            seconds = self._seconds(error, body)
            self._remember(body, error, seconds or AUTH_FIRST, shared=True)
            return
        if isinstance(error, errors.AnamRejected):
            dead = error.persona_missing and has_fallback
            self._remember(body, error, MISSING_PAUSE if dead else REJECTED_PAUSE, shared=dead)
            return
        seconds = self._seconds(error, account)
        if seconds is not None:
            self._remember(account, error, seconds, shared=True)

    def clear(self, account: str, body: str) -> None:
        """Forget the cool-downs of an account and a body: a mint has worked."""
        with self._lock:
            self._local.pop(account, None)
            self._local.pop(body, None)

    def _times_before(self, error: errors.UpstreamError, key: str) -> int:
        """Return how often an error came back after its cool-down.

        Calls that were under way when it came first fail with it too; that is still the first
        time.
        """
        last = self._local.get(key)
        if last is None or type(last.error) is not type(error):
            return 0
        return last.times - (last.left(self._clock.time()) > 0)

    def _seconds(self, error: errors.UpstreamError, key: str) -> float | None:
        times = self._times_before(error, key)
        if isinstance(error, errors.AnamAuthError):
            return min(AUTH_FIRST * 2.0**times, AUTH_LONGEST)
        if isinstance(error, errors.AnamQuotaError):
            return QUOTA_PAUSE
        if isinstance(error, errors.AnamRateLimited):
            if error.hinted_wait is not None:
                return max(1.0, error.hinted_wait)
            return min(RATE_FIRST * 2.0**times, RATE_LONGEST) * self._random_between(0.8, 1.2)
        return None

    def _remember(
        self, key: str, error: errors.UpstreamError, seconds: float, *, shared: bool
    ) -> None:
        until = self._clock.time() + seconds
        with self._lock:
            times = self._times_before(error, key) + 1
            self._local.pop(key, None)
            self._local[key] = _CoolDown(error.again(), until, seconds, times)
            while len(self._local) > MAX_REMEMBERED:
                self._local.popitem(last=False)
        if shared:
            text = json.dumps([until, encode_error(error), seconds])
            self._store.put_text(key, text, seconds)


def _parsed(text: str) -> _CoolDown | None:
    """Return the cool-down that another process has stored, or None for nonsense."""
    try:
        until, facts, seconds = json.loads(text)
        return _CoolDown(decode_error(facts), float(until), float(seconds), 1)
    except (KeyError, TypeError, ValueError):
        return None
