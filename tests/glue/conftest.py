"""An app on the sandbox, and clients logged in to it."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, client_of, make_app

from flask_anam.sandbox import Sandbox


@pytest.fixture
def app(sandbox: Sandbox) -> Flask:
    """Return an app with the persona "support" and the users ada and bob."""
    return make_app(sandbox)


@pytest.fixture
def ada(app: Flask) -> FlaskClient:
    """Return a client logged in as ada."""
    return client_of(app, ADA)
