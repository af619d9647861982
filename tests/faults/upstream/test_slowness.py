"""An upstream that takes its time: every wait ends where the settings say."""

from __future__ import annotations

import gzip
import socket
import time
from typing import Any

import pytest
from faults.upstream.asking import app_at, ask, mints_of
from faults.upstream.servers import (
    RawServer,
    black_hole,
    minted,
    mints,
    read_request,
    response,
    stays_silent,
)
from hosts import make_app

from flask_anam.sandbox import Sandbox

#: Seconds of real time that a busy machine may add to any of these.
SLACK = 4.0


@pytest.mark.slow
def test_row_04_a_syn_black_hole_costs_the_connect_timeout_per_attempt() -> None:
    """Three attempts, three connect timeouts, and backoff between them."""
    with black_hole() as port:
        asked = ask(app_at(f"http://127.0.0.1:{port}", ANAM_CONNECT_TIMEOUT=0.3))
    assert (asked.status, asked.code) == (504, "anam_timeout")
    assert 0.9 <= asked.seconds <= 0.9 + 0.75 + SLACK


def test_row_04_the_deadline_ends_an_attempt_to_connect() -> None:
    """Whatever the timeout of one attempt is, the request ends at its deadline."""
    with black_hole() as port:
        url = f"http://127.0.0.1:{port}"
        asked = ask(app_at(url, ANAM_CONNECT_TIMEOUT=20, ANAM_DEADLINE=1))
    assert (asked.status, asked.code) == (504, "anam_timeout")
    assert 1.0 <= asked.seconds <= 1.0 + SLACK


def test_row_05_silence_costs_the_read_timeout_per_attempt() -> None:
    """If a server accepts and sends nothing, three connections are opened and aborted."""
    with RawServer(stays_silent) as server:
        asked = ask(app_at(server.url, ANAM_READ_TIMEOUT=0.3))
    assert (asked.status, asked.code, server.connections) == (504, "anam_timeout", 3)
    assert 0.9 <= asked.seconds <= 0.9 + 0.75 + SLACK


def test_row_05_the_deadline_ends_the_wait_for_an_answer() -> None:
    """There is no second attempt if no time is left for it."""
    with RawServer(stays_silent) as server:
        asked = ask(app_at(server.url, ANAM_READ_TIMEOUT=20, ANAM_DEADLINE=1))
    assert (asked.status, server.connections) == (504, 1)
    assert 1.0 <= asked.seconds <= 1.0 + SLACK


CUT_AT = pytest.mark.parametrize(
    ("settings", "limit"),
    [({"ANAM_READ_TIMEOUT": 0.4}, 0.4), ({"ANAM_READ_TIMEOUT": 20, "ANAM_DEADLINE": 1}, 1.0)],
    ids=["read timeout", "deadline"],
)


@CUT_AT
def test_row_08_a_dripping_body_is_cut_in_time(
    sandbox: Sandbox, settings: dict[str, Any], limit: float
) -> None:
    """An answer that drips byte by byte is aborted; its connection is not used again."""
    sandbox.fail_next(200, drip=0.1)
    _is_cut(sandbox, settings, limit)


@CUT_AT
def test_row_09_dripping_headers_are_cut_in_time(
    sandbox: Sandbox, settings: dict[str, Any], limit: float
) -> None:
    """The same when the status line and headers come byte by byte."""
    sandbox.fail_next(200, drip_headers=0.1)
    _is_cut(sandbox, settings, limit)


def _is_cut(sandbox: Sandbox, settings: dict[str, Any], limit: float) -> None:
    app = make_app(sandbox, ANAM_MAX_ATTEMPTS=1, **settings)
    asked = ask(app)
    assert (asked.status, asked.code) == (504, "anam_timeout")
    assert limit <= asked.seconds <= limit + SLACK
    assert ask(app).status == 200
    assert [record.connection for record in sandbox.ledger.requests] == [1, 2]


