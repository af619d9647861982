"""Ledger: records of the requests, mints and sessions of a sandbox, for tests to read."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

_T = TypeVar("_T")

#: Records kept of each kind; the oldest are removed first.
MAX_RECORDS = 10_000


@dataclass(frozen=True)
class RequestRecord:
    """Record of an HTTP request that was read completely.

    `headers` has lower-cased names; they and the body are not in ``repr``, because they hold the
    API key and prompts. `connection` is the number of the TCP connection, from 1; equal numbers
    mean that it was reused. `body` is the parsed JSON, or None when it was empty or not JSON.
    `status` is None until the response is known, and stays None when the client got none.
    `at` is in Unix seconds, by the sandbox's clock.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: dict[str, str] = field(repr=False)
    connection: int
    body: Any = field(repr=False)
    raw_body: bytes = field(repr=False)
    status: int | None
    at: float


@dataclass(frozen=True)
class MintRecord:
    """Record of a session token that was minted.

    `token_id` is the first 16 characters of base64url(sha256(token)); `type` is ``ephemeral``,
    ``stateful`` or ``legacy``; `key_id` is the UUID that stands for the API key; `at` is in
    Unix seconds. Configs are not in ``repr``: they hold prompts and, in `environment`, secrets.
    """

    token_id: str
    session_id: str
    type: str
    persona_config: dict[str, Any] = field(repr=False)
    session_options: dict[str, Any] | None = field(repr=False)
    client_label: str | None
    environment: dict[str, Any] | None = field(repr=False)
    key_id: str
    at: float


@dataclass(frozen=True)
class SessionRecord:
    """Record of a session that was started.

    `token_id` is None when the API key itself started it. Times are in Unix seconds;
    `ended_at` and `exit_status` are None while the session runs.
    """

    session_id: str
    token_id: str | None
    client_label: str | None
    persona_config: dict[str, Any] = field(repr=False)
    started_at: float
    ended_at: float | None
    exit_status: str | None


class Ledger:
    """Records of one sandbox in one process; every property is a copy, oldest first.

    Holds the newest 10,000 of each kind. All methods are thread-safe.
    """

    def __init__(self) -> None:
        self._requests: dict[int, RequestRecord] = {}
        self._mints: dict[int, MintRecord] = {}
        self._sessions: dict[int, SessionRecord] = {}
        self._next = 0
        self.reinit_after_fork()

    def reinit_after_fork(self) -> None:
        """Replace the lock: in the parent, a thread may have held it."""
        self._changed = threading.Condition()

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request, in the order of arrival."""
        return self._copy(self._requests)

    @property
    def mints(self) -> tuple[MintRecord, ...]:
        """Every session token, in the order of the mints."""
        return self._copy(self._mints)

    @property
    def sessions(self) -> tuple[SessionRecord, ...]:
        """Every session, in the order of the starts."""
        return self._copy(self._sessions)

    def clear(self) -> None:
        """Remove all records. Tokens stay valid and running sessions keep running."""
        with self._changed:
            self._requests.clear()
            self._mints.clear()
            self._sessions.clear()

    def count(self, path: str, method: str | None = None) -> int:
        """Return the number of requests for `path` (no query), of any method when None."""
        return sum(
            record.path == path and method in (None, record.method) for record in self.requests
        )

    def wait_for(self, path: str, count: int, timeout: float = 5.0) -> bool:
        """Wait until `count` requests for `path` have arrived; False after `timeout` seconds.

        A request counts once it is read, which may be before it is answered.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self.count(path) >= count, timeout)

    def add_request(self, record: RequestRecord) -> int:
        """Append `record`; return its number, for :meth:`set_status`."""
        return self._add(self._requests, record)

    def set_status(self, number: int, status: int) -> None:
        """Record the status of the response to request `number`."""
        with self._changed:
            if number in self._requests:
                self._requests[number] = replace(self._requests[number], status=status)

    def add_mint(self, record: MintRecord) -> None:
        """Append `record`."""
        self._add(self._mints, record)

    def add_session(self, record: SessionRecord) -> int:
        """Append `record`; return its number, for :meth:`update_session`."""
        return self._add(self._sessions, record)

    def update_session(self, number: int, record: SessionRecord) -> None:
        """Replace the record with this number, unless it has been removed."""
        with self._changed:
            if number in self._sessions:
                self._sessions[number] = record

    def _add(self, records: dict[int, _T], record: _T) -> int:
        with self._changed:
            self._next += 1
            records[self._next] = record
            drop_oldest(records)
            self._changed.notify_all()
            return self._next

    def _copy(self, records: Mapping[int, _T]) -> tuple[_T, ...]:
        with self._changed:
            return tuple(records.values())

    def __repr__(self) -> str:
        counts = (len(self.requests), len(self.mints), len(self.sessions))
        return "<Ledger: {} requests, {} mints, {} sessions>".format(*counts)


def drop_oldest(records: dict[Any, Any]) -> None:
    """Remove the first entries of `records` until at most `MAX_RECORDS` are left."""
    while len(records) > MAX_RECORDS:
        del records[next(iter(records))]
