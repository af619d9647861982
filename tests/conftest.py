"""What all tests share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, KEY, client_of, make_app
from hypothesis import HealthCheck, settings
from servers import caches
from servers.caches import MemcachedServer, RedisServer
from werkzeug.datastructures import ImmutableDict

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

if TYPE_CHECKING:
    from servers.postgres import Postgres

# No test writes into an instance folder: an app that names no place records in memory.
Flask.default_config = ImmutableDict({**Flask.default_config, "ANAM_USAGE_URL": "memory://"})
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
    with Sandbox(api_key=KEY) as running:
        yield running


@pytest.fixture
def app(sandbox: Sandbox) -> Flask:
    """Return an app with the persona "support" and the users ada and bob."""
    return make_app(sandbox)


@pytest.fixture
def ada(app: Flask) -> FlaskClient:
    """Return a client logged in as ada."""
    return client_of(app, ADA)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Yield a Redis that no test may harm."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Yield a PostgreSQL."""
    from servers.postgres import Postgres, programs

    if programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[MemcachedServer]:
    """Yield a Memcached that no test may harm."""
    with MemcachedServer() as server:
        yield server


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Start sandboxes with the given settings; all are stopped after the test."""
    started: list[Sandbox] = []

    def make(**settings: Any) -> Sandbox:
        started.append(Sandbox(**settings).start())
        return started[-1]

    yield make
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Capture everything that any logger says, down to DEBUG."""
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.fixture
def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    return caches.free_port()
