"""Session control: opens the store of session records; stops and probes sessions at Anam."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask_anam.auth import find_user
from flask_anam.core.clock import Deadline
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.tokens.token import TokenStatus
from flask_anam.core.usage.database import Database
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.recorder import UsageRecorder
from flask_anam.core.usage.store import SessionStore
from flask_anam.errors import (
    AnamAuthError,
    AnamError,
    AnamRejected,
    ConfigError,
    NotFound,
)
from flask_anam.rate_limits.storage import several_workers_are_likely
from flask_anam.state import AnamState

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.core.clock import Clock
    from flask_anam.core.config.settings import Settings
    from flask_anam.core.hashing import KeyHasher
    from flask_anam.core.metrics.recorder import MetricsRecorder
    from flask_anam.core.usage.reconciler import ApiKeyResolver
    from flask_anam.core.usage.records import SessionRecord

log = logging.getLogger("flask_anam")

#: The database in the instance folder, where none is named.
FILE = "anam-usage.sqlite"
#: Seconds that a probe may take.
PROBE_DEADLINE = 5.0


def make_recorder(
    app: Flask, settings: Settings, keys: KeyHasher, clock: Clock, metrics_recorder: MetricsRecorder
) -> UsageRecorder:
    """Return the usage recorder of an app; its database is opened at the first use.

    Raises:
        ConfigError: the database cannot be used as it is named, or hashed user ids would not be
            the same tomorrow.

    """
    store = _open_store(app, settings)
    if settings.usage_user_ids == "hashed" and store.shared and not app.secret_key:
        raise ConfigError(
            'ANAM_USAGE_USER_IDS = "hashed" needs SECRET_KEY, since the hashes are made with it. '
            "Set app.secret_key before init_app()."
        )
    recorder = UsageRecorder(
        store, settings=settings, keys=keys, clock=clock, on_lost=metrics_recorder.records_lost
    )
    if recorder.rules.any and not store.shared and several_workers_are_likely():
        log.warning(
            "ANAM_USAGE_URL is memory://, so every worker keeps ANAM_MINUTES_LIMIT and "
            "ANAM_CONCURRENT_SESSIONS for itself. Use a database."
        )
    return recorder


def _open_store(app: Flask, settings: Settings) -> SessionStore:
    url = settings.usage_url
    if url is None:
        has_extra = find_spec("sqlalchemy") is not None and find_spec("alembic") is not None
        url = f"sqlite:///{Path(app.instance_path) / FILE}" if has_extra else "memory://"
    if url.startswith("memory:"):
        return MemorySessionStore()
    database = Database(url)  # says what is missing before SQLAlchemy would
    from flask_anam.core.usage.sql_store import SqlSessionStore

    return SqlSessionStore(database)


def upgrade(state: AnamState) -> tuple[str | None, str]:
    """Bring the tables of an app up to date; return their revision before and after.

    Raises:
        ConfigError: its records are in no database.

    """
    if not state.recorder.store.shared:
        raise ConfigError("ANAM_USAGE_URL names no database; there is nothing to upgrade.")
    return state.recorder.store.upgrade()


def api_key_resolver(state: AnamState, user: Any = None) -> ApiKeyResolver:
    """Return what finds the API key of a record: that of its persona, as it is now.

    Each key is asked for once. One that depends on the user is asked for with `user`, or with the
    one that Flask-Login finds by the id in the record.
    """
    keys: dict[tuple[str, str | None], str | None] = {}

    def key_for(record: SessionRecord) -> str | None:
        persona = state.registry.find(record.persona_type)
        ring = state.issuer.key_ring(persona)
        place = (record.persona_type, record.user_id if ring.needs_user else None)
        if place not in keys:
            owner = user or (find_user(place[1]) if place[1] else None)
            try:
                keys[place] = state.issuer.api_key(persona, owner)
            except AnamError as error:
                log.warning("The API key of a session is not available: %s", error.code)
                keys[place] = None
        return keys[place]

    return key_for


def stop_own_session(state: AnamState, user: Any, user_id: str, session_id: str) -> None:
    """Stop a session of this user at Anam; one that is over already is left as it is.

    Raises:
        NotFound: the user has no such session.
        UpstreamError: Anam could not be asked.

    """
    if not _stop(state, state.recorder.find_session(session_id, user_id), user):
        raise NotFound


def stop_any_session(state: AnamState, session_id: str) -> bool:
    """Stop a session of any user; False when it is not one of this app's."""
    return _stop(state, state.recorder.find_session(session_id))


def stop_sessions_of(state: AnamState, user_id: str) -> int:
    """Stop everything that a user has running, reported or not; return how many it was."""
    user = state.recorder.stored_user_id(user_id)
    state.reconciler.run(api_key_resolver(state), user_id=user)
    return sum(_stop(state, [record]) for record in state.recorder.running_sessions(user_id))


@scrubs_traceback
def _stop(state: AnamState, claims: Sequence[SessionRecord], user: Any = None) -> bool:
    """Stop the session that all these records claim; False when it is of none of them.

    A browser may claim a session for each of its tokens, so Anam is asked once per account.
    """
    if any(record.is_over_at_anam for record in claims):
        return True
    key_for, deadline = api_key_resolver(state, user), state.deadline()
    of_key: dict[str | None, list[SessionRecord]] = {}
    for record in claims:
        of_key.setdefault(key_for(record), []).append(record)
    for key, group in of_key.items():
        session = state.reconciler.stop(group, key, deadline) if key else None
        if session is not None:
            state.events.session_ended(state.recorder.stopped(session), session.user_id)
            return True
    if None in of_key:
        raise AnamAuthError
    return False


def probe_token(state: AnamState, session_token: str, status: TokenStatus) -> TokenStatus:
    """Start a session with a token and stop it at once; return what that adds to the status.

    Takes at most 5 s, and uses the token up.
    """
    deadline = Deadline.after(state.clock, PROBE_DEADLINE)
    try:
        session_id = state.client.start_session(session_token, deadline)
    except (AnamAuthError, AnamRejected):
        return replace(status, reason="refused", spent=True)
    except AnamError:
        return replace(status, reason="unreachable")
    try:
        state.client.stop_session(session_id, state.issuer.api_key(), deadline)
    except AnamError as error:
        log.warning("The session of a probe could not be stopped: %s", error.code)
    return replace(status, spent=True)
