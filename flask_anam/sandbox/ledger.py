"""What a sandbox was asked and what it did, for tests to look at."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

_T = TypeVar("_T")

#: Records kept of each kind; the oldest go first.
KEPT = 10_000


@dataclass(frozen=True)
class RequestRecord:
    """One HTTP request that was read completely.

    `headers` has lower-cased names; they, and the body, never show in ``repr`` because they carry
    the API key and prompts. `connection` numbers the TCP connection from 1, so that equal numbers
    prove reuse. `body` is the parsed JSON, or None when there was none or it was broken.
    `status` is None until the answer is decided, and stays None when the client got none.
    `at` is in seconds, by the sandbox's clock.
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
    """One session token that was made.

    `token_id` is the first 16 characters of base64url(sha256(token)); `type` is ``ephemeral``,
    ``stateful`` or ``legacy``; `key_id` is the UUID that stands for the API key; `at` is in
    seconds. Configs do not show in ``repr``: they carry prompts and, in `environment`, secrets.
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
    """One start of a session.

    `token_id` is None when the API key itself started it. `ended_at` (seconds) and `exit_status`
    are None while it runs.
    """

    session_id: str
    token_id: str | None
    client_label: str | None
    persona_config: dict[str, Any] = field(repr=False)
    started_at: float
    ended_at: float | None
    exit_status: str | None


class Ledger:
    """The records of one sandbox in one process; every property is a copy, oldest first.

    Keeps the newest 10,000 of each kind. All methods are thread-safe.
    """

    def __init__(self) -> None:
        self._requests: dict[int, RequestRecord] = {}
        self._mints: dict[int, MintRecord] = {}
        self._sessions: dict[int, SessionRecord] = {}
        self._next = 0
        self.renew_locks()

    def renew_locks(self) -> None:
        """Replace the lock: for a forked child, where it may have been held by a lost thread."""
        self._changed = threading.Condition()

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request, in the order of arrival."""
        return self._copy(self._requests)

    @property
    def mints(self) -> tuple[MintRecord, ...]:
        """Every session token made."""
        return self._copy(self._mints)

    @property
    def sessions(self) -> tuple[SessionRecord, ...]:
        """Every session started."""
        return self._copy(self._sessions)

    def clear(self) -> None:
        """Forget all records. Tokens stay valid and running sessions keep running."""
        with self._changed:
            self._requests.clear()
            self._mints.clear()
            self._sessions.clear()

    def count(self, path: str, method: str | None = None) -> int:
        """Return how many requests came for `path` (no query), of any method when None."""
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
        """Keep `record`; the number returned is for :meth:`answered`."""
        return self._add(self._requests, record)

    def answered(self, number: int, status: int) -> None:
        """Note the status that request `number` gets."""
        with self._changed:
            if number in self._requests:
                self._requests[number] = replace(self._requests[number], status=status)

    def add_mint(self, record: MintRecord) -> None:
        """Keep `record`."""
        self._add(self._mints, record)

    def add_session(self, record: SessionRecord) -> int:
        """Keep `record`; the number returned is for :meth:`session_ended`."""
        return self._add(self._sessions, record)

    def session_ended(self, number: int, record: SessionRecord) -> None:
        """Put `record`, which says how the session ended, in the place of its first form."""
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


def drop_oldest(records: dict[Any, Any], kept: int = KEPT) -> None:
    """Remove the first entries of `records` until `kept` are left."""
    while len(records) > kept:
        del records[next(iter(records))]
