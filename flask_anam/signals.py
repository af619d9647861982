"""blinker signals, sent in the request that causes them; the sender is always the Flask app.

A receiver that raises is logged and never breaks the answer. All ids are plain strings, all
times seconds; no signal carries a key, a session token or a prompt. Each signal is a line of the
log too, whose record has the same facts as attributes ``anam_...``, but for the user id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from blinker import Namespace

from flask_anam.errors import AnamError, MinutesExhausted, TooManySessions

if TYPE_CHECKING:
    from blinker import NamedSignal
    from flask import Flask

    from flask_anam.core.metrics.recorder import MetricsRecorder
    from flask_anam.core.minting.manager import Issuance
    from flask_anam.core.tokens.reuse_policy import TokenRequest
    from flask_anam.core.usage.recorder import UsageRecorder

log = logging.getLogger("flask_anam")
_signals = Namespace()
_WORD = re.compile(r"[\w.:@-]+")

#: A new token was made. Arguments: user_id, persona_type, token_id, seconds (of the mint),
#: attempts (calls that it took).
token_minted = _signals.signal("anam-token-minted")
#: A stored token was handed out again. Arguments: user_id, persona_type, token_id, how
#: ("reused", "replayed" to an equal call, or "stale" for want of a new one).
token_reused = _signals.signal("anam-token-reused")
#: No token could be handed out. Arguments: user_id, persona_type, error (an AnamError).
token_failed = _signals.signal("anam-token-failed")
#: Anam does not know a persona any more and its fallback is used. Arguments: user_id,
#: persona_type, fallback.
persona_missing = _signals.signal("anam-persona-missing")
#: A conversation was reported as started. Arguments: user_id, session_id, token_id.
session_started = _signals.signal("anam-session-started")
#: A conversation was reported as over. Arguments: user_id, session_id, duration.
session_ended = _signals.signal("anam-session-ended")
#: A user hit a limit. Arguments: user_id, limit ("token", "request",
#: "minutes" or "sessions"), retry_after.
limit_reached = _signals.signal("anam-limit-reached")


#: How loud each event is in the log; the others are INFO.
_LEVELS = {token_reused: logging.DEBUG, persona_missing: logging.WARNING}
#: Error codes of the limits that are kept with the records, and the names of those limits.
_KEPT_WITH_RECORDS = {MinutesExhausted.code: "minutes", TooManySessions.code: "sessions"}


def send(signal: NamedSignal, app: Flask, **facts: object) -> None:
    """Log an event and send its signal so that a failing receiver cannot break the caller."""
    level = _LEVELS.get(signal, logging.INFO)
    if log.isEnabledFor(level):
        _log(level, signal.name.removeprefix("anam-").replace("-", "_"), facts)
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **facts)
        except Exception as failure:  # noqa: BLE001 - receivers are the host's code
            log.error("A receiver of %s raised %s.", signal.name, type(failure).__name__)


def _log(level: int, event: str, facts: Mapping[str, object]) -> None:
    """Log an event so that people can read its line and programs its record."""
    shown: dict[str, object] = {}
    for name, value in facts.items():
        if isinstance(value, AnamError):
            shown["code"] = value.code  # never its text, which may quote what was sent
        elif name != "user_id" and value is not None:
            shown[name] = round(value, 4) if isinstance(value, float) else value
    line = " ".join(f"{name}={_plain(value)}" for name, value in shown.items())
    extra = {"anam_event": event, **{f"anam_{name}": value for name, value in shown.items()}}
    log.log(level, "%s %s", event, line, extra=extra)


def _plain(value: object) -> object:
    """Return a value as it is, or quoted when it could be taken for more than one."""
    return value if not isinstance(value, str) or _WORD.fullmatch(value) else repr(value)


class EventPublisher:
    """Hears of tokens from the manager, counts them and sends the signals of one app.

    Args:
        app: the sender.
        metrics: the counters of this process.
        recorder: where what became of requests is counted for the dashboard.

    """

    def __init__(self, app: Flask, metrics: MetricsRecorder, recorder: UsageRecorder) -> None:
        self._app = app
        self._metrics = metrics
        self._recorder = recorder

    def token_minted(self, request: TokenRequest, got: Issuance, seconds: float) -> None:
        """Count and announce a new token."""
        took = {"seconds": got.mint_seconds, "attempts": got.attempts}
        self._handed_out(token_minted, request, got, seconds, took)

    def token_reused(self, request: TokenRequest, got: Issuance, seconds: float) -> None:
        """Count and announce a token handed out again."""
        self._handed_out(token_reused, request, got, seconds, {"how": got.how})

    def token_failed(self, request: TokenRequest, error: AnamError, seconds: float) -> None:
        """Count and announce a failure."""
        user_id, persona_type = request.user_id, request.persona_type
        self._metrics.failed(error.code, persona_type, seconds)
        self._recorder.counts.add(persona_type, error.code)
        send(token_failed, self._app, user_id=user_id, persona_type=persona_type, error=error)
        limit = _KEPT_WITH_RECORDS.get(error.code)
        if limit:
            facts = {"limit": limit, "retry_after": error.retry_after}
            send(limit_reached, self._app, user_id=user_id, **facts)

    def limit_reached(self, limit: str, user_id: str, retry_after: int) -> None:
        """Count and announce that a user hit a limit."""
        self._metrics.refused(f"{limit}_limit")
        send(limit_reached, self._app, user_id=user_id, limit=limit, retry_after=retry_after)

    def _handed_out(
        self,
        signal: NamedSignal,
        request: TokenRequest,
        got: Issuance,
        seconds: float,
        facts: Mapping[str, object],
    ) -> None:
        user_id, persona_type = request.user_id, request.persona_type
        self._metrics.handed_out(got.how, persona_type, seconds)
        self._recorder.counts.add(persona_type, got.how)
        told = {"persona_type": persona_type, "token_id": got.token.id, **facts}
        send(signal, self._app, user_id=user_id, **told)
