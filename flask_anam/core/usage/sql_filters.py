"""SQL expressions: the rules of `SessionRecord`, and the filter `UsageQuery`, in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, not_

from flask_anam.core.usage import sql_tables as tables
from flask_anam.core.usage.records import GRACE, MAX_SESSION_SECONDS, UsageQuery

rows = tables.sessions.c


def is_unused() -> ColumnElement[bool]:
    """Return `SessionRecord.is_unused` in SQL."""
    never_used = and_(rows.started_at.is_(None), rows.refused_at.is_(None))
    return and_(never_used, rows.source != "anam")


def may_start(now: float) -> ColumnElement[bool]:
    """Return `SessionRecord.may_start` in SQL."""
    return and_(is_unused(), rows.expires_at > now - GRACE)


def is_running(now: float) -> ColumnElement[bool]:
    """Return `SessionRecord.is_running` in SQL."""
    limit = func.coalesce(rows.max_seconds, MAX_SESSION_SECONDS)
    is_open = and_(rows.started_at.is_not(None), rows.ended_at.is_(None))
    return and_(is_open, rows.started_at + limit > now - GRACE)


def billable_seconds(now: float) -> ColumnElement[float]:
    """Return `SessionRecord.billable_seconds` in SQL."""
    never_started = and_(rows.started_at.is_(None), not_(may_start(now)))
    return case(
        (rows.seconds.is_not(None), rows.seconds),
        (never_started, 0.0),
        else_=func.coalesce(rows.max_seconds, MAX_SESSION_SECONDS),
    )


def where(query: UsageQuery) -> ColumnElement[bool]:
    """Return the condition of a filter in SQL."""
    chosen: list[ColumnElement[bool]] = [literal(1) == literal(1)]
    if query.since is not None:
        chosen.append(rows.minted_at >= query.since)
    if query.until is not None:
        chosen.append(rows.minted_at < query.until)
    if query.user_id is not None:
        chosen.append(rows.user_id == query.user_id)
    if query.persona_type is not None:
        chosen.append(rows.persona_type == query.persona_type)
    if query.started:
        chosen.append(rows.started_at.is_not(None))
    return and_(*chosen)


def sums() -> list[ColumnElement[Any]]:
    """Return the sums of `Totals` in SQL: tokens, sessions, ended sessions and seconds."""
    return [
        func.count(),
        func.count(rows.started_at),
        func.count(rows.ended_at),
        func.coalesce(func.sum(rows.seconds), 0.0),
    ]
