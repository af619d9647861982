"""Pytest plugin of Flask-Anam: fixtures that run an app on a sandbox.

It is a module beside the package, since importing ``flask_anam`` imports Flask: a test run that
uses none of these fixtures does not pay for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

    from flask_anam.sandbox import Sandbox


@pytest.fixture
def anam_sandbox() -> Iterator[Sandbox]:
    """Yield a running sandbox; it is stopped at the end of the test.

    Example:
        >>> def test_key(anam_sandbox):
        ...     assert anam_sandbox.api_key.startswith("sandbox-")

    """
    from flask_anam.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def anam_config(anam_sandbox: Sandbox) -> dict[str, Any]:
    """Return the settings with which an app calls ``anam_sandbox``, for an app factory.

    Example:
        >>> def test_settings(anam_config):
        ...     assert create_app(anam_config).config["ANAM_CACHE"] == "memory://"

    """
    from flask_anam.testing import sandbox_config

    return sandbox_config(anam_sandbox)


@pytest.fixture
def anam_app(request: pytest.FixtureRequest, anam_sandbox: Sandbox) -> Iterator[Flask]:
    """Yield the app of your own fixture ``app``, which calls ``anam_sandbox`` in this test.

    Example:
        >>> def test_mint(anam_app, anam_sandbox):
        ...     with anam_app.app_context():
        ...         anam.create_token("support", user_id="7")
        ...     assert len(anam_sandbox.ledger.mints) == 1

    """
    from flask_anam.testing import on_sandbox

    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as exc:
        if exc.argname != "app":
            raise
        pytest.fail("anam_app needs a fixture named app that returns your Flask app.", False)
    with on_sandbox(app, anam_sandbox):
        yield app


@pytest.fixture
def login_as(anam_app: Flask) -> Callable[[Any], FlaskClient]:
    """Return a function that takes a user or a user id and returns a client logged in as that user.

    Example:
        >>> def test_talk(login_as):
        ...     assert login_as("7").post("/api/session-token", json={}).status_code == 200

    """
    from flask_anam.testing import log_in

    return lambda user: log_in(anam_app, user)
