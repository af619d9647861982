"""Session records: their states, and the limits that must agree with those of other modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Table

from flask_anam.auth import checked_user_id
from flask_anam.core.personas.persona import make_persona
from flask_anam.core.tokens.token import LONGEST_LIFETIME, MAX_SESSION_ID, token_id
from flask_anam.core.upstream.sessions_api import _printable
from flask_anam.core.usage import memory_store, reconciler, report, sql_store
from flask_anam.core.usage.periods import _STEPS, PRESETS
from flask_anam.core.usage.records import (
    COUNT_BUCKET,
    GRACE,
    MAX_LABEL,
    MAX_SESSION_SECONDS,
    SessionRecord,
    ended,
)
from flask_anam.core.usage.sql_tables import counts, sessions
from flask_anam.errors import ConfigError
from flask_anam.testing import ManualClock

Maker = Callable[..., SessionRecord]


@pytest.mark.parametrize(
    ("facts", "after", "state", "billable"),
    [
        ({}, 3600 + GRACE - 1, "waiting", MAX_SESSION_SECONDS),
        ({}, 3600 + GRACE, "unused", 0.0),
        ({"max_seconds": 60}, 0, "waiting", 60.0),
        ({"refused_at": 1.0, "max_seconds": 60}, 0, "unused", 0.0),
        ({"source": "anam", "max_seconds": 60}, 0, "unused", 0.0),
        ({"started_at": 0.0, "max_seconds": 60}, 0, "running", 60.0),
        ({"started_at": 0.0, "max_seconds": 60}, 60 + GRACE, "lost", 60.0),
        ({"started_at": 0.0}, MAX_SESSION_SECONDS + GRACE - 1, "running", MAX_SESSION_SECONDS),
        ({"started_at": 0.0}, MAX_SESSION_SECONDS + GRACE, "lost", MAX_SESSION_SECONDS),
        ({"started_at": 0.0, "ended_at": 9.0, "seconds": 9.0, "max_seconds": 60}, 9, "ended", 9.0),
    ],
)
def test_states_and_billable_seconds(
    record: Maker,
    clock: ManualClock,
    facts: dict[str, float],
    after: float,
    state: str,
    billable: float,
) -> None:
    """What is set aside counts until it is known to be unused, the true length afterwards."""
    begin = clock.now
    times = {name: begin + value for name, value in facts.items() if name.endswith("_at")}
    session = record("t", **{**facts, **times})
    assert session.state(begin + after) == state
    assert session.billable_seconds(begin + after) == billable


@pytest.mark.parametrize(("at", "seconds"), [(30.0, 30.0), (-5.0, 0.0), (9000.0, 60.0)])
def test_a_reported_end_is_within_bounds(record: Maker, at: float, seconds: float) -> None:
    """Not before the start, nor later than the session may last."""
    over = ended(record("t", started_at=0.0, max_seconds=60), at, None)
    assert (over.seconds, over.ended_at) == (seconds, seconds)


def length(table: Table, column: str) -> int:
    """Return how many characters a column holds."""
    size: int = table.c[column].type.length  # type: ignore[attr-defined]
    return size


def test_columns_hold_what_other_modules_let_through() -> None:
    """Else a value would be lost in a database that was fine in memory."""
    assert length(sessions, "label") == MAX_LABEL
    assert length(sessions, "token_id") == len(token_id("a token"))
    assert length(sessions, "session_id") == MAX_SESSION_ID
    assert length(sessions, "exit_status") == len(_printable("x" * 999))
    user_id, persona_type = length(sessions, "user_id"), length(sessions, "persona_type")
    assert checked_user_id("u" * user_id)
    with pytest.raises(ConfigError):
        checked_user_id("u" * (user_id + 1))
    assert length(counts, "persona_type") == persona_type
    make_persona("p" * persona_type, {"name": "x"})
    with pytest.raises(ConfigError):
        make_persona("p" * (persona_type + 1), {"name": "x"})
    outcomes = [*report.meanings(), "minted", "reused", "replayed", "stale"]
    assert max(map(len, outcomes)) <= length(counts, "outcome")


def test_an_open_record_is_in_every_query() -> None:
    """The longest token, and a session started with it, are over when a record is left out."""
    assert sql_store._OPEN_FOR >= LONGEST_LIFETIME + MAX_SESSION_SECONDS + GRACE


def test_a_token_is_reconciled_until_nothing_can_come_of_it() -> None:
    """Also in another account; and not closed as unused while a start may still be reported."""
    longest = LONGEST_LIFETIME + max(reconciler.UNUSED_ELSEWHERE_AFTER, MAX_SESSION_SECONDS)
    assert longest < reconciler.GIVE_UP_AFTER
    assert GRACE <= reconciler.UNUSED_AFTER <= reconciler.UNUSED_ELSEWHERE_AFTER


def test_counts_fill_the_steps_of_every_period() -> None:
    """Each step is a whole number of intervals, and memory keeps the longest preset."""
    steps = {*_STEPS, *(step for _, step in PRESETS.values()), report._WHOLE}
    assert {step % COUNT_BUCKET for step in steps} == {0}
    assert max(sum(preset) for preset in PRESETS.values()) <= memory_store.KEEP_COUNTS_FOR


def test_the_histogram_ends_with_the_longest_session() -> None:
    """Sessions without a limit of their own are taken to be over then."""
    assert report.EDGES[-1] == MAX_SESSION_SECONDS
