"""HTTP/1.1: parsing, limits, CORS and keep-alive."""

import socket
from collections.abc import Callable

import pytest
import requests
from sandbox.clients import receive_all

from flask_anam.sandbox import Sandbox

Caller = Callable[..., requests.Response]


def test_every_answer_may_be_read_by_any_page(call: Caller) -> None:
    """Also errors carry the CORS headers and the mark of the sandbox."""
    for path in ("/", "/nowhere", "/v1/sessions?page=0"):
        answer = call("GET", path)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["X-Anam-Sandbox"] == "1"
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


def test_a_preflight_is_answered_for_what_it_asks(sandbox: Sandbox, http: requests.Session) -> None:
    """No key is needed, and the wanted headers are allowed beside the usual ones."""
    headers = {
        "Origin": "http://localhost:5000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "Authorization, x-my-header",
    }
    for path in ("/v1/auth/session-token", "/nowhere"):
        answer = http.options(sandbox.url + path, headers=headers, timeout=10)
        assert (answer.status_code, answer.content) == (204, b"")
        allowed = answer.headers["Access-Control-Allow-Headers"]
        assert allowed == "authorization, content-type, x-my-header"
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_a_preflight_cannot_smuggle_headers(connection: socket.socket) -> None:
    """A folded request header does not break the answer's lines."""
    connection.sendall(
        b"OPTIONS / HTTP/1.1\r\nConnection: close\r\n"
        b"Access-Control-Request-Headers: a\r\n Set-Cookie: evil=1\r\n\r\n"
    )
    assert not any(row.startswith(b" Set-Cookie") for row in receive_all(connection).split(b"\r\n"))


def test_a_body_over_one_megabyte_is_refused(call: Caller) -> None:
    """The client can send it all and still read the 413."""
    just_right = b" " * (1024 * 1024 - 2) + b"{}"
    assert call("POST", "/v1/auth/session-token", data=just_right).status_code == 400
    answer = call("POST", "/v1/auth/session-token", data=just_right + b" ")
    assert answer.status_code == 413
    assert "1048576 bytes" in answer.json()["message"]


@pytest.mark.parametrize(
    ("version", "option", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_the_client_decides_whether_to_keep_the_connection(
    connection: socket.socket, version: bytes, option: bytes, keeps: bool
) -> None:
    """HTTP/1.1 keeps it by default, HTTP/1.0 does not."""
    connection.sendall(b"HEAD / HTTP/" + version + b"\r\n" + option + b"\r\n")
    if keeps:
        assert b"Connection: keep-alive" in connection.recv(65536)
        connection.sendall(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert receive_all(connection).endswith(b"\r\n\r\n")


def test_a_far_too_large_body_does_not_hide_the_refusal(connection: socket.socket) -> None:
    """The client may send all of it before it reads the 413."""
    size = 12 * 1024 * 1024
    connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    assert receive_all(connection).startswith(b"HTTP/1.1 413 ")


def test_a_refusal_ends_with_fin_although_more_is_sent(connection: socket.socket) -> None:
    """A reset could reach the client before it has read the refusal."""
    connection.sendall(b"nonsense\r\n\r\n" + bytes(500_000))
    assert receive_all(connection).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_asks_first_may_go_on(connection: socket.socket) -> None:
    """`Expect: 100-continue` is granted."""
    connection.sendall(
        b"POST /v1/metrics/client HTTP/1.1\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n"
    )
    assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(b"{}")
    assert receive_all(connection).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / SMTP/1.1\r\n\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_not_good_http_is_refused_in_json(
    connection: socket.socket, sent: bytes, status: int
) -> None:
    """The answer has the usual shape, then the connection is closed."""
    connection.sendall(sent)
    connection.shutdown(socket.SHUT_WR)
    received = receive_all(connection)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'{"error": ' in received
    assert b"Connection: close" in received
