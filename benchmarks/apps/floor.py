"""The floor: a view with nothing but Flask-Login, and a constant answer of the usual size."""

from __future__ import annotations

import time

from flask import Flask, Response, jsonify
from flask_login import login_required

from benchmarks.apps.host import PATH, USERS, make_host
from benchmarks.upstream import make_token


def make_app(users: int = USERS) -> Flask:
    """Return the app."""
    app = make_host(users)
    answer = {
        "sessionToken": make_token(),
        "tokenId": "0123456789abcdef",
        "personaType": "persona-0",
        "expiresAt": int(time.time()) + 3600,
        "expiresIn": 3599,
    }

    @app.post(PATH)
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login carries no types
    def token() -> Response:
        return jsonify(answer)

    return app
