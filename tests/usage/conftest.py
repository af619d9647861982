"""An app on a sandbox whose time is moved by hand with the app's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from hosts import KEY, TOKEN_PATH, User, client_of, make_app
from usage.stores import _patience, database_url, record, store, usage_url

from flask_anam import FlaskAnam
from flask_anam.core.usage.recorder import UsageRecorder
from flask_anam.sandbox import Sandbox
from flask_anam.state import AnamState, get_state
from flask_anam.testing import ManualClock

__all__ = ["_patience", "database_url", "record", "store", "usage_url"]


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
        token: dict[str, Any] = answer.get_json()
        return token

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
    with Sandbox(api_key=KEY, clock=clock.time) as running:
        yield running


@pytest.fixture
def world(timed_sandbox: Sandbox, clock: ManualClock) -> Iterator[World]:
    """Yield what makes an app."""
    made = World(timed_sandbox, clock)
    yield made
    made.http.close()
    for recorder in made.made:
        recorder.close()
