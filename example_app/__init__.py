"""An example app: log in, choose a persona, talk.

Without ``ANAM_API_KEY`` in the environment it runs on the sandbox; with it, on Anam.
Start it with ``python -m example_app``, ``flask --app example_app run`` or
``gunicorn "example_app:create_app()"``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask

from example_app.pages import add_pages
from example_app.personas import SUPPORT, anam
from example_app.sdk import add_sdk
from example_app.security import add_security, stored_secret_key
from example_app.users import add_login


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the app; `config` wins over what the environment says."""
    app = Flask(__name__)
    app.config.update(
        ANAM_API_KEY=os.environ.get("ANAM_API_KEY"),
        ANAM_SANDBOX=not os.environ.get("ANAM_API_KEY"),
        ANAM_PERSONAS={"support": SUPPORT},
        ANAM_TOKEN_RATE_LIMIT="60 per hour",  # more than the default: people try things out
        ANAM_DASHBOARD=True,
        SECRET_KEY=os.environ.get("SECRET_KEY"),
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.config.update(config or {})
    app.secret_key = app.secret_key or stored_secret_key(app)

    add_login(app)
    anam.init_app(app)
    add_sdk(app)
    add_pages(app)
    add_security(app)
    return app
