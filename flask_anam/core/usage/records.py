"""What is known of each token and its conversation, and how it changes.

One record per minted token, from the mint on; a token that may be used more than once gets
another record per session. A record tells when its token was made, when the conversation started
and ended, and who said so. It holds no prompt, no token and no API key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

#: Seconds after a token's end, or a session's longest time, in which a report may still come.
GRACE = 60.0
#: Seconds that a session without a known longest time is believed to run at most.
MAX_SESSION_SECONDS = 4 * 3600.0
#: Sessions that one token can be reported to have started, where it may start several.
MAX_SESSIONS_PER_TOKEN = 100
#: Seconds of a stretch of time in which tokens are counted together.
COUNT_BUCKET = 300
#: Characters of a client label at most; the shortest bound that Anam publishes for one.
MAX_LABEL = 128
#: Seconds that any database can hold as the longest time of a session: 68 years.
MAX_STORABLE_SECONDS = 2**31 - 1


class Unstorable(ValueError):
    """A store cannot hold a value that it was given, while it works for all others."""


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
        longest = MAX_SESSION_SECONDS if self.max_seconds is None else self.max_seconds
        return (self.started_at or self.minted_at) + longest + GRACE

    def is_running(self, now: float) -> bool:
        """Whether it has started and, as far as is known, not ended."""
        return self.started_at is not None and self.ended_at is None and now < self.runs_until()

    def may_start(self, now: float) -> bool:
        """Whether its token may still start a session."""
        unused = self.started_at is None and self.refused_at is None and self.source != "anam"
        return unused and now < self.expires_at + GRACE

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
class OutcomeCount:
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
    if not mine or any(one.session_id == session_id for one in mine):
        return None
    free = [one for one in mine if one.session_id is None and one.source != "anam"]
    if not free and (not again or len(mine) >= MAX_SESSIONS_PER_TOKEN):
        return None
    fresh = replace(mine[0], id=0, ended_at=None, seconds=None, exit_status=None)
    record = free[0] if free else fresh
    return replace(record, session_id=session_id, started_at=at, source="report")


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
