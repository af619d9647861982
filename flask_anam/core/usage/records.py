"""Session records: one per minted token, from the mint on, and how reports change it.

A token that may be used more than once gets another record per session. A record holds when its
token was made, when the conversation started and ended, and who reported that. It holds no
prompt, no token and no API key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

#: Seconds after a token's end, or a session's upper limit, in which a report may still come.
GRACE = 60.0
#: Seconds after which a session without a known upper limit is taken to be over.
MAX_SESSION_SECONDS = 4 * 3600.0
#: Upper limit of the sessions that can be reported for one token, where it may start several.
MAX_SESSIONS_PER_TOKEN = 100
#: Seconds of an interval in which outcomes of token requests are counted together.
COUNT_BUCKET = 300
#: Characters of a client label at most; the shortest bound that Anam publishes for one.
MAX_LABEL = 128
#: Upper limit of seconds that any database can hold for a session: 68 years.
MAX_STORABLE_SECONDS = 2**31 - 1
#: Exit status of a reported session that Anam knows nothing of.
NOT_FOUND = "NOT_FOUND"


class Unstorable(ValueError):
    """A store does not take a value, while it takes others; it is not down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """Session record: what is known of one token and its conversation; times are Unix seconds.

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
        max_seconds: upper limit of the session, if Anam was given one.
        refused_at: when the token was given back unused, or None.
        started_at: when the conversation started, or None.
        ended_at: when it ended, or None.
        seconds: how long it lasted, or None before its end.
        source: who reported it: ``mint`` (nobody yet), ``report`` (the browser) or ``anam``.
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
        limit = MAX_SESSION_SECONDS if self.max_seconds is None else self.max_seconds
        return (self.started_at or self.minted_at) + limit + GRACE

    @property
    def is_over_at_anam(self) -> bool:
        """Whether Anam itself has said that the session is over; not that it knows none."""
        ended = self.source == "anam" and self.ended_at is not None
        return ended and self.exit_status != NOT_FOUND

    def is_running(self, now: float) -> bool:
        """Whether it has started and, as far as is known, not ended."""
        return self.started_at is not None and self.ended_at is None and now < self.runs_until()

    def is_unused(self) -> bool:
        """Whether nobody has used its token or given it back, as far as is known."""
        return self.started_at is None and self.refused_at is None and self.source != "anam"

    def may_start(self, now: float) -> bool:
        """Whether its token may still start a session."""
        return self.is_unused() and now < self.expires_at + GRACE

    def billable_seconds(self, now: float) -> float:
        """Return the seconds that count against the user's minutes: used ones, else reserved."""
        if self.seconds is not None:
            return self.seconds
        if self.started_at is None and not self.may_start(now):
            return 0.0
        return MAX_SESSION_SECONDS if self.max_seconds is None else float(self.max_seconds)

    def state(self, now: float) -> str:
        """Return ``waiting``, ``running``, ``ended``, ``lost`` (no end came) or ``unused``."""
        if self.ended_at is not None:
            return "ended"
        if self.started_at is not None:
            return "running" if self.is_running(now) else "lost"
        return "waiting" if self.may_start(now) else "unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Filter: selects the records that match every given field. Times are Unix seconds.

    Attributes:
        since: minted at this time or later.
        until: minted before this time.
        user_id: of this user, as it is stored.
        persona_type: of this persona.
        started: only records of sessions that have started.

    """

    since: float | None = None
    until: float | None = None
    user_id: str | None = None
    persona_type: str | None = None
    started: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """Aggregate: sums over a group of records.

    Attributes:
        start: Unix seconds at which an interval begins; 0 where records are not grouped by time.
        user_id: as it is stored; None where records are not grouped by user, or have none.
        persona_type: our name for the persona.
        tokens: tokens that were minted.
        sessions: how many have started a session.
        ended: how many of these are over.
        seconds: sum of the lengths of these.

    """

    start: int
    user_id: str | None
    persona_type: str
    tokens: int
    sessions: int
    ended: int
    seconds: float


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """Counter: how often requests for tokens of a persona had an outcome in an interval.

    Attributes:
        start: Unix seconds at which the interval begins.
        persona_type: our name for the persona.
        outcome: ``minted``, ``reused``, ``replayed`` (reused for an equal call), ``stale`` (reused
            while no new token could be minted), or an error code.
        number: how often.

    """

    start: int
    persona_type: str
    outcome: str
    number: int


#: Start of the interval (Unix seconds), persona type, outcome.
CountKey = tuple[int, str, str]


def started(
    mine: Sequence[SessionRecord], session_id: str, at: float, *, again: bool
) -> SessionRecord | None:
    """Return the record of a session that is reported to have started; None for no change.

    Args:
        mine: the records of the token and user that report it.
        session_id: Anam's id of the session.
        at: when.
        again: whether one token may start several sessions; then the record may be a new one.

    """
    if not mine or any(record.session_id == session_id for record in mine):
        return None
    free = [record for record in mine if record.session_id is None and record.source != "anam"]
    if not free and (not again or len(mine) >= MAX_SESSIONS_PER_TOKEN):
        return None
    another = replace(mine[0], id=0, ended_at=None, seconds=None, exit_status=None)
    record = free[0] if free else another
    return replace(record, session_id=session_id, started_at=at, source="report")


def ended(record: SessionRecord, at: float, exit_status: str | None) -> SessionRecord:
    """Return the record of a session that is reported to have ended.

    Its length is at most `max_seconds`, however late the report comes.
    """
    start = at if record.started_at is None else record.started_at
    seconds = max(0.0, at - start)
    if record.max_seconds is not None:
        seconds = min(seconds, float(record.max_seconds))
    return replace(
        record,
        ended_at=start + seconds,
        seconds=seconds,
        exit_status=exit_status,
        source="report",
    )
