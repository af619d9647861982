"""Servers that every test may use, and the shapes of the storms."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.caches import MemcachedServer, RedisServer, file_url

from flask_anam.sandbox import Sandbox


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Return the URL of an empty Redis."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def memcached_url(memcached_server: MemcachedServer) -> str:
    """Return the URL of an empty Memcached."""
    memcached_server.ask(b"flush_all\r\n")
    return memcached_server.url


@pytest.fixture
def cache_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty cache of the kind that the test is parametrized with."""
    kind: str = request.param
    if kind in {"redis", "memcached"}:
        return str(request.getfixturevalue(f"{kind}_url"))
    return file_url(tmp_path / "cache") if kind == "file" else f"{kind}://"


@pytest.fixture
def slow_sandbox() -> Iterator[Sandbox]:
    """Yield a sandbox that takes 0.15 s for each answer."""
    with Sandbox(latency=0.15) as running:
        yield running


@pytest.fixture
def soak() -> bool:
    """Whether the storms run in their full size on every store: ``make soak`` asks for it."""
    return bool(os.environ.get("ANAM_SOAK"))


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let one storm at a time use the processors, whatever other test workers do."""
    with (tmp_path_factory.getbasetemp().parent / "storm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
