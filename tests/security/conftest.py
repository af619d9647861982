"""What the tests of security share: an app on the sandbox, as an attacker would find it."""

from __future__ import annotations

import pytest
from flask import Flask
from hosts import make_app

from flask_anam.sandbox import Sandbox


@pytest.fixture
def app(sandbox: Sandbox) -> Flask:
    """Return an app with the persona "support" and the users ada and bob."""
    return make_app(sandbox)
