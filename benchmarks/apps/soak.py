"""Flask-Anam as four workers on one Redis have it, with users whose tokens tell whose they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from flask import Flask, Response

from benchmarks.apps import host
from flask_anam import FlaskAnam

#: Personas whose config names the user, so that the ledger of the sandbox tells them apart.
OWN = ("coach", "guide", "tutor")
#: One that is the same for everybody, and one that nobody may talk to.
SHARED, FORBIDDEN = "support", "board"
#: Tokens of a user, more than a careful one needs. A year, so that no window ends meanwhile.
TOKEN_LIMIT = 60
#: Says when and in which worker; see `soak_judge.outages`.
LOG_FORMAT = "%(created).3f %(process)d %(levelname)s %(name)s: %(message)s"


def own_name(persona: str, user: str) -> str:
    """Return the name that a persona has for a user."""
    return f"{persona} of {user}"


def make_app() -> Flask:
    """Return the app."""
    logging.basicConfig(format=LOG_FORMAT, level=logging.WARNING)
    config = host.personas(1)["persona-0"]
    app = host.make_host()
    app.config.update(
        ANAM_API_KEY=os.environ["BENCH_KEY"],
        ANAM_BASE_URL=host.UPSTREAM,
        ANAM_PERSONAS={SHARED: {**config, "name": SHARED}},
        ANAM_CACHE=host.CACHE,
        ANAM_RATE_LIMIT_STORAGE_URI=host.LIMITS,
        ANAM_TOKEN_RATE_LIMIT=f"{TOKEN_LIMIT} per year",
        ANAM_REQUEST_RATE_LIMIT="100000 per year",
        ANAM_USAGE_URL=os.environ["BENCH_RECORDS"],
    )
    anam = FlaskAnam(app)
    for name in OWN:
        anam.persona(name)(_own_persona(name, config))
    anam.add_persona(FORBIDDEN, config, permission="board:talk")

    @app.get("/page")
    def page() -> str:
        return "A page of the host, which has nothing to do with personas."

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def _own_persona(name: str, config: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    return lambda user: {**config, "name": own_name(name, user.id)}
