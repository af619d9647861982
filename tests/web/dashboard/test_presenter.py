"""The dashboard shows the numbers of the store."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from busy_day import DAY, NOW, Made
from flask.testing import FlaskClient
from hosts import ADA, BOB, EVE, client_of, make_app

from flask_anam.core.usage.report import group_of
from flask_anam.core.usage.store import SessionStore
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

from .pages import (
    PAGE,
    bars,
    in_day,
    outcomes,
    record,
    serve,
    shown,
    table,
    tile,
)


@pytest.mark.slow
@pytest.mark.parametrize("persona", [None, "coach"])
def test_the_figures_are_those_of_the_store(
    ada: FlaskClient, day: Made, persona: str | None
) -> None:
    """Tokens by outcome, conversations, lengths, personas and codes, computed here once more."""
    page = shown(ada, f"persona={persona or ''}")
    records, counted = in_day(day, persona), outcomes(day, persona)
    groups: Counter[str] = Counter()
    for outcome, number in counted.items():
        groups[group_of(outcome)] += number
    for label in ("Minted", "Reused", "Refused", "Failed"):
        assert tile(page, label) == f"{groups[label.lower()]:,}"
    started = [entry for entry in records if entry.started_at is not None]
    durations = [entry.seconds for entry in started if entry.seconds is not None]
    assert len(started) > (4500 if persona is None else 500)
    assert tile(page, "Conversations") == f"{len(started):,}"
    assert tile(page, "Talked in all") == f"{sum(durations) / 3600:,.0f} h"
    running = sum(entry.is_running(NOW) for entry in records)
    assert tile(page, "Active now") == str(running)
    minutes, seconds = re.findall(r"(\d+) min (\d+) s", tile(page, "Median length"))[0]
    shown_median = int(minutes) * 60 + int(seconds)
    assert abs(shown_median - statistics.median(durations)) <= 60
    personas = Counter(entry.persona_type for entry in started)
    assert bars(page, "c-personas") == {name: f"{n:,}" for name, n in personas.most_common()}
    codes = {o: f"{n:,}" for o, n in counted.items() if group_of(o) in {"refused", "failed"}}
    assert bars(page, "c-refusals") == codes


def test_the_tables_behind_the_charts_add_up(ada: FlaskClient, day: Made) -> None:
    """Steps sum up to the tiles, for tokens, conversations and lengths."""
    page = shown(ada)
    tokens = table(page, "Tokens")
    assert len(tokens) == 24
    sums = [f"{sum(column):,}" for column in zip(*tokens.values(), strict=True)]
    assert sums == [tile(page, label) for label in ("Minted", "Reused", "Refused", "Failed")]
    sessions = sum(n for (n,) in table(page, "Conversations over time").values())
    assert tile(page, "Conversations") == f"{sessions:,}"
    durations = sum(n for (n,) in table(page, "How long they last").values())
    assert durations == sum(entry.seconds is not None for entry in in_day(day))


@pytest.mark.parametrize(
    ("query", "steps", "since"),
    [
        ("range=hour", 12, (NOW // 300 + 1) * 300 - 3600),
        ("range=week", 28, (NOW // 21600 + 1) * 21600 - 7 * DAY),
        ("range=month", 30, (NOW // DAY + 1) * DAY - 30 * DAY),
        ("since=2026-07-14T09:00&until=2026-07-14T12:00", 36, 1_784_019_600.0),
        ("range=hour&since=2026-07-14", 0, 1_783_987_200.0),
    ],
)
def test_ranges(ada: FlaskClient, day: Made, query: str, steps: int, since: float) -> None:
    """Each range holds its own records and no others, in steps of a sensible size."""
    page = shown(ada, query)
    until = since + 3 * 3600 if "until" in query else NOW + DAY
    started = [
        entry for entry in day.records if entry.started_at and since <= entry.minted_at < until
    ]
    assert tile(page, "Conversations") == f"{len(started):,}"
    rows = table(page, "Conversations over time")
    assert sum(n for (n,) in rows.values()) == len(started)
    assert not steps or len(rows) == steps


def test_filter_by_outcome(ada: FlaskClient, day: Made) -> None:
    """A group, or one error code; the figures of conversations stay."""
    counted = outcomes(day)
    page = shown(ada, "outcome=failed")
    failed = sum(n for o, n in counted.items() if group_of(o) == "failed")
    assert tile(page, "Failed") == f"{failed:,}"
    assert "<dt>Minted</dt>" not in page
    assert set(bars(page, "c-refusals")) == {o for o in counted if group_of(o) == "failed"}
    page = shown(ada, "outcome=anam_timeout")
    assert tile(page, "Failed") == f"{counted['anam_timeout']:,}"
    assert bars(page, "c-refusals") == {"anam_timeout": f"{counted['anam_timeout']:,}"}
    assert tile(page, "Conversations") == tile(shown(ada), "Conversations")


def test_who_is_close_to_a_limit(sandbox: Sandbox, busy: SessionStore, day: Made) -> None:
    """Minutes of the window that is on, whatever the range and persona, fullest first."""
    config = {"ANAM_MINUTES_LIMIT": "120 per day", "ANAM_CONCURRENT_SESSIONS": 3}
    client = client_of(serve(sandbox, busy, **config), ADA)
    midnight = NOW - NOW % DAY
    used: Counter[str] = Counter()
    talking: Counter[str] = Counter()
    for entry in day.records:
        assert entry.user_id
        if entry.minted_at >= midnight and entry.seconds:
            used[entry.user_id] += entry.seconds  # type: ignore[assignment]
        if entry.is_running(NOW):
            assert entry.started_at
            talking[entry.user_id] += 1
            used[entry.user_id] += NOW - entry.started_at  # type: ignore[assignment]
    shares = {user: max(used[user] / 7200, talking[user] / 3) for user in used}
    fullest = sorted(shares.values(), reverse=True)[:10]
    for query in ("", "range=hour&persona=coach"):
        rows = bars(shown(client, query), "c-limits")
        assert [*rows.values()] == [f"{round(share * 100):,} %" for share in fullest]
        for user, value in rows.items():
            assert value == f"{round(shares[user] * 100):,} %"
    assert "There is no limit yet" in shown(client_of(serve(sandbox, busy), ADA))


def test_an_empty_store_says_what_to_do(sandbox: Sandbox, empty: SessionStore) -> None:
    """No chart without data, and a hint for each."""
    client = client_of(serve(sandbox, empty), ADA)
    page = shown(client)
    assert 'class="chart"' not in page
    assert "press Start" in page
    assert tile(page, "Minted") == "0"
    assert client.get(f"{PAGE}.csv").text.count("\r\n") == 1
    empty.count({(int(NOW // 300 * 300), "support", "minted"): 3})
    assert "reports starts and ends by itself" in shown(client)
    page = shown(client, "outcome=failed")
    assert "all outcomes</a>" in page


def test_tokens_without_a_user(sandbox: Sandbox, empty: SessionStore) -> None:
    """They count, under a name that says so, and are near no limit."""
    empty.add(record(user_id=None))
    page = shown(client_of(serve(sandbox, empty, ANAM_MINUTES_LIMIT="5 per hour"), ADA))
    assert bars(page, "c-talkers") == {"without a user": "5 min"}
    assert bars(page, "c-limits") == {}


def test_the_page_says_whose_figures_these_are(sandbox: Sandbox, empty: SessionStore) -> None:
    """A store in memory knows one worker only."""
    page = shown(client_of(serve(sandbox, empty), ADA))
    assert ("This worker only, since its start" in page) is not empty.shared


@pytest.mark.parametrize("kind", ["memory", "sql"])
def test_from_the_first_token_to_the_page(sandbox: Sandbox, tmp_path: Path, kind: str) -> None:
    """What really happens on the routes is on the page at once, in the worker that saw it."""
    url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/usage.db"
    clock = ManualClock(NOW)
    app = make_app(
        sandbox,
        *(ADA, BOB, EVE),
        clock=clock,
        ANAM_DASHBOARD=True,
        ANAM_USAGE_URL=url,
        ANAM_TOKEN_RATE_LIMIT="2 per hour",
        ANAM_REQUEST_RATE_LIMIT="4 per hour",
    )
    ada, bob = client_of(app, ADA), client_of(app, BOB)

    def ask(client: FlaskClient, slot: str) -> Any:
        return client.post("/api/session-token", json={"slot": slot}).get_json()

    token = ask(ada, "a")
    assert ask(ada, "a")["tokenId"] == token["tokenId"]
    report = {"tokenId": token["tokenId"], "sessionId": "session-1"}
    assert ada.post("/anam/sessions", json=report).status_code == 204
    assert tile(shown(ada), "Active now") == "1"
    clock.move(90)
    assert ada.post("/anam/sessions/session-1/end").status_code == 204
    ask(ada, "b")
    assert ask(ada, "c")["code"] == "rate_limited"
    # Turned down before a token comes into question: not counted.
    assert ask(ada, "d")["code"] == "rate_limited"
    assert ask(client_of(app, EVE), "e")["code"] == "permission_denied"
    sandbox.fail_next(status=402)
    assert ask(bob, "d")["code"] == "anam_quota"
    page = shown(ada)
    numbers = {name: tile(page, name) for name in ("Minted", "Reused", "Refused", "Failed")}
    assert numbers == {"Minted": "2", "Reused": "1", "Refused": "1", "Failed": "1"}
    assert tile(page, "Conversations") == "1"
    assert tile(page, "Active now") == "0"
    assert tile(page, "Talked in all") == "2 min"
    assert bars(page, "c-talkers") == {"ada": "2 min"}
    assert bars(page, "c-refusals") == {"anam_quota": "1", "rate_limited": "1"}
    app.extensions["anam"].recorder.store.close()


def test_the_page_of_another_worker_shows_it_too(sandbox: Sandbox, tmp_path: Path) -> None:
    """Workers share a database, and so the figures."""
    config: dict[str, Any] = {
        "ANAM_DASHBOARD": True,
        "ANAM_USAGE_URL": f"sqlite:///{tmp_path}/usage.db",
    }
    first, second = (make_app(sandbox, clock=ManualClock(NOW), **config) for _ in range(2))
    client_of(first, BOB).post("/api/session-token", json={})
    first.extensions["anam"].recorder.flush()
    page = shown(client_of(second, ADA))
    assert tile(page, "Minted") == "1"
    assert "This worker only" not in page
    for app in (first, second):
        app.extensions["anam"].recorder.store.close()
