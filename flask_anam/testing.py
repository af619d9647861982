"""Helpers for the tests of apps that use Flask-Anam; most come as pytest fixtures.

The fixtures ``anam_sandbox``, ``anam_config``, ``anam_app`` and ``login_as`` are there as soon as
Flask-Anam is installed beside pytest; `flask_anam_pytest` declares them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from flask_anam.auth import Loaders, user_id_of
from flask_anam.core.clock import Clock
from flask_anam.core.config.api_keys import KeyRing
from flask_anam.core.metrics.recorder import MetricsRecorder
from flask_anam.rate_limits.storage import CounterStorage
from flask_anam.sandbox import Sandbox
from flask_anam.state import AnamState, get_state
from flask_anam.wiring import wire

if TYPE_CHECKING:
    from flask.testing import FlaskClient


_USER = "flask_anam.testing.user"


class ManualClock(Clock):
    """A clock that moves only when told to; sleeping moves it. Give it to ``FlaskAnam(clock=...)``.

    Args:
        now: Unix seconds to begin with.

    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def time(self) -> float:
        """Return the hand-set time."""
        return self.now

    def monotonic(self) -> float:
        """Return the same time: it never goes back here."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on without waiting."""
        self.slept.append(seconds)
        self.now += seconds

    def move(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds


def sandbox_config(sandbox: Sandbox) -> dict[str, Any]:
    """Return the settings that let an app run on a sandbox, and share nothing with other runs."""
    return {
        "ANAM_API_KEY": sandbox.api_key,
        "ANAM_BASE_URL": sandbox.url,
        "ANAM_SANDBOX": False,
        "ANAM_CACHE": "memory://",
        "ANAM_RATE_LIMIT_STORAGE_URI": "memory://",
        "ANAM_USAGE_URL": "memory://",
    }


@contextmanager
def on_sandbox(app: Flask, sandbox: Sandbox) -> Iterator[Flask]:
    """Let an app that is set up call a sandbox for a while, whatever its settings say.

    Stored tokens and used-up limits of before play no part. Personas, loaders and all other
    settings stay. Everything is as before at the end.

    Raises:
        ConfigError: Flask-Anam is not set up on the app.

    """
    state = get_state(app)
    app.extensions["anam"] = _under_test(state, sandbox)
    try:
        yield app
    finally:
        app.extensions["anam"] = state


def log_in(app: Flask, user: Any) -> FlaskClient:
    """Return a client of an app in which somebody is logged in.

    Args:
        app: the app; in `on_sandbox`, if it knows its users by an ``identity_loader``.
        user: a user object, or the id of one.

    Raises:
        TypeError: the app has an ``identity_loader``, and `user` is only an id.
        LookupError: the app has neither Flask-Login nor an ``identity_loader``.

    """
    client = app.test_client()
    own_loader = get_state(app).loaders.identity is not None
    is_id = isinstance(user, str | int)
    manager = getattr(app, "login_manager", None)
    if own_loader and is_id:
        raise TypeError("This app has an identity_loader: give login_as a user object, not an id.")
    if not own_loader and manager is None:
        raise LookupError("This app has neither Flask-Login nor an identity_loader.")
    if own_loader:
        client.environ_base[_USER] = user
    if manager is not None:
        with app.test_request_context(environ_base=client.environ_base):
            mark = manager._session_identifier_generator()  # noqa: SLF001 - session protection
        with client.session_transaction() as session:
            session["_user_id"] = str(user) if is_id else user_id_of(user)
            session["_fresh"] = True
            session["_id"] = mark
    return client


def _under_test(state: AnamState, sandbox: Sandbox) -> AnamState:
    """Return a state with new and empty parts, and what the app has declared."""
    settings = replace(
        state.settings,
        api_key=sandbox.api_key,
        base_url=sandbox.url,
        cache="memory://",
        rate_limit_storage_uri="memory://",
        usage_url="memory://",
    )
    return wire(
        state.app,
        settings,
        secret=secrets.token_bytes(32),
        clock=state.clock,
        metrics_recorder=MetricsRecorder(),
        registry=state.registry,
        loaders=_with_logged_in(state.loaders),
        app_keys=KeyRing(sandbox.api_key, "ANAM_API_KEY"),
        # Not the storage of the host's Limiter, which would remember other tests.
        counters=CounterStorage(None, settings, state.clock),
        sandbox=sandbox,
        one_key=True,
    )


def _with_logged_in(loaders: Loaders) -> Loaders:
    """Return loaders that know whom `log_in` has logged in, where the app has its own loader."""
    own = loaders.identity
    if own is None:
        return loaders

    def identity() -> Any:
        user = request.environ.get(_USER)
        return own() if user is None else user

    return replace(loaders, identity=identity)
