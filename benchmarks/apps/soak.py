"""Flask-Anam as four workers on one Redis have it, with users whose tokens tell whose they are."""

from __future__ import annotations

import logging
import os
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

from flask import Flask, Response

from benchmarks.apps import host
from flask_anam import FlaskAnam
from flask_anam.core.memory_sessions import MAX_RECORDS
from flask_anam.core.session_records import SessionRecord
from flask_anam.state import get_state

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
    )
    anam = FlaskAnam(app)
    for name in OWN:
        anam.persona(name)(_own_persona(name, config))
    anam.add_persona(FORBIDDEN, config, permission="board:talk")
    _fill_records(app)

    @app.get("/page")
    def page() -> str:
        return "A page of the host, which has nothing to do with personas."

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def _fill_records(app: Flask) -> None:
    """Fill the session records, of which a worker keeps so many, as after days of work.

    Then memory that grows is memory that would grow for ever.
    """
    with app.app_context():
        store = get_state().books.store
        for number in range(MAX_RECORDS):
            store.add(
                SessionRecord(
                    label=f"soak-{uuid.uuid4()}",
                    token_id=secrets.token_urlsafe(12),
                    user_id=f"earlier-{number}",
                    persona_type=SHARED,
                    slot=secrets.token_urlsafe(24),
                    minted_at=time.time(),
                    expires_at=time.time() + 3600,
                )
            )


def _own_persona(name: str, config: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    return lambda user: {**config, "name": own_name(name, user.id)}
