"""Fixtures: a busy day and an empty store for the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from busy_day import Made, busy_days, fill
from flask.testing import FlaskClient
from hosts import ADA, client_of

from flask_anam.core.usage.database import Database
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.core.usage.store import SessionStore
from flask_anam.sandbox import Sandbox

from .pages import (
    open_store,
    serve,
)


@pytest.fixture(scope="session")
def day() -> Made:
    """Make up a day of 5,000 conversations."""
    return busy_days()


@pytest.fixture(scope="session", params=["memory", "sql", "postgresql"])
def busy(
    request: pytest.FixtureRequest, day: Made, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SessionStore]:
    """Give that day in a store; tests only read it."""
    if request.param == "postgresql":
        # How long a database may take is tested elsewhere, not on this machine's busy days.
        patience = "?connect_timeout=60&options=-c%20statement_timeout%3D0"
        url = request.getfixturevalue("postgres").database()
        store: SessionStore = SqlSessionStore(Database(url + patience))
    else:
        store = open_store(request.param, tmp_path_factory.mktemp("usage"))
    fill(store, day)
    yield store
    store.close()


@pytest.fixture(params=["memory", "sql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """Give an empty store of each kind."""
    store = open_store(request.param, tmp_path)
    yield store
    store.close()


@pytest.fixture
def ada(sandbox: Sandbox, busy: SessionStore) -> FlaskClient:
    """Give a client that may see the busy day."""
    return client_of(serve(sandbox, busy), ADA)