@pytest.mark.slow
def test_row_10_a_tls_handshake_that_stalls_is_cut_in_time() -> None:
    """The port is open, but does not speak TLS: it takes one connect timeout, not longer."""
    with RawServer(stays_silent) as server:
        url = server.url.replace("http://", "https://")
        app = app_at(url, ANAM_CONNECT_TIMEOUT=0.4, ANAM_MAX_ATTEMPTS=2)
        asked = ask(app)
        assert (asked.status, asked.code, server.connections) == (504, "anam_timeout", 2)
        assert 0.8 <= asked.seconds <= 0.8 + 0.25 + SLACK
        late = ask(app_at(url, ANAM_CONNECT_TIMEOUT=20, ANAM_READ_TIMEOUT=20, ANAM_DEADLINE=1))
    assert (late.status, late.code) == (504, "anam_timeout")
    assert 1.0 <= late.seconds <= 1.0 + SLACK


def test_row_10_a_tls_handshake_that_drips_is_cut_in_time() -> None:
    """A handshake that drips byte by byte does not extend the connect timeout."""

    def drips(connection: socket.socket, number: int) -> None:
        connection.recv(65536)
        for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(200):
            connection.sendall(bytes([byte]))
            time.sleep(0.1)  # the fault itself

    with RawServer(drips) as server:
        url = server.url.replace("http://", "https://")
        asked = ask(app_at(url, ANAM_CONNECT_TIMEOUT=0.4, ANAM_MAX_ATTEMPTS=1))
    assert (asked.status, asked.code) == (504, "anam_timeout")
    assert 0.4 <= asked.seconds <= 0.4 + SLACK


def test_row_15_an_endless_body_is_cut() -> None:
    """Reading stops after 64 kB: the connection is closed and the answer rejected."""
    sent: list[int] = []

    def endless(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        sent.append(0)
        while True:
            sent[-1] += connection.send(b"x" * 4096)

    with RawServer(endless) as server:
        asked = ask(app_at(server.url, ANAM_READ_TIMEOUT=20))
        assert (asked.status, asked.code, asked.body["retryable"]) == (
            502,
            "anam_bad_response",
            True,
        )
        assert asked.seconds < 0.25 + SLACK  # back-off included; reading on would never end
    assert server.connections == 2
    assert max(sent) < 16_000_000  # what fits into the buffers of two sockets, no more


def test_row_15_a_gzip_bomb_does_not_go_off() -> None:
    """No compression is requested or decoded: 100 MB of zeros stay 100 kB of gzip."""
    bomb = gzip.compress(bytes(100_000_000), 1)
    asked_for: list[bytes] = []

    def serve(connection: socket.socket, number: int) -> None:
        asked_for.append(read_request(connection))
        connection.sendall(response(200, bomb, "Content-Encoding: gzip"))

    with RawServer(serve) as server:
        asked = ask(app_at(server.url))
    assert (asked.code, server.connections) == ("anam_bad_response", 2)
    assert asked.seconds < 0.25 + SLACK
    assert b"accept-encoding: identity" in asked_for[0].lower()


@pytest.mark.parametrize("size", [64 * 1024 - 100, 64 * 1024 + 1])
def test_row_15_the_limit_is_64_kilobytes(sandbox: Sandbox, size: int) -> None:
    """A token in an answer just below the limit is accepted, just above it rejected."""
    body = b'{"sessionToken": "opaque", "x": "' + b"x" * (size - 35) + b'"}'
    sandbox.fail_next(200, body=body, times=2)
    asked = ask(make_app(sandbox))
    assert asked.code == ("ok" if size < 64 * 1024 else "anam_bad_response")
    assert mints_of(sandbox) == (1 if size < 64 * 1024 else 2)


def test_a_pooled_connection_that_the_server_closed_costs_nothing() -> None:
    """A polite end of an idle connection is seen before it is used: no failed attempt."""

    def serve(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(minted(f"token-{number}"))

    with RawServer(serve) as server:
        app = app_at(server.url, ANAM_MAX_ATTEMPTS=1)
        for slot in "abc":
            assert ask(app, slot=slot).status == 200
            time.sleep(0.05)  # lets the FIN arrive: the fault itself
    assert server.connections == 3


def test_a_healthy_raw_server_keeps_its_connection() -> None:
    """The stand-in used here can be trusted: three mints, one connection."""
    with RawServer(mints) as server:
        app = app_at(server.url)
        assert [ask(app, slot=slot).status for slot in "abc"] == [200, 200, 200]
        app.extensions["anam"].client.close()
    assert server.connections == 1
