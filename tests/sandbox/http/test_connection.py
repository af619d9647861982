"""HTTP connections: reuse, pipelining, latency, and defects of the sandbox."""

import http.client
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sandbox.clients import open_connection, receive_all

from flask_anam.sandbox import Sandbox

Caller = Callable[..., requests.Response]


def test_connections_are_numbered_and_kept_alive(sandbox: Sandbox, call: Caller) -> None:
    """Equal numbers prove reuse; another client has another number."""
    call("GET", "/")
    call("GET", "/nowhere")
    requests.get(sandbox.url, timeout=10)
    assert [record.connection for record in sandbox.ledger.requests] == [1, 1, 2]


def test_pipelined_requests_are_answered_in_turn(connection: socket.socket) -> None:
    """Two requests in one packet give two answers."""
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n\r\nGET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
    received = receive_all(connection)
    assert received.count(b"HTTP/1.1 ") == 2
    assert received.index(b"200 OK") < received.index(b"404 Not Found")


def test_a_defect_of_the_sandbox_is_a_500_and_is_logged(
    sandbox: Sandbox,
    call: Caller,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A test that meets one sees where it comes from."""

    def broken(*_: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(sandbox._account.sessions, "concurrency", broken)
    answer = call("GET", "/v1/sessions/concurrency")
    assert (answer.status_code, answer.json()["error"]) == (500, "Internal Server Error")
    assert "broken on purpose" in caplog.text


Maker = Callable[..., Sandbox]


def test_latency_is_added_to_every_answer(make_sandbox: Maker, call: Caller) -> None:
    """The stand-in can be as far away as the vendor."""
    sandbox = make_sandbox(latency=0.1)
    start = time.monotonic()
    call("GET", "/", at=sandbox)
    assert time.monotonic() - start >= 0.1


def test_latency_is_not_added_to_a_preflight(make_sandbox: Maker, call: Caller) -> None:
    """A browser's own question does not count as a request of the page."""
    sandbox = make_sandbox(latency=86_400)
    assert call("OPTIONS", "/", at=sandbox).status_code == 204


def test_a_client_that_hangs_up_is_forgotten(sandbox: Sandbox) -> None:
    """A half-sent request leaves no record, and the next client is served."""
    with open_connection(sandbox) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    client = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=10)
    client.request("GET", "/")
    assert client.getresponse().status == 200
    client.close()
    assert [record.method for record in sandbox.ledger.requests] == ["GET"]
