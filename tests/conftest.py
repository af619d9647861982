"""What all tests share."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

# A busy machine is slow now and then, which is no failure.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock moved by hand."""
    return ManualClock()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Yield a running sandbox with a key that can be searched for."""
    with Sandbox(api_key="sandbox-SENTINEL-api-key-9f2c") as running:
        yield running


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Capture everything that any logger says, down to DEBUG."""
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.fixture
def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
