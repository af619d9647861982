"""Session records: what is known of each conversation, and the interface of the stores that keep it.

One record per minted token, from the mint on; a token that may be used more than once gets
another record per session. A record tells when its token was made, when the conversation started
and ended, and who said so: `source` is ``mint`` (nobody yet), ``report`` (the browser) or
``anam`` (Anam itself, see `reconcile`). It holds no prompt, no token and no API key.

To read, for a dashboard, a command or a bill, ask a `SessionStore`; all times are Unix seconds,
and a record belongs to the time at which its token was made (`minted_at`):

====================== ===========================================================
``sessions(which)``    the records themselves, newest first, page by page
``running(now)``       sessions that have started and not ended
``per_user(which)``    tokens, sessions and seconds of each user and persona
``per_bucket(which)``  the same for each stretch of time and persona
``lengths(which)``     how many ended sessions lasted up to so many seconds
``counts(which)``      tokens minted, reused and failed by code, per stretch of time
``purge(before)``      forgets what is older
====================== ===========================================================

`which` is a `Wanted`: since, until, user and persona. User ids are as they are stored; with
``ANAM_USAGE_USER_IDS = "hashed"`` ask `flask_anam.core.books.Books.stored_user` for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_anam.core.quota import Quota

#: Seconds after a token's end, or a session's longest time, in which a report may still come.
GRACE = 60.0
#: Seconds that a session without a known longest time is believed to run at most.
LONGEST = 4 * 3600.0
#: Seconds of a stretch of time in which tokens are counted together.
COUNT_BUCKET = 300
#: Characters of a client label at most; the shortest bound that Anam publishes for one.
MAX_LABEL = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """What is known of one token and its conversation; times are Unix seconds.

    Attributes:
        id: number of the record in its store; 0 before it is stored.
        label: the client label that Anam got; "" when the mint could not be recorded.
        token_id: None while the mint is under way.
        session_id: Anam's id, once known.
        user_id: as it is stored, plain or hashed; None for a token made without a user.
        persona_type: our name for the persona.
        account: keyed hash that tells apart which API key was used.
        slot: keyed hash of the browser tab, or None.
        minted_at: when the token was made.
        expires_at: when the token can start nothing any more.
        max_seconds: the longest that the session may last, if it was told to Anam.
        refused_at: when the token was given back unused, or None.
        started_at: when the conversation started, or None.
        ended_at: when it ended, or None.
        seconds: how long it lasted, or None before its end.
        source: who said so: ``mint``, ``report`` or ``anam``.
        exit_status: how it ended, in Anam's words, or None.

    """

    id: int = 0
    label: str
    token_id: str | None
    session_id: str | None = None
    user_id: str | None
    persona_type: str
    account: str = ""
    slot: str | None = None
    minted_at: float
    expires_at: float
    max_seconds: int | None = None
    refused_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    source: str = "mint"
    exit_status: str | None = None

    def runs_until(self) -> float:
        """Return when a started session must be over, at the latest."""
        longest = LONGEST if self.max_seconds is None else self.max_seconds
        return (self.started_at or self.minted_at) + longest + GRACE

    def is_running(self, now: float) -> bool:
        """Whether it has started and, as far as is known, not ended."""
        return self.started_at is not None and self.ended_at is None and now < self.runs_until()

    def may_start(self, now: float) -> bool:
        """Whether its token may still start a session."""
        unused = self.started_at is None and self.refused_at is None and self.source != "anam"
        return unused and now < self.expires_at + GRACE

    def charge(self, now: float) -> float:
        """Return the seconds that count against the user's minutes: used ones, else reserved."""
        if self.seconds is not None:
            return self.seconds
        if self.started_at is None and not self.may_start(now):
            return 0.0
        return LONGEST if self.max_seconds is None else float(self.max_seconds)

    def state(self, now: float) -> str:
        """Return ``waiting``, ``running``, ``ended``, ``lost`` (no end came) or ``unused``."""
        if self.ended_at is not None:
            return "ended"
        if self.started_at is not None:
            return "running" if self.is_running(now) else "lost"
        return "waiting" if self.may_start(now) else "unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records: those that fit all that is given. Times are Unix seconds."""

    since: float | None = None
    until: float | None = None
    user_id: str | None = None
    persona_type: str | None = None
    started: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over records.

    Attributes:
        start: Unix seconds at which a stretch of time begins; 0 where time plays no part.
        user_id: as it is stored; None where users play no part, or for tokens without one.
        persona_type: our name for the persona.
        tokens: tokens that were minted.
        sessions: how many have started a session.
        ended: how many of these are over.
        seconds: how long those lasted in all.

    """

    start: int
    user_id: str | None
    persona_type: str
    tokens: int
    sessions: int
    ended: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Count:
    """How often something happened to tokens of a persona in a stretch of time.

    Attributes:
        start: Unix seconds at which it begins.
        persona_type: our name for the persona.
        outcome: ``minted``, ``reused``, ``stale`` (reused for want of a new one), or an error code.
        number: how often.

    """

    start: int
    persona_type: str
    outcome: str
    number: int


#: Start of the stretch of time, persona type, outcome.
CountKey = tuple[int, str, str]


class SessionStore(ABC):
    """Where session records are kept. Thread-safe.

    Every method may raise what the store's own library raises; `flask_anam.core.books.Books`
    stands between a store and those who must not fail with it.
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
        self, user_id: str | None, session_id: str, at: float, exit_status: str | None = None
    ) -> SessionRecord | None:
        """Note the end of this user's session; None when there is none that runs."""

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
        label: str | None = None,
        user_id: str | None = None,
    ) -> list[SessionRecord]:
        """Return the records with this session id, label or both; of this user, if given."""

    @abstractmethod
    def pending(
        self, *, since: float, after: int = 0, limit: int = 500, user_id: str | None = None
    ) -> list[SessionRecord]:
        """Return records that Anam has not confirmed, by id from the one after `after`."""

    @abstractmethod
    def sessions(
        self, which: Wanted, *, limit: int = 100, before: int | None = None
    ) -> list[SessionRecord]:
        """Return records, newest first; `before` is the id of the last one of the page before."""

    @abstractmethod
    def running(
        self, now: float, *, user_id: str | None = None, limit: int = 1000
    ) -> list[SessionRecord]:
        """Return sessions that run as far as is known, oldest first."""

    @abstractmethod
    def per_user(self, which: Wanted, *, limit: int = 1000) -> list[Totals]:
        """Return totals by user and persona, most seconds first."""

    @abstractmethod
    def per_bucket(self, which: Wanted, seconds: int) -> list[Totals]:
        """Return totals by stretches of so many seconds and persona, in the order of time."""

    @abstractmethod
    def lengths(self, which: Wanted, edges: Sequence[float]) -> list[int]:
        """Return how many ended sessions lasted at most each of the edges, and one for the rest.

        Args:
            which: of which records.
            edges: seconds, rising. The numbers are per step, not running totals.

        """

    @abstractmethod
    def counts(self, which: Wanted, seconds: int) -> list[Count]:
        """Return the counts by stretches of so many seconds (a multiple of `COUNT_BUCKET`)."""

    def close(self) -> None:
        """Let go of connections."""


def ended(record: SessionRecord, at: float, exit_status: str | None) -> SessionRecord:
    """Return the record of a session that is reported to have ended.

    It has not lasted longer than it was allowed to, however late the report comes.
    """
    seconds = max(0.0, at - (at if record.started_at is None else record.started_at))
    if record.max_seconds is not None:
        seconds = min(seconds, float(record.max_seconds))
    return replace(
        record,
        ended_at=(record.started_at or at) + seconds,
        seconds=seconds,
        exit_status=exit_status,
        source="report",
    )
