"""HTTP itself: CORS, errors, keep-alive, and what is not quite HTTP."""

import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from flask_anam.sandbox import Sandbox

Caller = Callable[..., requests.Response]


@pytest.fixture
def line(sandbox: Sandbox) -> Iterator[socket.socket]:
    """Give a raw connection to the sandbox."""
    parts = urlsplit(sandbox.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10) as connection:
        yield connection


def _all(line: socket.socket) -> bytes:
    received = b""
    while chunk := line.recv(65536):
        received += chunk
    return received


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


def test_a_preflight_cannot_smuggle_headers(line: socket.socket) -> None:
    """A folded request header does not break the answer's lines."""
    line.sendall(
        b"OPTIONS / HTTP/1.1\r\nConnection: close\r\n"
        b"Access-Control-Request-Headers: a\r\n Set-Cookie: evil=1\r\n\r\n"
    )
    assert not any(row.startswith(b" Set-Cookie") for row in _all(line).split(b"\r\n"))


def test_an_unknown_address_is_not_found(call: Caller) -> None:
    """404 in JSON, whatever the method."""
    for method in ("GET", "POST", "DELETE"):
        answer = call(method, "/v1/nowhere")
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/auth/session-token", "OPTIONS, POST"),
        ("DELETE", "/v1/engine/session", "OPTIONS, POST"),
        ("POST", "/v1/sessions/concurrency", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/sessions/x/stop", "OPTIONS, POST"),
        ("PUT", "/v1/voices/x", "GET, HEAD, OPTIONS"),
        ("BREW", "/", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    call: Caller, method: str, path: str, allowed: str
) -> None:
    """405 in JSON, with Allow."""
    answer = call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["error"] == "Method Not Allowed"


def test_a_body_over_one_megabyte_is_refused(call: Caller) -> None:
    """The client can send it all and still read the 413."""
    just_right = b" " * (1024 * 1024 - 2) + b"{}"
    assert call("POST", "/v1/auth/session-token", data=just_right).status_code == 400
    answer = call("POST", "/v1/auth/session-token", data=just_right + b" ")
    assert answer.status_code == 413
    assert "1048576 bytes" in answer.json()["message"]


def test_head_is_get_without_the_body(call: Caller) -> None:
    """The length is that of the body which is not sent."""
    answer = call("HEAD", "/v1/voices")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(call("GET", "/v1/voices").content)


def test_signalling_is_refused_before_any_upgrade(call: Caller) -> None:
    """A WebSocket client that names no session gets a plain 404."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x"}
    answer = call("GET", "/ws?session_id=x", headers=headers)
    assert answer.status_code == 404
    assert answer.json()["error"] == "Session not found"


@pytest.mark.parametrize("body", [b"", b"not json", b'{"name": "client_session_attempt"}'])
def test_metrics_are_swallowed(sandbox: Sandbox, http: requests.Session, body: bytes) -> None:
    """The JS SDK reports without a credential and ignores the answer."""
    answer = http.post(f"{sandbox.url}/v1/metrics/client", data=body, timeout=10)
    assert (answer.status_code, answer.content) == (204, b"")


def test_connections_are_numbered_and_kept_alive(sandbox: Sandbox, call: Caller) -> None:
    """Equal numbers prove reuse; another client has another number."""
    call("GET", "/")
    call("GET", "/nowhere")
    requests.get(sandbox.url, timeout=10)
    assert [record.connection for record in sandbox.ledger.requests] == [1, 1, 2]


@pytest.mark.parametrize(
    ("version", "wish", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_the_client_decides_whether_to_keep_the_connection(
    line: socket.socket, version: bytes, wish: bytes, kept: bool
) -> None:
    """HTTP/1.1 keeps it by default, HTTP/1.0 does not."""
    line.sendall(b"HEAD / HTTP/" + version + b"\r\n" + wish + b"\r\n")
    if kept:
        assert b"Connection: keep-alive" in line.recv(65536)
        line.sendall(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert _all(line).endswith(b"\r\n\r\n")


def test_pipelined_requests_are_answered_in_turn(line: socket.socket) -> None:
    """Two requests in one packet give two answers."""
    line.sendall(b"GET / HTTP/1.1\r\n\r\n\r\nGET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
    received = _all(line)
    assert received.count(b"HTTP/1.1 ") == 2
    assert received.index(b"200 OK") < received.index(b"404 Not Found")


def test_a_client_that_asks_first_may_go_on(line: socket.socket) -> None:
    """`Expect: 100-continue` is granted."""
    line.sendall(
        b"POST /v1/metrics/client HTTP/1.1\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n"
    )
    assert line.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.sendall(b"{}")
    assert _all(line).startswith(b"HTTP/1.1 204")


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
    line: socket.socket, sent: bytes, status: int
) -> None:
    """The answer has the usual shape, then the connection is closed."""
    line.sendall(sent)
    line.shutdown(socket.SHUT_WR)
    received = _all(line)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'{"error": ' in received
    assert b"Connection: close" in received


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
