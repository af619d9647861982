"""An app as a server loads it: the user comes in a header, settings from the environment."""

from __future__ import annotations

import os

from flask import Flask, request
from hosts import PERSONA, User

from flask_anam import FlaskAnam

app = Flask("host")
app.config.update(
    SECRET_KEY="host secret",
    ANAM_API_KEY=os.environ["HOST_API_KEY"],
    ANAM_BASE_URL=os.environ["HOST_UPSTREAM"],
    ANAM_MAX_IN_FLIGHT=4,
    ANAM_USAGE_URL="memory://",
    ANAM_PERSONAS={"support": PERSONA},
)
anam = FlaskAnam()


@anam.identity_loader
def who() -> User | None:
    """Believe a header, as behind a proxy that logs users in."""
    name = request.headers.get("X-User")
    return User(name) if name else None


anam.init_app(app)


@app.get("/ping")
def ping() -> str:
    """Answer a health check."""
    return "pong"
