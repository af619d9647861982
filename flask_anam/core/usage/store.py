"""Session store: the interface of every store of session records.

All times are Unix seconds. A record belongs to the time at which its token was minted. User ids
are as they are stored: plain, or as a keyed hash (`UsageRecorder.stored_user_id`).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from flask_anam.core.outage import OUTAGE_PAUSE
from flask_anam.core.usage.quotas import Quota
from flask_anam.core.usage.records import CountKey, OutcomeCount, SessionRecord, Totals, UsageQuery
from flask_anam.errors import AnamError, Busy

log = logging.getLogger("flask_anam")


@contextmanager
def unavailable_as_busy() -> Iterator[None]:
    """Raise Busy in place of an exception of a store's library, and log its type.

    Raises:
        Busy: the store failed.
        AnamError: it was raised inside.

    """
    try:
        yield
    except AnamError:
        raise
    except Exception as exc:  # noqa: BLE001 - each database has errors of its own
        log.error("The usage store cannot be read: %s", type(exc).__name__)
        text = "The usage store does not answer. Try again in a moment."
        raise Busy(text, hinted_wait=OUTAGE_PAUSE) from None


class SessionStore(ABC):
    """Session store: the interface. Implementations are thread-safe.

    Every method may raise `Unstorable` for a value, and the exceptions of the store's own library;
    `UsageRecorder` and `flask_anam.usage` stand between a store and other callers.
    """

    #: Whether other processes see the records, and they outlive this one.
    shared: bool = False

    # Writing

    @abstractmethod
    def add(self, record: SessionRecord) -> None:
        """Store a record; one of the same token and session is left as it is."""

    @abstractmethod
    def reserve(self, record: SessionRecord, quota: Quota) -> SessionRecord:
        """Store a record of a mint under way, if the user's quota has room; exact among processes.

        Returns it with `max_seconds` as the quota allows.

        Raises:
            MinutesExhausted, TooManySessions: there is no room.

        """

    @abstractmethod
    def confirm(self, label: str, token_id: str, minted_at: float, expires_at: float) -> None:
        """Record that the mint of a reserved record has worked."""

    @abstractmethod
    def cancel(self, label: str) -> None:
        """Delete a reserved record: its mint has failed."""

    @abstractmethod
    def refuse(self, user_id: str, token_id: str, at: float) -> None:
        """Record that this user's token failed to start, unless a start is known."""

    @abstractmethod
    def supersede(self, record: SessionRecord, at: float) -> None:
        """Give back other unused tokens of the same user, persona and slot as a record's."""

    @abstractmethod
    def start(
        self, user_id: str, token_id: str, session_id: str, at: float, *, again: bool = False
    ) -> SessionRecord | None:
        """Record a start that this user's browser reports; None when it changes nothing.

        Args:
            user_id: who reports; must be the one who got the token.
            token_id: of the token used.
            session_id: Anam's id of the session.
            at: when, Unix seconds.
            again: whether one token may start several sessions.

        """

    @abstractmethod
    def end(
        self,
        user_id: str | None,
        session_id: str,
        at: float,
        exit_status: str | None = None,
        *,
        label: str | None = None,
    ) -> SessionRecord | None:
        """Record the end of this user's session; None when there is none that runs.

        Args:
            user_id: whose session; as it is stored.
            session_id: Anam's id, which several of the user's tokens may claim.
            at: when, Unix seconds.
            exit_status: how, in Anam's words, or None.
            label: of the token whose session it is, where that is known.

        """

    @abstractmethod
    def change(self, record_id: int, **changes: object) -> None:
        """Set fields of one record."""

    @abstractmethod
    def count(self, counts: Mapping[CountKey, int]) -> None:
        """Add to the counts; the start of each is a multiple of `COUNT_BUCKET`."""

    @abstractmethod
    def purge(self, before: float, *, user_id: str | None = None) -> int:
        """Delete records and counts older than `before`; return the number of records.

        With `user_id` only that user's records, and no counts.
        """

    # Reading

    @abstractmethod
    def find(
        self,
        *,
        session_id: str | None = None,
        token_id: str | None = None,
        label: str | None = None,
        user_id: str | None = None,
    ) -> list[SessionRecord]:
        """Return the records that match every given id: at least one of the first three."""

    @abstractmethod
    def pending(
        self, *, since: float, after: int = 0, limit: int = 500, user_id: str | None = None
    ) -> list[SessionRecord]:
        """Return records that Anam has not confirmed, ordered by id, with ids above `after`."""

    @abstractmethod
    def sessions(
        self, query: UsageQuery, *, limit: int = 100, before: int | None = None
    ) -> list[SessionRecord]:
        """Return records, newest first; `before` is the lowest id of the page before."""

    @abstractmethod
    def running(
        self, now: float, *, user_id: str | None = None, limit: int = 1000
    ) -> list[SessionRecord]:
        """Return sessions that run as far as is known, oldest first."""

    @abstractmethod
    def count_running(self, now: float) -> int:
        """Return how many sessions run as far as is known."""

    @abstractmethod
    def totals_by_user(self, query: UsageQuery, *, limit: int = 1000) -> list[Totals]:
        """Return totals by user and persona, most seconds first."""

    @abstractmethod
    def totals_by_interval(self, query: UsageQuery, seconds: int) -> list[Totals]:
        """Return totals by interval of `seconds` and persona, in the order of time."""

    @abstractmethod
    def duration_histogram(self, query: UsageQuery, edges: Sequence[float]) -> list[int]:
        """Return how many ended sessions lasted at most each of the edges, and how many longer.

        Args:
            query: of which records.
            edges: seconds, ascending. The numbers are per step, not cumulative.

        """

    @abstractmethod
    def counts(self, query: UsageQuery, seconds: int) -> list[OutcomeCount]:
        """Return the counts by interval of `seconds` (a multiple of `COUNT_BUCKET`)."""

    def upgrade(self) -> tuple[str | None, str]:
        """Bring the schema up to date; return its revision before and after."""
        return "", ""

    @abstractmethod
    def close(self) -> None:
        """Close the connections of this process."""
