"""Cache servers of the tests of hostile backends, on free loopback ports."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from flask_anam.core.backends import Backend, open_backend
from flask_anam.core.clock import Clock


class FrozenClock(Clock):
    """A clock that starts at the real time, for servers expire by theirs, and stands still."""

    def __init__(self) -> None:
        self.now = time.time()
        self.uptime = 1000.0

    def time(self) -> float:
        """Return the wall clock."""
        return self.now

    def monotonic(self) -> float:
        """Return the clock that never jumps."""
        return self.uptime

    def move(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
        self.uptime += seconds


@dataclass
class Server:
    """A cache server of our own: it can be stopped, and started again on the same port."""

    scheme: str
    command: Callable[[int], list[str]]
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Return the value for ANAM_CACHE."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.port = self.port or free_port()
        self.process = subprocess.Popen(
            self.command(self.port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, f"{self.scheme} did not start"
                time.sleep(0.02)

    def stop(self) -> None:
        """End this very process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run redis-server, keeping nothing on disk."""
    folder = str(tmp_path_factory.mktemp("redis"))
    options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", folder]
    server = Server("redis", lambda port: ["redis-server", "--port", str(port), *options])
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Server]:
    """Run memcached without UDP."""
    server = Server(
        "memcached",
        lambda port: ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"],
    )
    server.start()
    yield server
    server.stop()


Opener = Callable[[str], Backend]


@pytest.fixture
def opened(clock: FrozenClock) -> Iterator[Opener]:
    """Open backends as an app would; their connections are closed after the test."""
    backends: list[Backend] = []

    def opener(url: str) -> Backend:
        backends.append(open_backend(url, clock))
        return backends[-1]

    yield opener
    for backend in backends:
        cache = backend.cache
        client = getattr(cache, "_write_client", None) or getattr(cache, "_client", None)
        if client is not None:
            client.close()


@pytest.fixture
def clock() -> FrozenClock:
    """Return a clock moved by hand."""
    return FrozenClock()
