"""The dashboard says what the store says, to whom it may, and survives bad days."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from busy_day import DAY, NOW, PERSONAS, Made, busy_days, fill
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, BOB, EVE, PERSONA, client_of, make_app
from sqlalchemy import event
from usage.servers import Postgres, programs

from flask_anam import session_control
from flask_anam.core.usage.csv_export import lines
from flask_anam.core.usage.database import Database
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.records import SessionRecord
from flask_anam.core.usage.report import group_of
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.core.usage.store import SessionStore
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

PAGE = "/anam/dashboard"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
#: Where the 24 hours begin that the page shows at `NOW`: with a full hour.
SINCE = (NOW // 3600 + 1) * 3600 - DAY


@pytest.fixture(scope="module")
def day() -> Made:
    """Make up a day of 5,000 conversations."""
    return busy_days()


@pytest.fixture(scope="module", params=["memory", "sql", "postgresql"])
def busy(
    request: pytest.FixtureRequest, day: Made, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SessionStore]:
    """Give that day in a store; tests only read it."""
    with ExitStack() as open_ones:
        if request.param != "postgresql":
            store = open_store(request.param, tmp_path_factory.mktemp("usage"))
        elif programs() is None:
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        else:
            # How long a database may take is tested elsewhere, not on this machine's busy days.
            patience = "?connect_timeout=60&options=-c%20statement_timeout%3D0"
            server = open_ones.enter_context(Postgres())
            store = SqlSessionStore(Database(server.database() + patience))
        open_ones.callback(store.close)
        fill(store, day)
        yield store


@pytest.fixture(params=["memory", "sql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """Give an empty store of each kind."""
    store = open_store(request.param, tmp_path)
    yield store
    store.close()


def open_store(kind: str, folder: Path) -> SessionStore:
    """Return an empty store."""
    if kind == "memory":
        return MemorySessionStore()
    return SqlSessionStore(Database(f"sqlite:///{folder}/usage.db"))


def serve(sandbox: Sandbox, store: SessionStore, **config: Any) -> Flask:
    """Return an app with a dashboard on a store."""
    settings = {"ANAM_DASHBOARD": True, "ANAM_PERSONAS": dict.fromkeys(PERSONAS, PERSONA)}
    with patch.object(session_control, "_open_store", return_value=store):
        return make_app(sandbox, clock=ManualClock(NOW), **{**settings, **config})


@pytest.fixture
def ada(sandbox: Sandbox, busy: SessionStore) -> FlaskClient:
    """Give a client that may see the busy day."""
    return client_of(serve(sandbox, busy), ADA)


def shown(client: FlaskClient, query: str = "") -> str:
    """Return the page."""
    answer = client.get(f"{PAGE}?{query}", headers=BROWSER)
    assert answer.status_code == 200, answer.text
    return answer.text


def tile(page: str, label: str) -> str:
    """Return what a tile says."""
    (found,) = re.findall(rf"<dt>{label}</dt>\s*<dd class=\"figure\">(.*?)</dd>", page)
    return unescape(found)


def bars(page: str, heading: str) -> dict[str, str]:
    """Return name and value of each line of a list of bars."""
    _, _, card = page.partition(f'id="{heading}"')
    found = re.findall(
        r'class="name">(.*?)</span>\s*<span class="value">(.*?)</span>',
        card.partition("</section>")[0],
    )
    return {unescape(name): unescape(value) for name, value in found}


def table(page: str, name: str) -> dict[str, list[int]]:
    """Return the rows of the table behind a chart."""
    _, _, rest = page.partition(f'aria-label="{name}, as a table"')
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', rest.partition("</table>")[0])
    return {
        head: [int(n.replace(",", "")) for n in re.findall("<td>(.*?)</td>", cells)]
        for head, cells in rows
    }


def in_day(day: Made, persona: str | None = None) -> list[SessionRecord]:
    """Return the records that the page shows."""
    fits = [one for one in day.records if one.minted_at >= SINCE]
    return [one for one in fits if persona in {None, one.persona_type}]


def outcomes(day: Made, persona: str | None = None) -> Counter[str]:
    """Return how often each outcome came about in what the page shows."""
    sums: Counter[str] = Counter()
    for (start, of, outcome), number in day.counts.items():
        if start >= SINCE and persona in {None, of}:
            sums[outcome] += number
    return sums


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
    started = [one for one in records if one.started_at is not None]
    durations = [one.seconds for one in started if one.seconds is not None]
    assert len(started) > (4500 if persona is None else 500)
    assert tile(page, "Conversations") == f"{len(started):,}"
    assert tile(page, "Talked in all") == f"{sum(durations) / 3600:,.0f} h"
    running = sum(one.is_running(NOW) for one in records)
    assert tile(page, "Active now") == str(running)
    minutes, seconds = re.findall(r"(\d+) min (\d+) s", tile(page, "Median length"))[0]
    said = int(minutes) * 60 + int(seconds)
    assert abs(said - statistics.median(durations)) <= 60
    personas = Counter(one.persona_type for one in started)
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
    assert durations == sum(one.seconds is not None for one in in_day(day))


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
    started = [one for one in day.records if one.started_at and since <= one.minted_at < until]
    assert tile(page, "Conversations") == f"{len(started):,}"
    found = table(page, "Conversations over time")
    assert sum(n for (n,) in found.values()) == len(started)
    assert not steps or len(found) == steps


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
    for one in day.records:
        assert one.user_id
        if one.minted_at >= midnight and one.seconds:
            used[one.user_id] += one.seconds  # type: ignore[assignment]
        if one.is_running(NOW):
            assert one.started_at
            talking[one.user_id] += 1
            used[one.user_id] += NOW - one.started_at  # type: ignore[assignment]
    shares = {user: max(used[user] / 7200, talking[user] / 3) for user in used}
    fullest = sorted(shares.values(), reverse=True)[:10]
    for query in ("", "range=hour&persona=coach"):
        found = bars(shown(client, query), "c-limits")
        assert [*found.values()] == [f"{round(share * 100):,} %" for share in fullest]
        for user, value in found.items():
            assert value == f"{round(shares[user] * 100):,} %"
    assert "There is no limit yet" in shown(client_of(serve(sandbox, busy), ADA))


def test_who_may_see_it(sandbox: Sandbox, empty: SessionStore) -> None:
    """JSON 401 and 403 for programs, a sentence for browsers; the permission is anam:metrics."""
    app = serve(sandbox, empty)
    for path in (PAGE, f"{PAGE}.csv"):
        assert client_of(app).get(path).get_json()["code"] == "unauthenticated"
        assert client_of(app).get(path, headers=BROWSER).get_json()["code"] == "unauthenticated"
        refused = client_of(app, BOB).get(path)
        assert (refused.status_code, refused.get_json()["code"]) == (403, "permission_denied")
        refused = client_of(app, BOB).get(path, headers=BROWSER)
        assert refused.status_code == 403
        assert refused.mimetype == "text/html"
        assert "anam:metrics" in refused.text
        assert client_of(app, ADA).get(path).status_code == 200


def test_a_browser_is_led_to_the_login_page(sandbox: Sandbox, empty: SessionStore) -> None:
    """And back, where Flask-Login knows one; a program still gets its 401."""
    app = serve(sandbox, empty)
    app.add_url_rule("/login", "login", lambda: "Who are you?")
    app.login_manager.login_view = "login"  # type: ignore[attr-defined]
    answer = client_of(app).get(f"{PAGE}?range=week", headers=BROWSER)
    assert answer.status_code == 302
    assert answer.location == "/login?next=%2Fanam%2Fdashboard%3Frange%3Dweek"
    assert answer.headers["Cache-Control"] == "no-store"
    assert client_of(app).get(PAGE).status_code == 401


def test_a_host_may_answer_strangers_itself(sandbox: Sandbox, empty: SessionStore) -> None:
    """What its unauthorized_handler says stays as it is."""
    app = serve(sandbox, empty)
    app.login_manager.unauthorized_handler(  # type: ignore[attr-defined]
        lambda: ("<h1>Please ring the bell</h1>", 401)
    )
    answer = client_of(app).get(PAGE, headers=BROWSER)
    assert (answer.status_code, answer.text) == (401, "<h1>Please ring the bell</h1>")


def test_it_is_off_by_default(sandbox: Sandbox, empty: SessionStore) -> None:
    """Without ANAM_DASHBOARD there are no such routes."""
    client = client_of(serve(sandbox, empty, ANAM_DASHBOARD=False), ADA)
    for path in (PAGE, f"{PAGE}.csv"):
        assert client.get(path, headers=BROWSER).get_json()["code"] == "not_found"
    paths = client.get("/anam/openapi.json").get_json()["paths"]
    assert PAGE not in paths


def test_it_is_described_where_it_is_on(ada: FlaskClient) -> None:
    """Both routes are in the OpenAPI description."""
    paths = ada.get("/anam/openapi.json").get_json()["paths"]
    assert {PAGE, f"{PAGE}.csv"} <= set(paths)


def test_headers(ada: FlaskClient) -> None:
    """Nothing is stored, guessed, framed or loaded from elsewhere; nothing is inline."""
    answer = ada.get(PAGE, headers=BROWSER)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|https?://", answer.text)


def test_a_link_on_another_site_may_lead_here(ada: FlaskClient) -> None:
    """A page of another site may not read it, though."""
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", **BROWSER}
    assert ada.get(PAGE, headers=visit).status_code == 200
    script = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert ada.get(PAGE, headers=script).get_json()["code"] == "cross_site"


@pytest.mark.parametrize(
    ("query", "field", "word"),
    [
        ("range=fortnight", "range", "hour, day, week, month, custom"),
        ("range=custom", "since", "Say when it begins"),
        ("since=yesterday", "since", "2026-07-14T09:30"),
        ("since=2026-07-14&until=2026-07-13", "until", "after the beginning"),
        ("since=2020-01-01&until=2026-07-13", "since", "366 days"),
        ("since=0001-01-01T00:00", "since", "2026-07-14T09:30"),
        ("outcome=splendid", "outcome", "minted, reused, refused, failed"),
        (f"persona={'x' * 101}", "persona", "100 characters"),
        ("persona=a%00b", "persona", "none of them NUL"),
    ],
)
def test_a_bad_question_is_told_so(ada: FlaskClient, query: str, field: str, word: str) -> None:
    """A page for browsers and JSON for programs; both name the field and the cure."""
    for path in (PAGE, f"{PAGE}.csv"):
        page = ada.get(f"{path}?{query}", headers=BROWSER)
        assert (page.status_code, page.mimetype) == (422, "text/html")
        assert f"<code>{field}</code>" in page.text
        assert word in unescape(page.text)
        assert page.headers["Content-Security-Policy"]
        data = ada.get(f"{path}?{query}").get_json()
        assert data["code"] == "invalid_request"
        assert word in data["details"][field][0]


def test_the_sessions_as_csv(ada: FlaskClient, day: Made) -> None:
    """Every record of the range, newest first, however many pages the store needs."""
    answer = ada.get(f"{PAGE}.csv?persona=guide")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="anam-sessions-')
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    records = in_day(day, "guide")
    assert len(rows) == len(records) > 1000
    assert {row["token_id"] for row in rows} == {one.token_id for one in records}
    seconds = sum(float(row["seconds"]) for row in rows if row["seconds"])
    assert seconds == pytest.approx(sum(one.seconds or 0 for one in records))
    assert [row["minted_at"] for row in rows] == sorted(
        (r["minted_at"] for r in rows), reverse=True
    )
    states = Counter(row["state"] for row in rows)
    assert states == Counter(one.state(NOW) for one in records)


def test_the_counts_as_csv(ada: FlaskClient, day: Made) -> None:
    """What the chart of tokens shows, by persona and outcome."""
    rows = csv.DictReader(io.StringIO(ada.get(f"{PAGE}.csv?table=tokens").text))
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["outcome"]] += int(row["number"])
    assert sums == outcomes(day)
    wrong = ada.get(f"{PAGE}.csv?table=secrets")
    assert wrong.get_json()["details"] == {"table": ["Use one of sessions, tokens."]}


def record(**facts: Any) -> SessionRecord:
    """Return the record of a conversation that has ended."""
    usual = {
        "label": "l",
        "token_id": "t",
        "user_id": "u",
        "persona_type": "support",
        "minted_at": NOW - 600,
        "expires_at": NOW + 3000,
        "session_id": "s",
        "started_at": NOW - 590,
        "ended_at": NOW - 290,
        "seconds": 300.0,
        "source": "report",
    }
    return SessionRecord(**{**usual, **facts})


EVIL = '=HYPERLINK("//evil")<script>alert(1)</script>'


def test_names_are_text_and_never_more(sandbox: Sandbox, empty: SessionStore) -> None:
    """User ids and persona types can be anything: no markup on the page, no formula in the CSV."""
    empty.add(record(user_id=EVIL, persona_type='"><img src=x>'))
    empty.add(
        record(token_id="t2", session_id="s2", user_id="@SUM(1)", ended_at=None, seconds=None)
    )
    empty.count({(int(NOW // 300 * 300), '"><img src=x>', "<b>odd</b>"): 1})
    client = client_of(serve(sandbox, empty, ANAM_MINUTES_LIMIT="5 per hour"), ADA)
    page = shown(client)
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert bars(page, "c-talkers") == {EVIL: "5 min"}
    assert "@SUM(1)" in page
    rows = list(csv.DictReader(io.StringIO(client.get(f"{PAGE}.csv").text)))
    assert sorted(row["user_id"] for row in rows) == sorted(["'@SUM(1)", "'" + EVIL])


@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20")
@pytest.mark.parametrize("before", ["", "\t", "\r", "\n", "a;", "a\t", "a\n", "a|", "=;;"])
def test_no_part_of_a_cell_is_a_formula(before: str, sign: str) -> None:
    """Not even for a spreadsheet that cuts at semicolons, as those of much of Europe do."""
    (line,) = lines([["2026", f"{before}{sign}1+1", "x"]])
    for part in re.split("[;\t\r\n|]", line.replace('"', "")):
        assert not part.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    assert list(lines([["ada", "a b", "a;b", 5, -1.5, None]])) == ["ada,a b,a;b,5,-1.5,\r\n"]


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


def test_a_store_that_is_down(
    sandbox: Sandbox, free_port: int, logged: pytest.LogCaptureFixture
) -> None:
    """A page that says so with 503, JSON for programs, and no password in the log."""
    url = f"postgresql://anam:SENTINEL-password@127.0.0.1:{free_port}/usage"
    client = client_of(serve(sandbox, SqlSessionStore(Database(url))), ADA)
    for path in (PAGE, f"{PAGE}.csv"):
        page = client.get(path, headers=BROWSER)
        assert (page.status_code, page.mimetype) == (503, "text/html")
        assert "usage store does not answer" in page.text
        assert page.headers["Retry-After"] == "5"
        data = client.get(path).get_json()
        assert (data["code"], data["retryable"], data["retryAfter"]) == ("busy", True, 5)
    assert "The usage store cannot be read: OperationalError" in logged.text
    assert "SENTINEL-password" not in logged.text


def test_a_busy_day_costs_a_handful_of_queries(sandbox: Sandbox, day: Made, tmp_path: Path) -> None:
    """As many for 5,000 conversations as for none, and never one per record or user."""
    counts = []
    for number, made in enumerate((Made([], Counter()), day)):
        database = Database(f"sqlite:///{tmp_path}/{number}.db")
        store = SqlSessionStore(database)
        fill(store, made) if made.records else store.purge(0)
        asked: list[str] = []
        assert database._engine
        event.listen(
            database._engine,
            "before_cursor_execute",
            lambda *facts, asked=asked: asked.append(facts[2]),
        )
        client = client_of(serve(sandbox, store, ANAM_MINUTES_LIMIT="60 per day; 9 per hour"), ADA)
        shown(client, "range=month")
        counts.append(sum("FROM anam_" in statement for statement in asked))
        store.close()
    assert counts == [9, 9]


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
    found = {name: tile(page, name) for name in ("Minted", "Reused", "Refused", "Failed")}
    assert found == {"Minted": "2", "Reused": "1", "Refused": "1", "Failed": "1"}
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
    one, other = (make_app(sandbox, clock=ManualClock(NOW), **config) for _ in range(2))
    client_of(one, BOB).post("/api/session-token", json={})
    one.extensions["anam"].recorder.flush()
    page = shown(client_of(other, ADA))
    assert tile(page, "Minted") == "1"
    assert "This worker only" not in page
    for app in (one, other):
        app.extensions["anam"].recorder.store.close()
