"""The pytest plugin of Flask-Anam.

It stands beside the package, not in it, since importing ``flask_anam`` imports Flask: a test run
that uses none of these fixtures pays nothing for them.
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
    """Give a running sandbox; stopped at the end of the test."""
    from flask_anam.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def anam_config(anam_sandbox: Sandbox) -> dict[str, Any]:
    """Give the settings that let an app run on ``anam_sandbox``, for an app factory."""
    from flask_anam.testing import sandbox_config

    return sandbox_config(anam_sandbox)


@pytest.fixture
def anam_app(request: pytest.FixtureRequest, anam_sandbox: Sandbox) -> Iterator[Flask]:
    """Give the app of your own fixture ``app``, which calls ``anam_sandbox`` in this test."""
    from flask_anam.testing import on_sandbox

    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as no:
        if no.argname != "app":
            raise
        pytest.fail("anam_app needs a fixture named app that returns your Flask app.", False)
    with on_sandbox(app, anam_sandbox):
        yield app


@pytest.fixture
def login_as(anam_app: Flask) -> Callable[[Any], FlaskClient]:
    """Give a function from a user, or a user's id, to a client in which that user is logged in."""
    from flask_anam.testing import log_in

    return lambda user: log_in(anam_app, user)
