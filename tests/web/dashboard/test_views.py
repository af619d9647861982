"""Access to the dashboard, invalid queries, a store that is down, and the number of queries."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from busy_day import Made, fill
from flask.testing import FlaskClient
from hosts import ADA, BOB, client_of
from sqlalchemy import event

from flask_anam.core.usage.database import Database
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.core.usage.store import SessionStore
from flask_anam.sandbox import Sandbox

from .pages import (
    BROWSER,
    PAGE,
    serve,
    shown,
)


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


@pytest.mark.slow
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
