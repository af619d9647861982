"""Key check: whether Anam refuses an API key, or only what was asked for with it."""

from __future__ import annotations

from collections import OrderedDict

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.upstream.client import AnamClient
from flask_anam.errors import AnamAuthError, UpstreamError

#: Seconds for which a check is not repeated.
CHECK_PAUSE = 30.0
#: Seconds that a check may take.
CHECK_DEADLINE = 2.0
#: Seconds for which a mint that worked shows that a key without other permissions is good.
TRUST_AFTER_MINT = 300.0
#: Accounts that are remembered in this process.
MAX_REMEMBERED = 256


class KeyCheck:
    """Tells a refused API key from a refused request by a cheap call. Thread-safe, per process.

    Args:
        client: the Anam API.
        clock: time.

    """

    def __init__(self, client: AnamClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._worked: OrderedDict[str, float] = OrderedDict()
        self._checked: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    def record_success(self, account: str) -> None:
        """Record that a mint of an account has worked."""
        self._worked[account] = self._clock.monotonic()
        if len(self._worked) > MAX_REMEMBERED:
            self._worked.popitem(last=False)

    def attribute(
        self, error: UpstreamError, account: str, api_key: str, deadline: Deadline
    ) -> None:
        """Attribute a 403 to the key, where a call that every key may make is refused as well.

        Asks at most once in 30 s per account, for at most 2 s. When Anam cannot be asked, the key
        is taken for good. So is a key that minted in the last 300 s, unless the answer is 401.
        """
        if isinstance(error, AnamAuthError) and error.of_request:
            error.of_request = not self._is_refused(account, api_key, deadline)

    def _is_refused(self, account: str, api_key: str, deadline: Deadline) -> bool:
        now = self._clock.monotonic()
        checked_at, refused = self._checked.get(account, (-CHECK_PAUSE, False))
        if now - checked_at >= CHECK_PAUSE:
            soon = Deadline(self._clock, min(deadline.at, now + CHECK_DEADLINE))
            refused = self._ask(account, api_key, soon)
            self._checked[account] = now, refused
            if len(self._checked) > MAX_REMEMBERED:
                self._checked.popitem(last=False)
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
