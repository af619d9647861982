"""Trying a session token out: a session is started with it and stopped at once."""

from __future__ import annotations

import logging
from dataclasses import replace

from flask_anam.core.tokens.token import TokenStatus
from flask_anam.errors import AnamAuthError, AnamError, AnamRejected
from flask_anam.state import AnamState

log = logging.getLogger("flask_anam")

#: Seconds that a probe may take.
PROBE_DEADLINE = 5.0


def probe_token(state: AnamState, session_token: str, status: TokenStatus) -> TokenStatus:
    """Return what a probe adds to the status of a token, which it uses up."""
    deadline = replace(state.deadline(), at=state.clock.monotonic() + PROBE_DEADLINE)
    try:
        session_id = state.client.start_session(session_token, deadline)
    except (AnamAuthError, AnamRejected):
        return replace(status, reason="refused", spent=True)
    except AnamError:
        return replace(status, reason="unreachable")
    try:
        state.client.stop_session(session_id, state.api_key(), deadline)
    except AnamError as error:
        log.warning("The session of a probe could not be stopped: %s", error.code)
    return replace(status, spent=True)
