"""blinker signals, sent in the request that causes them; the sender is always the Flask app.

A receiver that raises is logged and never breaks the answer. All ids are plain strings, all
times seconds; no signal carries a key, a session token or a prompt.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blinker import Namespace

if TYPE_CHECKING:
    from blinker import NamedSignal
    from flask import Flask

    from flask_anam.core.reuse import TokenRequest
    from flask_anam.core.tokens import SessionToken
    from flask_anam.core.usage import UsageCounters
    from flask_anam.errors import AnamError

log = logging.getLogger("flask_anam")
_signals = Namespace()

#: A new token was made. Arguments: user_id, persona_type, token_id, seconds (of the mint).
token_minted = _signals.signal("anam-token-minted")
#: A stored token was handed out again. Arguments: user_id, persona_type, token_id.
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


def send(signal: NamedSignal, app: Flask, **facts: object) -> None:
    """Send a signal so that a failing receiver cannot break the caller."""
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **facts)
        except Exception as failure:  # noqa: BLE001 - receivers are the host's code
            log.error("A receiver of %s raised %s.", signal.name, type(failure).__name__)


class Announcer:
    """Hears of tokens from the manager, counts them and sends the signals of one app."""

    def __init__(self, app: Flask, usage: UsageCounters) -> None:
        self._app = app
        self._usage = usage

    def token_minted(self, request: TokenRequest, token: SessionToken, seconds: float) -> None:
        """Count and announce a new token."""
        self._usage.count("tokens_created")
        facts = {"user_id": request.user_id, "persona_type": request.persona_type}
        send(token_minted, self._app, **facts, token_id=token.id, seconds=seconds)

    def token_reused(self, request: TokenRequest, token: SessionToken, *, stale: bool) -> None:
        """Count and announce a token handed out again."""
        self._usage.count("tokens_reused")
        if stale:
            self._usage.count("tokens_reused_stale")
        facts = {"user_id": request.user_id, "persona_type": request.persona_type}
        send(token_reused, self._app, **facts, token_id=token.id)

    def token_failed(self, request: TokenRequest, error: AnamError) -> None:
        """Count and announce a failure."""
        self._usage.count_failure(error.code)
        facts = {"user_id": request.user_id, "persona_type": request.persona_type}
        send(token_failed, self._app, **facts, error=error)

    def limit_reached(self, limit: str, user_id: str, retry_after: int) -> None:
        """Announce that a user hit a limit."""
        send(limit_reached, self._app, user_id=user_id, limit=limit, retry_after=retry_after)
