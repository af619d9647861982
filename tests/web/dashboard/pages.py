"""Helpers: an app with a dashboard on a store, and what its page shows."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import patch

from busy_day import DAY, NOW, PERSONAS, Made
from flask import Flask
from flask.testing import FlaskClient
from hosts import PERSONA, make_app

from flask_anam import session_control
from flask_anam.core.usage.database import Database
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.records import SessionRecord
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.core.usage.store import SessionStore
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

PAGE = "/anam/dashboard"

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

#: Where the 24 hours begin that the page shows at `NOW`: with a full hour.
SINCE = (NOW // 3600 + 1) * 3600 - DAY


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


def shown(client: FlaskClient, query: str = "") -> str:
    """Return the page."""
    answer = client.get(f"{PAGE}?{query}", headers=BROWSER)
    assert answer.status_code == 200, answer.text
    return answer.text


def tile(page: str, label: str) -> str:
    """Return what a tile says."""
    (text,) = re.findall(rf"<dt>{label}</dt>\s*<dd class=\"figure\">(.*?)</dd>", page)
    return unescape(text)


def bars(page: str, heading: str) -> dict[str, str]:
    """Return name and value of each line of a list of bars."""
    _, _, card = page.partition(f'id="{heading}"')
    rows = re.findall(
        r'class="name">(.*?)</span>\s*<span class="value">(.*?)</span>',
        card.partition("</section>")[0],
    )
    return {unescape(name): unescape(value) for name, value in rows}


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
    fits = [record for record in day.records if record.minted_at >= SINCE]
    return [record for record in fits if persona in {None, record.persona_type}]


def outcomes(day: Made, persona: str | None = None) -> Counter[str]:
    """Return how often each outcome came about in what the page shows."""
    sums: Counter[str] = Counter()
    for (start, of, outcome), number in day.counts.items():
        if start >= SINCE and persona in {None, of}:
            sums[outcome] += number
    return sums


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
