"""Real databases, and an app on a sandbox whose time is moved by hand with the app's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from hosts import KEY_SENTINEL, TOKEN_PATH, User, client_of, make_app
from usage.servers import Postgres, programs

from flask_anam import FlaskAnam
from flask_anam.core.usage import database
from flask_anam.core.usage.database import Database
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.recorder import UsageRecorder
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.core.usage.store import SessionStore
from flask_anam.sandbox import Sandbox
from flask_anam.state import AnamState, get_state
from flask_anam.testing import ManualClock


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a busy machine time: how long a slow database may take is tested by itself."""
    for name in ("LOCK_WITHIN", "WRITE_WITHIN", "CONNECT_WITHIN"):
        monkeypatch.setattr(database, name, 60)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Yield a PostgreSQL."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with Postgres() as server:
        yield server


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


class World:
    """An app whose records go to one place, and short ways to act as its users and their tabs."""

    def __init__(self, sandbox: Sandbox, clock: ManualClock) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.made: list[UsageRecorder] = []
        self.http = requests.Session()

    def make(self, url: str, *users: User, **config: Any) -> World:
        """Set the app up."""
        self.anam = FlaskAnam(clock=self.clock)
        limits = {"ANAM_TOKEN_RATE_LIMIT": "9999 per hour", "ANAM_REQUEST_RATE_LIMIT": "9999/hour"}
        given = {"ANAM_USAGE_URL": url, **limits, **config}
        self.app: Flask = make_app(self.sandbox, *users, anam=self.anam, **given)
        self.made.append(self.recorder)
        return self

    @property
    def state(self) -> AnamState:
        """What is kept for the app."""
        return get_state(self.app)

    @property
    def recorder(self) -> UsageRecorder:
        """The usage recorder of the app."""
        return self.state.recorder

    def client(self, user: User) -> FlaskClient:
        """Return a client of a user."""
        return client_of(self.app, user)

    def ask(self, user: User, slot: str | None = None, **more: Any) -> Any:
        """Ask for a token; return the answer."""
        body = {**({"slot": slot} if slot else {}), **more}
        return self.client(user).post(TOKEN_PATH, json=body)

    def token(self, user: User, slot: str | None = None, **more: Any) -> dict[str, Any]:
        """Ask for a token that must come; return it."""
        answer = self.ask(user, slot, **more)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()
        return found

    def open(self, token: dict[str, Any]) -> str:
        """Start a session at the sandbox, as a browser does, without a report; return its id."""
        answer = self.http.post(
            f"{self.sandbox.url}/v1/engine/session",
            headers={"Authorization": f"Bearer {token['sessionToken']}"},
            json={},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["sessionId"])

    def report(self, user: User, token: dict[str, Any], session_id: str) -> None:
        """Report a start."""
        body = {"tokenId": token["tokenId"], "sessionId": session_id}
        assert self.client(user).post("/anam/sessions", json=body).status_code == 204

    def talk(self, user: User, slot: str | None = None, **more: Any) -> str:
        """Get a token, start a session with it, and report that; return its id."""
        token = self.token(user, slot, **more)
        session_id = self.open(token)
        self.report(user, token, session_id)
        return session_id

    def end(self, user: User, session_id: str) -> None:
        """Report an end."""
        path = f"/anam/sessions/{session_id}/end"
        assert self.client(user).post(path).status_code == 204

    def hang_up(self, session_id: str) -> None:
        """End a session at the sandbox, without a report."""
        self.sandbox_sessions.end(session_id, "NORMAL_EXIT", "hung up")

    @property
    def sandbox_sessions(self) -> Any:
        """The sessions of the sandbox's account."""
        return self.sandbox._account.sessions


@pytest.fixture
def timed_sandbox(clock: ManualClock) -> Iterator[Sandbox]:
    """Yield a sandbox that goes by the clock moved by hand."""
    with Sandbox(api_key=KEY_SENTINEL, clock=clock.time) as running:
        yield running


@pytest.fixture
def world(timed_sandbox: Sandbox, clock: ManualClock) -> Iterator[World]:
    """Yield what makes an app."""
    made = World(timed_sandbox, clock)
    yield made
    made.http.close()
    for recorder in made.made:
        recorder.close()


@pytest.fixture
def record(clock: ManualClock) -> Callable[..., Any]:
    """Return a maker of records of minted tokens."""
    from flask_anam.core.usage.records import SessionRecord

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
