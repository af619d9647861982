"""What a `SessionRecord` says of itself, said in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, not_

from flask_anam.core.usage import sql_tables as tables
from flask_anam.core.usage.records import GRACE, MAX_SESSION_SECONDS, UsageQuery

rows = tables.sessions.c


def unused() -> ColumnElement[bool]:
    """Say in SQL that nobody has used or given back a token."""
    never = and_(rows.started_at.is_(None), rows.refused_at.is_(None))
    return and_(never, rows.source != "anam")


def may_start(now: float) -> ColumnElement[bool]:
    """Say in SQL what `SessionRecord.may_start` says."""
    return and_(unused(), rows.expires_at > now - GRACE)


def is_running(now: float) -> ColumnElement[bool]:
    """Say in SQL what `SessionRecord.is_running` says."""
    longest = func.coalesce(rows.max_seconds, MAX_SESSION_SECONDS)
    begun = and_(rows.started_at.is_not(None), rows.ended_at.is_(None))
    return and_(begun, rows.started_at + longest > now - GRACE)


def billable_seconds(now: float) -> ColumnElement[float]:
    """Say in SQL what `SessionRecord.billable_seconds` says."""
    over = and_(rows.started_at.is_(None), not_(may_start(now)))
    return case(
        (rows.seconds.is_not(None), rows.seconds),
        (over, 0.0),
        else_=func.coalesce(rows.max_seconds, MAX_SESSION_SECONDS),
    )


def where(which: UsageQuery) -> ColumnElement[bool]:
    """Say in SQL which records are wanted."""
    chosen: list[ColumnElement[bool]] = [literal(1) == literal(1)]
    if which.since is not None:
        chosen.append(rows.minted_at >= which.since)
    if which.until is not None:
        chosen.append(rows.minted_at < which.until)
    if which.user_id is not None:
        chosen.append(rows.user_id == which.user_id)
    if which.persona_type is not None:
        chosen.append(rows.persona_type == which.persona_type)
    if which.started:
        chosen.append(rows.started_at.is_not(None))
    return and_(*chosen)


def sums() -> list[ColumnElement[Any]]:
    """Return tokens, sessions, ended ones and seconds, for a group of records."""
    return [
        func.count(),
        func.count(rows.started_at),
        func.count(rows.ended_at),
        func.coalesce(func.sum(rows.seconds), 0.0),
    ]
