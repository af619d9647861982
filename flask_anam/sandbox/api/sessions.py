"""Sessions of an account: starts, ends and lists them, and enforces the concurrency limit."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flask_anam.sandbox.http.messages import ApiError
from flask_anam.sandbox.ledger import Ledger, SessionRecord, drop_oldest

#: Sessions that may run at once when no limit was set.
DEFAULT_LIMIT = 10_000

ORGANIZATION_ID = "sandbox-account"
#: Exit status of a session that the client ended or left.
CLIENT_EXIT = "NORMAL_EXIT"
#: Exit status of a session that the server ended.
SERVER_EXIT = "CLOSED_BY_ENGINE"
#: Fields of a session that a list can be filtered by.
FILTERS = ("apiKeyId", "personaId")


@dataclass(frozen=True)
class SessionStart:
    """Parameters of a session's start; `token_id` is None when the API key starts it."""

    session_id: str
    token_id: str | None
    client_label: str | None
    persona_config: dict[str, Any] = field(repr=False)
    client_metadata: dict[str, Any] = field(repr=False)
    session_options: dict[str, Any] | None = field(repr=False)
    engine_host: str
    key_id: str


@dataclass
class _Session:
    start: SessionStart
    record: SessionRecord
    entry: int


class Sessions:
    """Session store of one account in one process; thread-safe.

    A session ends when it is stopped, when its id is started again, and by itself after its
    persona's `maxSessionLengthSeconds`.
    """

    def __init__(
        self, ledger: Ledger, *, limit: int | None, single_use: bool, clock: Callable[[], float]
    ) -> None:
        self._limit = DEFAULT_LIMIT if limit is None else limit
        self._ledger = ledger
        self._single_use = single_use
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._used: dict[str, None] = {}
        #: Called with the id of a session that ended and the reason, as text for its client.
        self.on_end: Callable[[str, str], None] = lambda _id, _reason: None
        self.reinit_after_fork()

    def reinit_after_fork(self) -> None:
        """Replace the lock: in the parent, a thread may have held it."""
        self._lock = threading.RLock()

    def start(self, start: SessionStart) -> None:
        """Start a session; a token is used up only if this succeeds.

        Raises:
            ApiError: The token has been used and tokens are single-use (401), or as many sessions
                as the limit allows are running (429).

        """
        with self._lock:
            if self._single_use and start.token_id in self._used:
                raise ApiError(
                    401,
                    "Invalid session token",
                    "This session token has already started a session; ask for a new one.",
                )
            others = [s for s in self._running() if s.start.session_id != start.session_id]
            if len(others) >= self._limit:
                raise ApiError(429, "Concurrent session limit reached")
            reason = "The session has been started again elsewhere."
            self.end(start.session_id, CLIENT_EXIT, reason)
            self._add(start)

    def _add(self, start: SessionStart) -> None:
        record = SessionRecord(
            session_id=start.session_id,
            token_id=start.token_id,
            client_label=start.client_label,
            persona_config=start.persona_config,
            started_at=self._clock(),
            ended_at=None,
            exit_status=None,
        )
        self._sessions.pop(start.session_id, None)  # the newest comes last
        self._sessions[start.session_id] = _Session(start, record, self._ledger.add_session(record))
        drop_oldest(self._sessions)
        if start.token_id is not None:
            self._used[start.token_id] = None
            drop_oldest(self._used)

    def stop(self, session_id: str) -> None:
        """End a running session.

        Raises:
            ApiError: No session with this id runs (404).

        """
        with self._lock:
            if session_id not in {session.start.session_id for session in self._running()}:
                raise ApiError(404, "Session not found", "There is no such running session.")
            self.end(session_id, SERVER_EXIT, "The session has been stopped.")

    def end(self, session_id: str, status: str, reason: str) -> None:
        """End a session with this exit status, if it runs; `reason` is text for its client."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None and session.record.ended_at is None:
                self._end(session, self._clock(), status, reason)

    def end_overdue(self) -> None:
        """End the sessions that have reached their maximum length."""
        with self._lock:
            self._running()

    def is_running(self, start: SessionStart) -> bool:
        """Return whether the session runs that this start began, not a later one of its id."""
        with self._lock:
            return any(session.start is start for session in self._running())

    def find_running(self, session_id: str) -> SessionStart:
        """Return the start of a running session.

        Raises:
            ApiError: There is no session with this id (404), or it has ended (403).

        """
        session = self._find(session_id, "There is no session with this id.")
        if session.record.ended_at is not None:
            raise ApiError(403, "Session ended", "This session has ended; start another.")
        return session.start

    def get(self, session_id: str) -> dict[str, Any]:
        """Return a session as the API shows it.

        Raises:
            ApiError: There is no session with this id (404).

        """
        return {**_as_json(self._find(session_id)), "toolCalls": []}

    def search(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the sessions as the API shows them, newest first.

        `query` may have `search` (part of the id or client label), `apiKeyId` and `personaId`.
        """
        with self._lock:
            self._running()
            entries = [_as_json(session) for session in reversed(self._sessions.values())]
        term = query.get("search", "").lower()
        return [
            entry
            for entry in entries
            if term in f"{entry['id']} {entry['clientLabel'] or ''}".lower()
            and all(query.get(name, entry[name]) == entry[name] for name in FILTERS)
        ]

    def concurrency(self) -> dict[str, Any]:
        """Return the body of ``GET /v1/sessions/concurrency``."""
        with self._lock:
            running = self._running()
            can_start = len(running) < self._limit
            return {
                "limit": self._limit,
                "active": len(running),
                "canStartSession": can_start,
                "estimatedWaitSeconds": 0 if can_start else self._estimated_wait(running),
            }

    def _estimated_wait(self, running: list[_Session]) -> int | None:
        """Return the seconds until the oldest session reaches the mean length of ended ones."""
        lengths = [
            session.record.ended_at - session.record.started_at
            for session in self._sessions.values()
            if session.record.ended_at is not None
        ]
        if not lengths or not running:
            return None
        longest = self._clock() - min(session.record.started_at for session in running)
        return max(0, math.ceil(sum(lengths) / len(lengths) - longest))

    def _find(self, session_id: str, message: str = "") -> _Session:
        with self._lock:
            self._running()
            session = self._sessions.get(session_id)
        if session is None:
            raise ApiError(404, "Session not found", message)
        return session

    def _running(self) -> list[_Session]:
        """Return the running sessions, after ending those that have reached their maximum."""
        running = []
        for session in list(self._sessions.values()):
            if session.record.ended_at is not None:
                continue
            seconds = session.start.persona_config.get("maxSessionLengthSeconds", math.inf)
            if self._clock() - session.record.started_at >= seconds:
                reason = f"The session has reached its limit of {seconds:g} seconds."
                self._end(session, session.record.started_at + seconds, SERVER_EXIT, reason)
            else:
                running.append(session)
        return running

    def _end(self, session: _Session, at: float, status: str, reason: str) -> None:
        session.record = replace(session.record, ended_at=at, exit_status=status)
        self._ledger.update_session(session.entry, session.record)
        self.on_end(session.record.session_id, reason)


def _as_json(session: _Session) -> dict[str, Any]:
    start, record = session.start, session.record
    ended = record.ended_at
    return {
        "id": record.session_id,
        "personaId": start.persona_config.get("personaId"),
        "clientLabel": record.client_label,
        "startTime": _iso(record.started_at),
        "endTime": None if ended is None else _iso(ended),
        "sessionLengthMs": None if ended is None else round((ended - record.started_at) * 1000),
        "exitStatus": record.exit_status,
        "engineHost": start.engine_host,
        "engineProtocol": "http",
        "engineVersion": "sandbox",
        "clientMetadata": start.client_metadata,
        "personaConfig": record.persona_config,
        "apiKeyId": start.key_id,
        "organizationId": ORGANIZATION_ID,
        "createdAt": _iso(record.started_at),
        "updatedAt": None if ended is None else _iso(ended),
    }


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
