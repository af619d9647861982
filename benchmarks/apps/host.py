"""What every Flask contender has: users, personas and a log-in with a cookie."""

from __future__ import annotations

import os
import uuid
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user

#: How many users and personas there are.
USERS = int(os.environ.get("BENCH_USERS", "1000"))
PERSONAS = int(os.environ.get("BENCH_PERSONAS", "1000"))
UPSTREAM = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1")
CACHE = os.environ.get("BENCH_CACHE", "memory://")
LIMITS = os.environ.get("BENCH_LIMITS", "memory://")
#: Where ours records sessions; nobody else does that.
RECORDS = os.environ.get("BENCH_RECORDS", "memory://")
#: High enough that nobody meets it: it is the counting that is measured.
LIMIT = "1000000 per hour"
PATH = "/api/session-token"


class User(UserMixin):  # type: ignore[misc]  # Flask-Login carries no types
    """A user as a host app would have it."""

    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.can_access_personas = True


def personas(count: int = PERSONAS) -> dict[str, dict[str, Any]]:
    """Return persona types and their configs; the ids are the same in every process."""
    return {
        f"persona-{number}": {
            "name": f"Persona {number}",
            "avatarId": str(uuid.UUID(int=3 * number + 1, version=4)),
            "voiceId": str(uuid.UUID(int=3 * number + 2, version=4)),
            "llmId": str(uuid.UUID(int=3 * number + 3, version=4)),
            "systemPrompt": "You are a helpful customer service representative.",
        }
        for number in range(count)
    }


def make_host(users: int = USERS) -> Flask:
    """Return an app whose users can log in with ``POST /login/<user id>``."""
    app = Flask("benchmarks")
    app.secret_key = "the same secret for every contender"
    known = {f"user-{number}": User(f"user-{number}") for number in range(users)}
    LoginManager(app).user_loader(known.get)

    @app.post("/login/<user_id>")
    def log_in(user_id: str) -> str:
        login_user(known[user_id])
        return "Welcome."

    return app
