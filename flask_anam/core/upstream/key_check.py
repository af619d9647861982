"""Key check: whether Anam refuses an API key, or only what was asked for with it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeVar

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.upstream.client import AnamClient
from flask_anam.errors import AnamAuthError, UpstreamError

T = TypeVar("T")

#: Seconds for which a check is not repeated.
CHECK_PAUSE = 30.0
#: Seconds that a check may take.
CHECK_DEADLINE = 2.0
#: Seconds for which a mint that worked shows that a key without other permissions is good.
TRUST_AFTER_MINT = 300.0
#: Accounts that are remembered in this process.
MAX_REMEMBERED = 256


class KeyCheck:
    """Tells a refused API key from a refused request by a cheap call.

    Per process, thread-safe and safe after fork. No lock is held while Anam is asked.

    Args:
        client: the Anam API.
        clock: time.

    """

    def __init__(self, client: AnamClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._worked: OrderedDict[str, float] = OrderedDict()
        self._checked: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.Lock()

    def record_success(self, account: str) -> None:
        """Record that a mint of an account has worked."""
        self._remember(self._worked, account, self._clock.monotonic())

    def attribute(
        self, error: UpstreamError, account: str, api_key: str, deadline: Deadline
    ) -> None:
        """Attribute a 403 to the key, where a call that every key may make is refused as well.

        Asks at most once in 30 s per account, for at most 2 s; meanwhile, and when Anam cannot be
        asked, the key is taken for good. So is a key that minted in the last 300 s, unless the
        answer is 401.
        """
        if isinstance(error, AnamAuthError) and error.of_request:
            error.of_request = not self._is_refused(account, api_key, deadline)

    def _is_refused(self, account: str, api_key: str, deadline: Deadline) -> bool:
        now = self._clock.monotonic()
        with self._lock:
            checked_at, refused = self._checked.get(account, (-CHECK_PAUSE, False))
            if now - checked_at < CHECK_PAUSE:
                return refused
            # Before the call, so that of many refusals at once only one asks.
            self._checked[account] = now, False
        soon = Deadline(self._clock, min(deadline.at, now + CHECK_DEADLINE))
        refused = self._ask(account, api_key, soon)
        self._remember(self._checked, account, (now, refused))
        return refused

    @scrubs_traceback
    def _ask(self, account: str, api_key: str, deadline: Deadline) -> bool:
        try:
            self._client.concurrency(api_key, deadline)
        except AnamAuthError as error:
            worked_at = self._worked.get(account)
            has_minted = (
                worked_at is not None and self._clock.monotonic() - worked_at < TRUST_AFTER_MINT
            )
            return not (error.of_request and has_minted)
        except UpstreamError:
            return False
        return False

    def _remember(self, values: OrderedDict[str, T], account: str, value: T) -> None:
        """Store a value of an account; of too many accounts the least recent is forgotten."""
        with self._lock:
            values[account] = value
            values.move_to_end(account)
            if len(values) > MAX_REMEMBERED:
                values.popitem(last=False)
