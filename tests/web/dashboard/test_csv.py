"""CSV export of the dashboard: complete, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest
from busy_day import NOW, Made
from flask.testing import FlaskClient
from hosts import ADA, client_of

from flask_anam.core.usage.store import SessionStore
from flask_anam.sandbox import Sandbox

from .pages import (
    PAGE,
    bars,
    in_day,
    outcomes,
    record,
    serve,
    shown,
)


def test_the_sessions_as_csv(ada: FlaskClient, day: Made) -> None:
    """Every record of the range, newest first, however many pages the store needs."""
    answer = ada.get(f"{PAGE}.csv?persona=guide")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="anam-sessions-')
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    records = in_day(day, "guide")
    assert len(rows) == len(records) > 1000
    assert {row["token_id"] for row in rows} == {record.token_id for record in records}
    seconds = sum(float(row["seconds"]) for row in rows if row["seconds"])
    assert seconds == pytest.approx(sum(record.seconds or 0 for record in records))
    assert [row["minted_at"] for row in rows] == sorted(
        (r["minted_at"] for r in rows), reverse=True
    )
    states = Counter(row["state"] for row in rows)
    assert states == Counter(record.state(NOW) for record in records)


def test_the_counts_as_csv(ada: FlaskClient, day: Made) -> None:
    """What the chart of tokens shows, by persona and outcome."""
    rows = csv.DictReader(io.StringIO(ada.get(f"{PAGE}.csv?table=tokens").text))
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["outcome"]] += int(row["number"])
    assert sums == outcomes(day)
    wrong = ada.get(f"{PAGE}.csv?table=secrets")
    assert wrong.get_json()["details"] == {"table": ["Use one of sessions, tokens."]}


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
