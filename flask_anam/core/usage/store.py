"""Session store: the interface of every store of session records.

To read, for a dashboard, a command or a bill, ask a `SessionStore`; all times are Unix seconds,
and a record belongs to the time at which its token was made (`minted_at`):

============================= ====================================================
``sessions(which)``           the records themselves, newest first, page by page
``running(now)``              sessions that have started and not ended
``per_user(which)``           tokens, sessions and seconds of each user and persona
``totals_by_interval(which)`` the same for each interval of time and persona
``duration_histogram(which)`` how many ended sessions lasted up to so many seconds
``counts(which)``             tokens minted, reused and failed by code, per interval
``purge(before)``             deletes what is older
============================= ====================================================

`which` is a `UsageQuery`: since, until, user and persona. User ids are as they are stored; with
``ANAM_USAGE_USER_IDS = "hashed"`` ask `UsageRecorder.stored_user_id` for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from flask_anam.core.usage.quotas import Quota
from flask_anam.core.usage.records import CountKey, OutcomeCount, SessionRecord, Totals, UsageQuery


class SessionStore(ABC):
    """Where session records are kept. Thread-safe.

    Every method may raise `Unstorable` for a value, and what the store's own library raises for
    all else; `UsageRecorder` stands between a store and those who must not fail with it.
    """

    #: Whether other processes see what is stored, and it outlives this one.
    shared: bool = False

    # Writing

    @abstractmethod
    def add(self, record: SessionRecord) -> None:
        """Store a record; one of the same token and session is left as it is."""

    @abstractmethod
    def reserve(self, record: SessionRecord, quota: Quota) -> SessionRecord:
        """Store a record of a mint to come, if the user's quota has room; exact among processes.

        Returns it with `max_seconds` as the quota allows.

        Raises:
            MinutesExhausted, TooManySessions: there is no room.

        """

    @abstractmethod
    def confirm(self, label: str, token_id: str, minted_at: float, expires_at: float) -> None:
        """Note that the mint of a reserved record has worked."""

    @abstractmethod
    def cancel(self, label: str) -> None:
        """Forget a reserved record: its mint has failed."""

    @abstractmethod
    def refuse(self, user_id: str, token_id: str, at: float) -> None:
        """Note that this user's token failed to start, if no start is known."""

    @abstractmethod
    def supersede(self, record: SessionRecord, at: float) -> None:
        """Give back other unused tokens of the same user, persona and slot as a record's."""

    @abstractmethod
    def start(
        self, user_id: str, token_id: str, session_id: str, at: float, *, again: bool = False
    ) -> SessionRecord | None:
        """Note a start that this user's browser reports; None when it changes nothing.

        Args:
            user_id: who reports; must be the one who got the token.
            token_id: of the token used.
            session_id: Anam's id of the session.
            at: when.
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
        """Note the end of this user's session; None when there is none that runs.

        Args:
            user_id: whose session; as it is stored.
            session_id: Anam's id, which several of the user's tokens may claim.
            at: when.
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
        """Forget records and counts older than `before`; return how many records.

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
        """Return the records that have all that is given: one of the first three at least."""

    @abstractmethod
    def pending(
        self, *, since: float, after: int = 0, limit: int = 500, user_id: str | None = None
    ) -> list[SessionRecord]:
        """Return records that Anam has not confirmed, by id from the one after `after`."""

    @abstractmethod
    def sessions(
        self, which: UsageQuery, *, limit: int = 100, before: int | None = None
    ) -> list[SessionRecord]:
        """Return records, newest first; `before` is the id of the last one of the page before."""

    @abstractmethod
    def running(
        self, now: float, *, user_id: str | None = None, limit: int = 1000
    ) -> list[SessionRecord]:
        """Return sessions that run as far as is known, oldest first."""

    @abstractmethod
    def count_running(self, now: float) -> int:
        """Return how many sessions run as far as is known."""

    @abstractmethod
    def per_user(self, which: UsageQuery, *, limit: int = 1000) -> list[Totals]:
        """Return totals by user and persona, most seconds first."""

    @abstractmethod
    def totals_by_interval(self, which: UsageQuery, seconds: int) -> list[Totals]:
        """Return totals by stretches of so many seconds and persona, in the order of time."""

    @abstractmethod
    def duration_histogram(self, which: UsageQuery, edges: Sequence[float]) -> list[int]:
        """Return how many ended sessions lasted at most each of the edges, and one for the rest.

        Args:
            which: of which records.
            edges: seconds, rising. The numbers are per step, not running totals.

        """

    @abstractmethod
    def counts(self, which: UsageQuery, seconds: int) -> list[OutcomeCount]:
        """Return the counts by stretches of so many seconds (a multiple of `COUNT_BUCKET`)."""

    def upgrade(self) -> tuple[str | None, str]:
        """Bring the schema up to date; return its revision before and after."""
        return "", ""

    @abstractmethod
    def close(self) -> None:
        """Let go of what this process holds open."""
