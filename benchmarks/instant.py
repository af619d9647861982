"""Flask-Anam with an Anam that answers at once: what Anam does is not what is measured."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask

from benchmarks.apps import ours
from benchmarks.upstream import make_token
from flask_anam.core.tokens.token import SessionToken


class InstantAnam:
    """Takes the place of the client."""

    def mint(self, *_: object, **__: object) -> tuple[SessionToken, int]:
        """Return a new token at once."""
        now = time.time()
        token = SessionToken(value=make_token(), minted_at=now, expires_at=now + 3600)
        return token, 1


def make_app(users: int, personas: int, cache: Any = "memory://") -> Flask:
    """Return our contender with an Anam that answers at once."""
    app = ours.make_app(users, personas, cache)
    app.extensions["anam"].manager._client = InstantAnam()  # noqa: SLF001 - see above
    return app
