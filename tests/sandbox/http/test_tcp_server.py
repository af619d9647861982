"""TCP server: a thread for each connection, and the end of all of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from flask_anam.sandbox.http.tcp_server import TcpServer


@pytest.fixture
def server() -> Iterator[TcpServer]:
    """Give a server on a free port that is stopped after the test."""
    running = TcpServer("127.0.0.1", 0)
    yield running
    running.stop()


def _echo_number(connection: socket.socket, number: int, stopping: threading.Event) -> None:
    connection.sendall(b"%d" % number)
    stopping.wait()


def _connect(server: TcpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def test_connections_are_numbered_from_one(server: TcpServer) -> None:
    """Each has a thread of its own: all are served at the same time."""
    server.start(_echo_number)
    server.start(_echo_number)  # idempotent
    connections = [_connect(server) for _ in range(3)]
    assert {connection.recv(10) for connection in connections} == {b"1", b"2", b"3"}
    for connection in connections:
        connection.close()


def test_stop_sets_the_event_and_closes_everything(server: TcpServer) -> None:
    """Clients see the end of the connection, and the server cannot be started again."""
    server.start(_echo_number)
    with _connect(server) as connection:
        assert connection.recv(10) == b"1"
        assert (server.running, server.closed) == (True, False)
        server.stop()
        server.stop()
        assert connection.recv(10) == b""
    assert (server.running, server.closed) == (False, True)
    server.start(_echo_number)
    assert not server.running


def test_a_broken_connection_does_not_end_the_server(server: TcpServer) -> None:
    """An OSError of one connection is dropped; the next one is served."""

    def fail_once(connection: socket.socket, number: int, _: threading.Event) -> None:
        if number == 1:
            raise ConnectionResetError
        connection.sendall(b"served")

    server.start(fail_once)
    with _connect(server) as first, _connect(server) as second:
        assert first.recv(10) == b""
        assert second.recv(10) == b"served"


def test_an_ipv6_address_is_bound() -> None:
    """A colon in the host means IPv6."""
    try:
        server = TcpServer("::1", 0)
    except OSError as exc:
        pytest.skip(f"no IPv6 here: {exc}")
    assert server.port > 0
    server.stop()
