"""The sessions of an account: which run, which have ended, how many more may start."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flask_anam.sandbox.http.messages import ApiError
from flask_anam.sandbox.ledger import Ledger, SessionRecord, drop_oldest

#: The limit that is reported, and holds, when none was set.
DEFAULT_LIMIT = 10_000

ORGANIZATION_ID = "sandbox-account"
_ENDED_BY_SERVER = "CLOSED_BY_ENGINE"


@dataclass(frozen=True)
class SessionStart:
    """What is needed to start a session; `token_id` is None when the API key starts it."""

    session_id: str
    token_id: str | None
    client_label: str | None
    persona_config: dict[str, Any] = field(repr=False)
    client_metadata: dict[str, Any] = field(repr=False)
    session_options: dict[str, Any] | None = field(repr=False)
    engine_host: str
    key_id: str


@dataclass(frozen=True)
class _Session:
    start: SessionStart
    record: SessionRecord
    entry: int


class Sessions:
    """All sessions of one account in one process; thread-safe.

    A session ends when it is stopped, when its id is started again, and by itself after its
    persona's `maxSessionLengthSeconds`.
    """

    def __init__(
        self, ledger: Ledger, *, limit: int | None, single_use: bool, clock: Callable[[], float]
    ) -> None:
        self.limit = DEFAULT_LIMIT if limit is None else limit
        self._ledger = ledger
        self._single_use = single_use
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._used: dict[str, None] = {}
        #: Called with the id of a session that ended and the reason, in words for its client.
        self.on_end: Callable[[str, str], None] = lambda _id, _reason: None
        self.renew_locks()

    def renew_locks(self) -> None:
        """Replace the lock: for a forked child, where it may have been held by a lost thread."""
        self._lock = threading.RLock()

    def start(self, start: SessionStart) -> None:
        """Begin a session; a token is used up only if this succeeds.

        Raises:
            ApiError: The token has been used and tokens are single-use (401), or too many
                sessions run (429).

        """
        with self._lock:
            if self._single_use and start.token_id in self._used:
                raise ApiError(
                    401,
                    "Invalid session token",
                    "This session token has already started a session; ask for a new one.",
                )
            others = [s for s in self._running() if s.start.session_id != start.session_id]
            if len(others) >= self.limit:
                raise ApiError(429, "Concurrent session limit reached")
            earlier = self._sessions.pop(start.session_id, None)
            if earlier is not None and earlier.record.ended_at is None:
                reason = "The session has been started again elsewhere."
                self._end(earlier, self._clock(), "NORMAL_EXIT", reason)
            self._keep(start)

    def _keep(self, start: SessionStart) -> None:
        record = SessionRecord(
            session_id=start.session_id,
            token_id=start.token_id,
            client_label=start.client_label,
            persona_config=start.persona_config,
            started_at=self._clock(),
            ended_at=None,
            exit_status=None,
        )
        entry = self._ledger.add_session(record)
        self._sessions[start.session_id] = _Session(start, record, entry)
        drop_oldest(self._sessions)
        if start.token_id is not None:
            self._used[start.token_id] = None
            drop_oldest(self._used)

    def stop(self, session_id: str) -> None:
        """End a running session.

        Raises:
            ApiError: There is none with this id (404).

        """
        with self._lock:
            self._running()
            session = self._sessions.get(session_id)
            if session is None or session.record.ended_at is not None:
                raise ApiError(404, "Session not found", "There is no such running session.")
            self.end(session_id, _ENDED_BY_SERVER, "The session has been stopped.")

    def end(self, session_id: str, status: str, reason: str) -> None:
        """End a session with this exit status, if it runs; `reason` is for its client."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None and session.record.ended_at is None:
                self._sessions[session_id] = self._end(session, self._clock(), status, reason)

    def end_overdue(self) -> None:
        """End the sessions whose time is over."""
        with self._lock:
            self._running()

    def runs(self, start: SessionStart) -> bool:
        """Whether a session runs that was started so, and not again since."""
        with self._lock:
            self._running()
            session = self._sessions.get(start.session_id)
            return bool(session and session.start is start and session.record.ended_at is None)

    def running(self, session_id: str) -> SessionStart:
        """Return what a running session was started with.

        Raises:
            ApiError: There is none with this id (404), or it has ended (403).

        """
        with self._lock:
            self._running()
            session = self._sessions.get(session_id)
        if session is None:
            raise ApiError(404, "Session not found", "There is no session with this id.")
        if session.record.ended_at is not None:
            raise ApiError(403, "Session ended", "This session has ended; start another.")
        return session.start

    def get(self, session_id: str) -> dict[str, Any]:
        """Return a session as the API shows it.

        Raises:
            ApiError: There is none with this id (404).

        """
        with self._lock:
            self._running()
            session = self._sessions.get(session_id)
        if session is None:
            raise ApiError(404, "Session not found")
        return {**_shown(session), "toolCalls": []}

    def listed(self, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the sessions as the API shows them, newest first.

        `wanted` may have `search` (part of the id or client label), `apiKeyId` and `personaId`.
        """
        with self._lock:
            self._running()
            shown = [_shown(session) for session in reversed(self._sessions.values())]
        term = wanted.get("search", "").lower()
        return [
            session
            for session in shown
            if term in f"{session['id']} {session['clientLabel'] or ''}".lower()
            and all(wanted.get(name, session[name]) == session[name] for name in _FILTERS)
        ]

    def concurrency(self) -> dict[str, Any]:
        """Return the numbers of ``GET /v1/sessions/concurrency``."""
        with self._lock:
            running = self._running()
            free = len(running) < self.limit
            return {
                "limit": self.limit,
                "active": len(running),
                "canStartSession": free,
                "estimatedWaitSeconds": 0 if free else self._estimated_wait(running),
            }

    def _estimated_wait(self, running: list[_Session]) -> int | None:
        lengths = [
            session.record.ended_at - session.record.started_at
            for session in self._sessions.values()
            if session.record.ended_at is not None
        ]
        if not lengths or not running:
            return None
        longest = self._clock() - min(session.record.started_at for session in running)
        return max(0, math.ceil(sum(lengths) / len(lengths) - longest))

    def _running(self) -> list[_Session]:
        """Return the running sessions, after ending those whose time is over."""
        running = []
        for session_id, session in list(self._sessions.items()):
            if session.record.ended_at is not None:
                continue
            longest = session.start.persona_config.get("maxSessionLengthSeconds", math.inf)
            if self._clock() - session.record.started_at >= longest:
                end = session.record.started_at + longest
                reason = f"The session has reached its limit of {longest:g} seconds."
                self._sessions[session_id] = self._end(session, end, _ENDED_BY_SERVER, reason)
            else:
                running.append(session)
        return running

    def _end(self, session: _Session, at: float, status: str, reason: str) -> _Session:
        record = replace(session.record, ended_at=at, exit_status=status)
        self._ledger.session_ended(session.entry, record)
        self.on_end(record.session_id, reason)
        return replace(session, record=record)


_FILTERS = ("apiKeyId", "personaId")


def _shown(session: _Session) -> dict[str, Any]:
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
