"""Fixtures: session stores of each kind, on real databases; and records to put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.postgres import Postgres

from flask_anam.core.usage import database
from flask_anam.core.usage.database import Database
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.records import SessionRecord
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.core.usage.store import SessionStore
from flask_anam.testing import ManualClock


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a busy machine time: how long a slow database may take is tested by itself."""
    for name in ("LOCK_WITHIN", "WRITE_WITHIN", "CONNECT_WITHIN"):
        monkeypatch.setattr(database, name, 60)


def url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of an empty place of a kind."""
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.database()
    return {"memory": "memory://", "sqlite": f"sqlite:///{folder}/usage.sqlite"}[kind]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of each proven kind of database, empty."""
    return url_of(request.param, request, tmp_path)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def usage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of each kind of place for records, empty."""
    return url_of(request.param, request, tmp_path)


def open_store(url: str) -> SessionStore:
    """Return the store of a URL."""
    return MemorySessionStore() if url == "memory://" else SqlSessionStore(Database(url))


@pytest.fixture
def store(usage_url: str) -> Iterator[SessionStore]:
    """Yield each kind of store, empty."""
    opened = open_store(usage_url)
    yield opened
    opened.close()


@pytest.fixture
def record(clock: ManualClock) -> Callable[..., Any]:
    """Return a maker of records of minted tokens."""

    def make(name: str, **facts: Any) -> SessionRecord:
        base = {
            "label": f"flask-anam.{name}",
            "token_id": name,
            "user_id": "ada",
            "persona_type": "support",
            "minted_at": clock.now,
            "expires_at": clock.now + 3600,
        }
        return SessionRecord(**{**base, **facts})

    return make
