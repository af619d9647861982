"""Flask-Anam with its defaults, except limits that nobody meets."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from benchmarks.apps import host
from flask_anam import FlaskAnam


def make_app(
    users: int = host.USERS, personas: int = host.PERSONAS, cache: Any = host.CACHE
) -> Flask:
    """Return the app."""
    app = host.make_host(users)
    app.config.update(
        ANAM_API_KEY="benchmark-key",
        ANAM_BASE_URL=host.UPSTREAM,
        ANAM_PERSONAS=host.personas(personas),
        ANAM_CACHE=cache,
        ANAM_RATE_LIMIT_STORAGE_URI=host.LIMITS,
        ANAM_USAGE_URL=host.RECORDS,
        ANAM_TOKEN_RATE_LIMIT=host.LIMIT,
        ANAM_REQUEST_RATE_LIMIT=host.LIMIT,
        # A burst of different users needs as many calls under way as there are threads.
        ANAM_MAX_IN_FLIGHT=int(os.environ.get("BENCH_THREADS", "32")),
    )
    FlaskAnam(app)
    return app
