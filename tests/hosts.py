"""Host apps and users for tests, as a Flask developer would write them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_login import FlaskLoginClient, LoginManager, UserMixin

from flask_anam import FlaskAnam
from flask_anam.core.clock import Clock
from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog

#: Secrets of the tests: no page, log, error or store may show them.
KEY = "sandbox-SENTINEL-api-key-9f2c"
PROMPT = "SENTINEL prompt: the launch code is 4711"

PERSONA: dict[str, Any] = {
    "name": "Alex",
    "avatarId": catalog.OTHER_AVATAR_ID,
    "voiceId": catalog.OTHER_VOICE_ID,
    "llmId": catalog.OTHER_LLM_ID,
    "systemPrompt": PROMPT,
}
#: Path at Anam that creates a token, and path of the app that hands it out.
MINT = "/v1/auth/session-token"
TOKEN_PATH = "/api/session-token"


class User(UserMixin):  # type: ignore[misc]  # Flask-Login carries no types
    """A user as a host app would have it."""

    def __init__(
        self, user_id: str, *, may_talk: bool = True, permissions: Iterable[str] = ()
    ) -> None:
        self.id = user_id
        self.can_access_personas = may_talk
        self.permissions = permissions


def make_host(*users: User, **config: Any) -> Flask:
    """Return an app with Flask-Login and these users, without Flask-Anam."""
    app = Flask("host")
    app.config.update(SECRET_KEY="host secret", ANAM_USAGE_URL="memory://")
    app.config.update(config)
    app.test_client_class = FlaskLoginClient
    known = {user.get_id(): user for user in users}
    LoginManager(app).user_loader(known.get)
    return app


def make_app(
    sandbox: Sandbox,
    *users: User,
    anam: FlaskAnam | None = None,
    clock: Clock | None = None,
    **config: Any,
) -> Flask:
    """Return an app on a sandbox with the persona "support"; keywords become configuration."""
    base = {
        "ANAM_API_KEY": sandbox.api_key,
        "ANAM_BASE_URL": sandbox.url,
        "ANAM_PERSONAS": {"support": PERSONA},
    }
    app = make_host(*(users or (ADA, BOB)), **{**base, **config})
    (anam or FlaskAnam(clock=clock)).init_app(app)
    return app


def mint_body(sandbox: Sandbox, request: int = -1) -> dict[str, Any]:
    """Return the body of a mint as the app made it, without our part of the client label."""
    body = {}
    for name, value in json.loads(sandbox.ledger.requests[request].raw_body).items():
        prefix, _, ours = str(value).rpartition(".")
        if name == "clientLabel":
            assert re.fullmatch("[0-9a-f]{32}", ours)
        if name != "clientLabel" or prefix != "flask-anam":
            body[name] = prefix if name == "clientLabel" else value
    return body


def client_of(app: Flask, user: User | None = None) -> FlaskClient:
    """Return a client of an app, logged in as a user or as nobody."""
    return app.test_client(user=user) if user else app.test_client()


ADA = User("ada", permissions=("anam:metrics", "reports:read"))
BOB = User("bob")
EVE = User("eve", may_talk=False)
