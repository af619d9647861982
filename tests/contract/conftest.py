"""Real backends of each kind, opened as an app opens them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.caches import MemcachedServer, RedisServer, file_url

from flask_anam.core.cache import backends
from flask_anam.core.cache.backends import Backend, open_backend
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.tokens.store import TokenStore
from flask_anam.testing import ManualClock

SECRET = b"contract secret"

#: Writes a content under a key in one form after another; yields after each.
Planter = Callable[[str, bytes], Iterator[None]]


@dataclass(frozen=True)
class Opened:
    """A backend under contract, and a way to write under a key behind its back."""

    kind: str
    url: str
    clock: ManualClock
    backend: Backend
    store: TokenStore
    plant: Planter | None

    def again(self, secret: bytes = SECRET) -> TokenStore:
        """Return a store as another process would open it."""
        return TokenStore(open_backend(self.url, self.clock), secret, self.clock)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a busy machine time: how long a slow cache may take is tested elsewhere."""
    monkeypatch.setattr(backends, "NETWORK_TIMEOUT", 10.0)


@pytest.fixture(params=["memory", "file", "redis", "memcached"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return each proven kind of cache that keeps anything, empty."""
    return _open(request.param, request, tmp_path)


@pytest.fixture(params=["file", "redis", "memcached"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return each proven kind of cache that processes share, empty."""
    return _open(request.param, request, tmp_path)


@pytest.fixture(params=["redis", "memcached"])
def adding(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return each proven kind of cache whose lease is an atomic "add", empty."""
    return _open(request.param, request, tmp_path)


def _open(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    url, plant = f"{kind}://", None
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url, plant = server.url, _in_redis(server)
        with server.client() as client:
            client.flushall()
    elif kind == "memcached":
        cached: MemcachedServer = request.getfixturevalue("memcached_server")
        url, plant = cached.url, _in_memcached(cached)
        cached.ask(b"flush_all\r\n")
    elif kind == "file":
        url, plant = file_url(tmp_path / "cache"), _in_file(tmp_path / "cache" / "tokens")
    clock = ManualClock(time.time())
    backend = open_backend(url, clock)
    return Opened(kind, url, clock, backend, TokenStore(backend, SECRET, clock), plant)


def _in_redis(server: RedisServer) -> Planter:
    def plant(key: str, content: bytes) -> Iterator[None]:
        with server.client() as client:
            for mark in (b"", b"!"):  # cachelib marks a pickle with "!"
                client.set(key, mark + content, ex=60)
                yield

    return plant


def _in_memcached(server: MemcachedServer) -> Planter:
    def plant(key: str, content: bytes) -> Iterator[None]:
        for flags in range(4):  # clients mark a pickle with 1
            head = f"set {key} {flags} 60 {len(content)}\r\n".encode()
            assert server.ask(head + content + b"\r\n") == b"STORED\r\n"
            yield

    return plant


def _in_file(folder: Path) -> Planter:
    def plant(key: str, content: bytes) -> Iterator[None]:
        ours = (path for path in folder.iterdir() if key.encode() in path.read_bytes())
        entry = next(ours)
        for expiry in (entry.read_bytes()[:4], b""):  # an entry begins with its expiry
            entry.write_bytes(expiry + content)
            yield

    return plant


@pytest.fixture
def keys() -> KeyHasher:
    """Return a maker of keys."""
    return KeyHasher(SECRET)
