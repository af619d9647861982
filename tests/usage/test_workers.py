"""Four worker processes on one database: nothing is lost, nothing doubled, limits are exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hosts import make_app
from usage.stores import open_store
from usage.workers import Crew, run_all

from flask_anam.core.usage.records import SessionRecord, UsageQuery
from flask_anam.sandbox import Sandbox
from flask_anam.session_control import api_key_resolver
from flask_anam.state import get_state

WORKERS = 4


def jobs(sandbox: Sandbox, url: str, how: dict[str, Any], **config: Any) -> list[dict[str, Any]]:
    """Return one job per worker."""
    base = {
        "ANAM_API_KEY": sandbox.api_key,
        "ANAM_BASE_URL": sandbox.url,
        "ANAM_USAGE_URL": url,
        "ANAM_TOKEN_RATE_LIMIT": "99999 per hour",
        "ANAM_REQUEST_RATE_LIMIT": "99999 per hour",
        "ANAM_DEADLINE": 60,
        "ANAM_READ_TIMEOUT": 60,
        "ANAM_CONNECT_TIMEOUT": 30,
    }
    job = {"users": ["ada", "bob", "eve"], "threads": 4, **how}
    return [{**job, "name": str(n), "config": {**base, **config}} for n in range(WORKERS)]


def stored(url: str) -> list[SessionRecord]:
    """Return all records of a database."""
    store = open_store(url)
    try:
        return store.sessions(UsageQuery(), limit=100_000)
    finally:
        store.close()


def reported(lines: Sequence[Any], what: str) -> list[str]:
    """Return what the workers said of one kind."""
    return [line[what] for line in lines if what in line]


def seconds_of_users(url: str, sandbox: Sandbox) -> dict[str | None, float]:
    """Reconcile, and return the seconds of each user."""
    app = make_app(sandbox, ANAM_USAGE_URL=url)
    with app.app_context():
        state = get_state()
        for entry in sandbox.ledger.sessions:
            sandbox._account.sessions.end(entry.session_id, "NORMAL_EXIT", "over")
        result = state.reconciler.run(api_key_resolver(state))
        assert (result.settled, result.failed) == (2000, 0)
        totals = state.recorder.store.totals_by_user(UsageQuery())
        state.recorder.close()
    return {total.user_id: total.seconds for total in totals}


def seconds_in_ledger(sandbox: Sandbox, user_of: dict[str, str | None]) -> dict[str | None, float]:
    """Return the seconds that each user has talked, in whole milliseconds as Anam tells them."""
    sums: Counter[str | None] = Counter()
    for entry in sandbox.ledger.sessions:
        assert entry.ended_at is not None
        user = user_of[str(entry.client_label)]
        sums[user] += round((entry.ended_at - entry.started_at) * 1000)
    return {user: number / 1000 for user, number in sums.items()}


@pytest.mark.slow
def test_two_thousand_starts_and_ends(sandbox: Sandbox, database_url: str) -> None:
    """Of as many starts and ends, some of them reported twice, all are there, once.

    After a reconciliation each user's seconds are those of the sandbox's ledger.
    """
    lines = run_all(jobs(sandbox, database_url, {"turns": 125}))
    assert len(reported(lines, "ended")) == 2000
    records = stored(database_url)
    ledger = {entry.session_id: entry.token_id for entry in sandbox.ledger.sessions}
    assert len(ledger) == len(records) == 2000
    assert {record.session_id: record.token_id for record in records} == ledger
    assert {record.label for record in records} == {m.client_label for m in sandbox.ledger.mints}
    assert all(record.seconds is not None for record in records)
    store = open_store(database_url)
    counts = store.counts(UsageQuery(), 86400)
    store.close()
    assert {count.outcome for count in counts} == {"minted"}
    assert sum(count.number for count in counts) == 2000
    assert seconds_of_users(database_url, sandbox) == pytest.approx(
        seconds_in_ledger(sandbox, {record.label: record.user_id for record in records})
    )


@pytest.mark.slow
def test_sessions_at_once_are_exact(sandbox: Sandbox, database_url: str) -> None:
    """However many tabs ask at the same time, no more than the limit get a token."""
    how = {"turns": 3, "users": ["ada"], "starts": False}
    lines = run_all(jobs(sandbox, database_url, how, ANAM_CONCURRENT_SESSIONS=3))
    assert len(reported(lines, "minted")) == 3 == len(sandbox.ledger.mints)
    assert set(reported(lines, "refused")) == {"too_many_sessions"}


@pytest.mark.slow
def test_minutes_are_exact(sandbox: Sandbox, database_url: str) -> None:
    """The seconds that all sessions may last make the limit, and not one more."""
    how = {"turns": 3, "users": ["ada"], "starts": False}
    how["persona"] = {"maxSessionLengthSeconds": 37}
    lines = run_all(jobs(sandbox, database_url, how, ANAM_MINUTES_LIMIT="5 per year"))
    longest = [m.persona_config["maxSessionLengthSeconds"] for m in sandbox.ledger.mints]
    assert sorted(longest) == [300 - 8 * 37] + [37] * 8
    assert len(reported(lines, "minted")) == 9
    assert set(reported(lines, "refused")) == {"minutes_exhausted"}


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_it_has_acknowledged(
    sandbox: Sandbox, database_url: str
) -> None:
    """Every token, start and end that was answered is there after SIGKILL."""
    with Crew(jobs(sandbox, database_url, {"turns": 10_000})) as crew:
        crew.go()
        lines = [crew.line() for _ in range(120)]
        lines += crew.kill()
    records = stored(database_url)
    tokens = {record.token_id for record in records}
    begun = {record.session_id for record in records if record.started_at is not None}
    over = {record.session_id for record in records if record.ended_at is not None}
    assert set(reported(lines, "minted")) <= tokens
    assert set(reported(lines, "started")) <= begun
    assert set(reported(lines, "ended")) <= over
    assert len(tokens) >= 40
