"""Test helpers for apps that use Flask-Anam; most are pytest fixtures too.

The plugin `flask_anam_pytest` has the fixtures ``anam_sandbox``, ``anam_config``, ``anam_app`` and
``login_as``; pytest loads it when Flask-Anam is installed.
"""

from __future__ import annotations

import secrets
import threading
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


__all__ = ["ManualClock", "log_in", "on_sandbox", "sandbox_config"]

#: Key of the logged-in user in the WSGI environment.
_USER = "flask_anam.testing.user"


class ManualClock(Clock):
    """Fake clock that stands still until a test moves it; pass it to ``FlaskAnam(clock=...)``.

    Thread-safe.

    Attributes:
        now: the present time in Unix seconds; an assignment moves both clocks, as `move` does.
        slept: the waits so far, in seconds.

    Args:
        now: the first time in Unix seconds.

    Example:
        >>> clock = ManualClock()
        >>> anam = FlaskAnam(clock=clock)
        >>> clock.move(3600)  # an hour later, its tokens have expired

    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []
        self._jumped = 0.0
        self._lock = threading.Lock()

    def time(self) -> float:
        """Return the present time in Unix seconds.

        Example:
            >>> ManualClock(now=1_800_000_000).time()
            1800000000

        """
        return self.now

    def monotonic(self) -> float:
        """Return the same time in seconds, for durations; `jump` does not change it.

        Example:
            >>> clock.monotonic() == clock.time()
            True

        """
        with self._lock:
            return self.now - self._jumped

    def sleep(self, seconds: float) -> None:
        """Move the clock on, without waiting, and record the wait.

        Example:
            >>> clock.sleep(2.5)
            >>> clock.slept
            [2.5]

        """
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds

    def move(self, seconds: float) -> None:
        """Move the clock by some seconds.

        Example:
            >>> clock = ManualClock(now=1_800_000_000)
            >>> clock.move(60)
            >>> clock.time()
            1800000060

        """
        with self._lock:
            self.now += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock alone, forward or back, as NTP does.

        Example:
            >>> clock = ManualClock(now=1_800_000_000)
            >>> clock.jump(-3600)
            >>> clock.monotonic() - clock.time()
            3600.0

        """
        with self._lock:
            self.now += seconds
            self._jumped += seconds


def sandbox_config(sandbox: Sandbox) -> dict[str, Any]:
    """Return settings (dict) with which an app calls a sandbox and shares nothing with other apps.

    Example:
        >>> shop = Flask("shop")
        >>> shop.config.update(sandbox_config(sandbox), SECRET_KEY="change me")

    """
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
    """Let an app call a sandbox inside a ``with`` block, whatever its settings are.

    Personas, loaders and all other settings stay; stored tokens and limits start empty. The end of
    the block restores everything. Not thread-safe: one block at a time for each app.

    Raises:
        ConfigError: Flask-Anam is not set up on the app.

    Example:
        >>> with on_sandbox(app, sandbox):
        ...     client = log_in(app, "ada")
        ...     client.post("/api/session-token", json={}).status_code
        200

    """
    state = get_state(app)
    app.extensions["anam"] = _under_test(state, sandbox)
    try:
        yield app
    finally:
        app.extensions["anam"] = state


def log_in(app: Flask, user: Any) -> FlaskClient:
    """Return a test client of an app in which a user is logged in.

    Args:
        app: the app; inside `on_sandbox`, if it has an ``identity_loader``.
        user: a user object or, with Flask-Login, a user id (str or int).

    Raises:
        TypeError: the app has an ``identity_loader``, and `user` is an id.
        LookupError: the app has neither Flask-Login nor an ``identity_loader``.

    Example:
        >>> log_in(app, user).get("/anam/personas").status_code
        200

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
