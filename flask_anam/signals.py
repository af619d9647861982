"""Signals (blinker), sent in the request that causes them; the sender is always the Flask app.

A receiver that raises is logged and never breaks the answer. All ids are plain strings, all
times seconds; no signal carries a key, a session token or a prompt. Each signal is a line of the
log too, whose record has the same facts as attributes ``anam_...``, except the user id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from blinker import Namespace

from flask_anam.errors import (
    AnamError,
    MinutesExhausted,
    RateLimited,
    TooManySessions,
    UpstreamError,
)

if TYPE_CHECKING:
    from blinker import NamedSignal
    from flask import Flask

    from flask_anam.core.metrics.recorder import MetricsRecorder
    from flask_anam.core.minting.issuance import Issuance
    from flask_anam.core.tokens.reuse_policy import TokenRequest
    from flask_anam.core.usage.count_buffer import CountBuffer
    from flask_anam.core.usage.records import SessionRecord

log = logging.getLogger("flask_anam")
_signals = Namespace()
_WORD = re.compile(r"[\w.:@-]+")

token_minted = _signals.signal(
    "anam-token-minted",
    """Signal, sent when a new token was minted.

    Arguments:
        user_id: str or None.
        persona_type: str.
        token_id: str, 16 characters.
        seconds: float, the time that the mint took.
        attempts: int, the calls that it took.

    Example:
        >>> def report(app, *, persona_type, attempts, **facts):
        ...     print(persona_type, attempts)
        >>> with token_minted.connected_to(report, app):
        ...     issued = anam.create_token("support")
        support 1

    """,
)
token_reused = _signals.signal(
    "anam-token-reused",
    """Signal, sent when a stored token was returned again.

    Arguments:
        user_id: str.
        persona_type: str.
        token_id: str, 16 characters.
        how: "reused", "replayed" (the answer to an equal call) or "stale" (no new token can be
            minted).

    Example:
        >>> def report(app, *, how, **facts):
        ...     print(how)
        >>> with token_reused.connected_to(report, app):
        ...     for _ in range(2):
        ...         issued = anam.create_token("support", user_id="7", slot="tab-1")
        reused

    """,
)
token_failed = _signals.signal(
    "anam-token-failed",
    """Signal, sent when no token could be returned.

    Arguments:
        user_id: str or None.
        persona_type: str.
        error: AnamError.

    Example:
        >>> @token_failed.connect_via(app)
        ... def report(app, *, error, **facts):
        ...     app.logger.error("No token: %s", error.code)

    """,
)
persona_missing = _signals.signal(
    "anam-persona-missing",
    """Signal, sent when Anam does not know a persona any more and its fallback is used.

    Arguments:
        user_id: str or None.
        persona_type: str.
        fallback: str, the persona type used.

    Example:
        >>> @persona_missing.connect_via(app)
        ... def report(app, *, persona_type, fallback, **facts):
        ...     app.logger.error("%s is gone, %s is used", persona_type, fallback)

    """,
)
session_started = _signals.signal(
    "anam-session-started",
    """Signal, sent when a conversation was reported as started.

    Arguments:
        user_id: str.
        session_id: str, Anam's id.
        token_id: str, 16 characters.

    Example:
        >>> @session_started.connect_via(app)
        ... def report(app, *, user_id, session_id, **facts):
        ...     app.logger.info("%s talks in %s", user_id, session_id)

    """,
)
session_ended = _signals.signal(
    "anam-session-ended",
    """Signal, sent when a conversation was reported as ended.

    Arguments:
        user_id: str.
        session_id: str, Anam's id.
        duration: float, seconds, or None where unknown.

    Example:
        >>> @session_ended.connect_via(app)
        ... def report(app, *, user_id, duration, **facts):
        ...     app.logger.info("%s talked for %s s", user_id, round(duration))

    """,
)
limit_reached = _signals.signal(
    "anam-limit-reached",
    """Signal, sent when a user reached a limit of this app.

    Arguments:
        user_id: str.
        limit: "token", "request", "minutes" or "sessions".
        retry_after: int or float, seconds, or None.

    Example:
        >>> @limit_reached.connect_via(app)
        ... def report(app, *, user_id, limit, **facts):
        ...     app.logger.warning("%s reached the %s limit", user_id, limit)

    """,
)

#: Log levels; the other events are INFO.
_LEVELS = {token_reused: logging.DEBUG, persona_missing: logging.WARNING}
#: Error codes of the limits that the usage recorder keeps, and the names of those limits.
_LIMITS_OF_RECORDS = {MinutesExhausted.code: "minutes", TooManySessions.code: "sessions"}


def emit(signal: NamedSignal, app: Flask, **facts: object) -> None:
    """Log an event and send its signal so that a failing receiver cannot break the caller."""
    level = _LEVELS.get(signal, logging.INFO)
    if log.isEnabledFor(level):
        _log(level, signal.name.removeprefix("anam-").replace("-", "_"), facts)
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **facts)
        except Exception as exc:  # noqa: BLE001 - receivers are the host's code
            log.error("A receiver of %s raised %s.", signal.name, type(exc).__name__)


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
    """Event publisher: counts every outcome of one app, logs it and sends its signal.

    Thread-safe. The only place that counts what became of requests for tokens.

    Args:
        app: the sender.
        metrics: the counters of this process.
        counts: the outcomes that the dashboard shows.

    """

    def __init__(self, app: Flask, metrics: MetricsRecorder, counts: CountBuffer) -> None:
        self._app = app
        self._metrics = metrics
        self._counts = counts

    def token_issued(self, request: TokenRequest, issuance: Issuance, seconds: float) -> None:
        """Publish a token about to be returned, new or stored."""
        source, persona_type = issuance.source, request.persona_type
        self._metrics.handed_out(source, persona_type, seconds)
        self._counts.add(persona_type, source)
        facts: dict[str, object] = {"how": source}
        if source == "minted":
            facts = {"seconds": issuance.mint_seconds, "attempts": issuance.attempts}
        emit(
            token_minted if source == "minted" else token_reused,
            self._app,
            user_id=request.user_id,
            persona_type=persona_type,
            token_id=issuance.token.id,
            **facts,
        )

    def token_failed(self, request: TokenRequest, error: AnamError, seconds: float) -> None:
        """Publish that a request for a token ended in an error."""
        user_id, persona_type = request.user_id, request.persona_type
        self._metrics.failed(error.code, persona_type, seconds)
        self._counts.add(persona_type, error.code)
        emit(token_failed, self._app, user_id=user_id, persona_type=persona_type, error=error)
        limit = _LIMITS_OF_RECORDS.get(error.code)
        if limit:
            facts = {"limit": limit, "retry_after": error.retry_after}
            emit(limit_reached, self._app, user_id=user_id, **facts)

    def token_refused(self, error: AnamError) -> None:
        """Count that our endpoint refused a request; limits and Anam's errors are counted above."""
        if not isinstance(error, RateLimited | UpstreamError):
            self._metrics.refused(error.code)

    def limit_reached(self, limit: str, user_id: str, retry_after: int) -> None:
        """Publish that a user hit a rate limit."""
        self._metrics.refused(f"{limit}_limit")
        emit(limit_reached, self._app, user_id=user_id, limit=limit, retry_after=retry_after)

    def persona_missing(self, request: TokenRequest, fallback: str) -> None:
        """Publish that Anam does not know a persona, so that its fallback is used."""
        facts = {"persona_type": request.persona_type, "fallback": fallback}
        emit(persona_missing, self._app, user_id=request.user_id, **facts)

    def session_started(self, record: SessionRecord | None, user_id: str) -> None:
        """Publish the start of a session, if there was one."""
        if record is not None:
            self._metrics.session_started()
            facts = {"session_id": record.session_id, "token_id": record.token_id}
            emit(session_started, self._app, user_id=user_id, **facts)

    def session_ended(self, record: SessionRecord | None, user_id: str | None) -> None:
        """Publish the end of a session, if there was one."""
        if record is not None and record.seconds is not None:
            self._metrics.session_ended(record.seconds)
            facts = {"session_id": record.session_id, "duration": record.seconds}
            emit(session_ended, self._app, user_id=user_id, **facts)
