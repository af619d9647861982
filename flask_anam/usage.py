"""Usage: reads, reconciles and deletes the session records of the current app.

Call these functions in an app context. Times are Unix seconds; or a `datetime`, in UTC unless it
has a time zone; or a `date`, which is its first moment in UTC. User ids are as your app knows them,
also where they are stored hashed. A record belongs to the time at which its token was minted. Every
function raises ConfigError when Flask-Anam is not set up on the current app, and TypeError or
ValueError for an argument of another kind, before the store is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from math import isfinite

from flask_anam.core.usage.reconciler import Reconciliation
from flask_anam.core.usage.records import (
    COUNT_BUCKET,
    OutcomeCount,
    SessionRecord,
    Totals,
    UsageQuery,
)
from flask_anam.core.usage.store import unavailable_as_busy
from flask_anam.session_control import api_key_resolver
from flask_anam.state import AnamState, get_state

__all__ = [
    "OutcomeCount",
    "Reconciliation",
    "SessionRecord",
    "Totals",
    "count_outcomes",
    "find_sessions",
    "purge",
    "reconcile",
    "running_sessions",
    "totals_by_interval",
    "totals_by_user",
]

#: Unix seconds, a datetime, or a date for its first moment in UTC.
Time = float | datetime | date


def find_sessions(
    *,
    since: Time | None = None,
    until: Time | None = None,
    user_id: str | None = None,
    persona_type: str | None = None,
    started: bool = True,
    limit: int = 100,
    before: int | None = None,
) -> list[SessionRecord]:
    """Return session records, newest first.

    Args:
        since: only tokens minted at this time or later.
        until: only tokens minted before this time.
        user_id: only of this user.
        persona_type: only of this persona.
        started: only sessions that have started; False adds tokens that have started none.
        limit: upper limit of records.
        before: for the next page, the `id` of the last record of this page.

    Raises:
        Busy: the store does not answer.

    Example:
        >>> issued = anam.create_token("support", user_id="42")
        >>> for record in usage.find_sessions(user_id="42", since=issued.expires_at - 86400):
        ...     print(record.persona_type, record.started_at, record.seconds)
        >>> len(usage.find_sessions(user_id="42", started=False))
        1

    """
    state = get_state()
    query = _query(state, since, until, user_id, persona_type, started=started)
    most = _positive("limit", limit)
    with unavailable_as_busy():
        return state.recorder.store.sessions(query, limit=most, before=before)


def running_sessions(
    *, user_id: str | None = None, persona_type: str | None = None, limit: int = 1000
) -> list[SessionRecord]:
    """Return the sessions that run as far as is known, newest first.

    Args:
        user_id: only of this user.
        persona_type: only of this persona.
        limit: upper limit of sessions that are read, of any persona, the oldest first.

    Raises:
        Busy: the store does not answer.

    Example:
        >>> [record.session_id for record in usage.running_sessions(user_id="42")]
        []

    """
    state = get_state()
    user, now = _user(state, user_id), state.clock.time()
    most = _positive("limit", limit)
    with unavailable_as_busy():
        records = state.recorder.store.running(now, user_id=user, limit=most)
    return [r for r in records if persona_type in {None, r.persona_type}][::-1]


def totals_by_user(
    *,
    since: Time | None = None,
    until: Time | None = None,
    user_id: str | None = None,
    persona_type: str | None = None,
    limit: int = 1000,
) -> list[Totals]:
    """Return tokens, sessions and seconds of each user and persona, most seconds first.

    Args:
        since: only tokens minted at this time or later.
        until: only tokens minted before this time.
        user_id: only of this user.
        persona_type: only of this persona.
        limit: upper limit of pairs of user and persona.

    Raises:
        Busy: the store does not answer.

    Example:
        >>> issued = anam.create_token("support", user_id="42")
        >>> for total in usage.totals_by_user(user_id="42"):
        ...     print(total.user_id, total.persona_type, total.tokens, total.seconds / 60)
        42 support 1 0.0

    """
    state = get_state()
    query = _query(state, since, until, user_id, persona_type)
    most = _positive("limit", limit)
    with unavailable_as_busy():
        return state.recorder.store.totals_by_user(query, limit=most)


def totals_by_interval(
    seconds: int,
    *,
    since: Time | None = None,
    until: Time | None = None,
    user_id: str | None = None,
    persona_type: str | None = None,
) -> list[Totals]:
    """Return tokens, sessions and seconds of each interval and persona, in the order of time.

    Args:
        seconds: length of an interval; intervals begin at multiples of it, in UTC.
        since: only tokens minted at this time or later.
        until: only tokens minted before this time.
        user_id: only of this user.
        persona_type: only of this persona.

    Raises:
        Busy: the store does not answer.

    Example:
        >>> issued = anam.create_token("support", user_id="42")
        >>> [(day.start % 86400, day.tokens) for day in usage.totals_by_interval(86400)]
        [(0, 1)]

    """
    state = get_state()
    query = _query(state, since, until, user_id, persona_type)
    step = _positive("seconds", seconds)
    with unavailable_as_busy():
        return state.recorder.store.totals_by_interval(query, step)


def count_outcomes(
    seconds: int,
    *,
    since: Time | None = None,
    until: Time | None = None,
    persona_type: str | None = None,
) -> list[OutcomeCount]:
    """Return how often requests for tokens had each outcome, by interval and persona.

    Counts of other workers are included once they are written, about ten seconds later.

    Args:
        seconds: length of an interval, a multiple of 300; intervals begin at multiples of it.
        since: only intervals that begin at this time or later.
        until: only intervals that begin before this time.
        persona_type: only of this persona.

    Raises:
        Busy: the store does not answer.

    Example:
        >>> issued = anam.create_token("support", user_id="42")
        >>> [(count.outcome, count.number) for count in usage.count_outcomes(86400)]
        [('minted', 1)]

    """
    state = get_state()
    query = _query(state, since, until, None, persona_type)
    state.recorder.flush()
    step = _positive("seconds", seconds, COUNT_BUCKET)
    with unavailable_as_busy():
        return state.recorder.store.counts(query, step)


def purge(before: Time, *, user_id: str | None = None) -> int:
    """Delete records and counts older than `before`; return the number of records.

    Args:
        before: records of tokens minted before this time are deleted; may be in the future.
        user_id: only records of this user, and no counts.

    Raises:
        Busy: the store does not answer.

    Example:
        >>> issued = anam.create_token("support", user_id="42")
        >>> usage.purge(issued.expires_at, user_id="42")
        1

    """
    state = get_state()
    user, seconds = _user(state, user_id), _seconds(before)
    with unavailable_as_busy():
        return state.recorder.store.purge(seconds, user_id=user)


def reconcile(
    *,
    user_id: str | None = None,
    limit: int = 10_000,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Reconciliation:
    """Ask Anam when each session really began and ended, and update the records.

    Args:
        user_id: only sessions of this user.
        limit: upper limit of records that are looked up.
        on_progress: called with the number of records done, and of all records.

    Raises:
        Busy: the store does not answer.

    Example:
        >>> issued = anam.create_token("support", user_id="42")
        >>> result = usage.reconcile()
        >>> result.settled, result.waiting, result.failed
        (0, 1, 0)

    """
    state = get_state()
    user, most = _user(state, user_id), _positive("limit", limit)
    with unavailable_as_busy():
        return state.reconciler.run(
            api_key_resolver(state), user_id=user, limit=most, on_progress=on_progress
        )


def _query(
    state: AnamState,
    since: Time | None,
    until: Time | None,
    user_id: str | None,
    persona_type: str | None,
    *,
    started: bool = False,
) -> UsageQuery:
    return UsageQuery(
        since=None if since is None else _seconds(since),
        until=None if until is None else _seconds(until),
        user_id=_user(state, user_id),
        persona_type=persona_type,
        started=started,
    )


def _seconds(time: Time) -> float:
    if isinstance(time, date) and not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day, tzinfo=UTC)
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    # A database compares other types in its own way: SQLite takes any text for later than a number.
    if isinstance(time, bool) or not isinstance(time, int | float) or not isfinite(time):
        raise TypeError(
            "A time must be a datetime, a date or a finite number of Unix seconds, got "
            f"{type(time).__name__}."
        )
    return time


def _user(state: AnamState, user_id: str | None) -> str | None:
    """Return a user id as it is stored."""
    if user_id is not None and not isinstance(user_id, str):
        raise TypeError(f"A user id must be a string, got {type(user_id).__name__}.")
    return state.recorder.stored_user_id(user_id)


def _positive(name: str, number: int, multiple_of: int = 1) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be a whole number, got {type(number).__name__}.")
    if number < 1 or number % multiple_of:
        of = f" and a multiple of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(f"{name} must be 1 or more{of}, got {number}.")
    return number
