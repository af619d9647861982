"""Fault injection by ``fail_next``, seen from the client's side of the socket."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sandbox.clients import open_connection, receive_all

from flask_anam.sandbox import Sandbox

Caller = Callable[..., requests.Response]


def _exchange(sandbox: Sandbox, path: str = "/x") -> bytes:
    """Return all the bytes that come back for a GET until the server closes."""
    with open_connection(sandbox) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return receive_all(connection)


def test_a_failure_has_the_vendors_shape(mint: Caller, sandbox: Sandbox) -> None:
    """By default it is a 500 at the mint, once."""
    sandbox.fail_next()
    answer = mint()
    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "message"}
    assert answer.json()["error"] == "Internal Server Error"
    assert sandbox.ledger.mints == ()
    assert mint().status_code == 200


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "Invalid request body"),
        (401, "Invalid API key"),
        (402, "No plan found"),
        (403, "Forbidden"),
        (429, "Too many requests"),
        (503, "No engines available"),
        (302, "Found"),
        (799, "Status 799"),
    ],
)
def test_any_status_can_be_answered(
    call: Caller, sandbox: Sandbox, status: int, error: str
) -> None:
    """The error text fits the status, also one that nobody knows."""
    sandbox.fail_next(status, path="*")
    answer = call("GET", "/", allow_redirects=False)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_has_none(call: Caller, sandbox: Sandbox, status: int) -> None:
    """HTTP forbids a body there, so one that was given is kept back; the connection goes on."""
    sandbox.fail_next(status, path="/")
    sandbox.fail_next(status, path="/", body="forbidden")
    assert call("GET", "/").content == b""
    assert call("GET", "/").content == b""
    assert call("GET", "/").status_code == 200
    assert {record.connection for record in sandbox.ledger.requests} == {1}


def test_failures_come_in_the_order_they_were_asked_for(mint: Caller, sandbox: Sandbox) -> None:
    """`times` repeats one before the next has its turn."""
    sandbox.fail_next(503, times=2)
    sandbox.fail_next(429)
    assert [mint().status_code for _ in range(4)] == [503, 503, 429, 200]


def test_failures_wait_for_their_path(mint: Caller, call: Caller, sandbox: Sandbox) -> None:
    """A star takes the first request that comes, and a preflight takes none."""
    sandbox.fail_next(503, path="/v1/voices")
    assert mint().status_code == 200
    assert call("OPTIONS", "/v1/voices").status_code == 204
    assert call("GET", "/v1/voices?page=1").status_code == 503
    sandbox.fail_next(502, path="*")
    assert call("GET", "/nowhere").status_code == 502
    assert call("GET", "/nowhere").status_code == 404


def test_failures_can_be_called_off(mint: Caller, sandbox: Sandbox) -> None:
    """After clear_failures all is well."""
    sandbox.fail_next(times=5)
    sandbox.clear_failures()
    assert mint().status_code == 200


@pytest.mark.parametrize(
    ("arguments", "content", "kind"),
    [
        ({"json": {"sessionToken": None}}, b'{"sessionToken": null}', "application/json"),
        ({"json": None}, b"null", "application/json"),
        ({"body": "<html>Sign in</html>"}, b"<html>Sign in</html>", "text/html; charset=utf-8"),
        ({"body": b"\xff\x00"}, b"\xff\x00", "application/json"),
        ({"body": b""}, b"", "application/json"),
        ({"body": "x", "headers": {"content-type": "text/plain"}}, b"x", "text/plain"),
    ],
)
def test_the_body_can_be_anything(
    mint: Caller, sandbox: Sandbox, arguments: dict[str, Any], content: bytes, kind: str
) -> None:
    """JSON, text or bytes; the content type follows, unless a header says otherwise."""
    sandbox.fail_next(200, **arguments)
    answer = mint()
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Content-Type"] == kind
    assert sandbox.ledger.mints == ()


def test_headers_are_added_repeated_and_replaced(sandbox: Sandbox) -> None:
    """A list repeats a header; a name of the server's own replaces it."""
    headers: dict[str, str | list[str]] = {
        "Retry-After": ["1", "soon"],
        "DATE": "Thu, 01 Jan 1970 00:00:00 GMT",
    }
    sandbox.fail_next(429, path="/x", headers=headers, content_length=False)
    head = _exchange(sandbox).partition(b"\r\n\r\n")[0].decode().splitlines()
    assert [line for line in head if line.startswith("Retry-After")] == [
        "Retry-After: 1",
        "Retry-After: soon",
    ]
    dates = [line for line in head if line.lower().startswith("date")]
    assert dates == ["DATE: Thu, 01 Jan 1970 00:00:00 GMT"]


def test_a_redirect_points_where_it_is_told(call: Caller, sandbox: Sandbox) -> None:
    """So that tests can prove that nobody follows it."""
    sandbox.fail_next(307, path="/", headers={"Location": "http://127.0.0.1:1/"})
    answer = call("GET", "/", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://127.0.0.1:1/")


def test_a_delay_comes_before_the_answer(mint: Caller, sandbox: Sandbox) -> None:
    """With status 200 and no body, the real work is done after it."""
    sandbox.fail_next(200, delay=0.2, headers={"X-Slow": "yes"})
    start = time.monotonic()
    answer = mint()
    assert time.monotonic() - start >= 0.2
    assert answer.headers["X-Slow"] == "yes"
    assert len(answer.json()["sessionToken"].split(".")) == 3
    assert len(sandbox.ledger.mints) == 1


def test_real_work_may_still_be_refused(mint: Caller, sandbox: Sandbox) -> None:
    """A status of 200 stands for "as usual", not for success."""
    sandbox.fail_next(200, drip=0.0)
    assert mint({"personaConfig": {"name": 1}}).status_code == 400


def test_a_cut_body_is_shorter_than_it_says(mint: Caller, sandbox: Sandbox) -> None:
    """The client notices by the Content-Length."""
    sandbox.fail_next(200, cut_after=5)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        mint()
    sandbox.fail_next(200, path="/x", json={"a": 1}, cut_after=5)
    head, _, body = _exchange(sandbox).partition(b"\r\n\r\n")
    assert body == b'{"a":'
    assert b"Content-Length: 8" in head


def test_a_cut_body_without_length_looks_complete(mint: Caller, sandbox: Sandbox) -> None:
    """Only the broken JSON gives it away."""
    sandbox.fail_next(200, cut_after=10, content_length=False)
    answer = mint()
    assert "Content-Length" not in answer.headers
    assert len(answer.content) == 10
    assert len(sandbox.ledger.mints) == 1


def test_a_body_can_drip(call: Caller, sandbox: Sandbox) -> None:
    """The body comes byte by byte, each after its pause."""
    sandbox.fail_next(200, path="/", body="abcd", drip=0.05)
    start = time.monotonic()
    assert call("GET", "/").content == b"abcd"
    assert time.monotonic() - start >= 0.2


def test_the_headers_of_a_dripping_body_come_at_once(call: Caller, sandbox: Sandbox) -> None:
    """The status is there although the first byte of the body is a day away."""
    sandbox.fail_next(200, path="/", body="abcd", drip=86_400)
    answer = call("GET", "/", stream=True)
    assert answer.headers["Content-Length"] == "4"
    sandbox.stop()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = answer.content


def test_headers_can_drip(call: Caller, sandbox: Sandbox) -> None:
    """The status line and headers come byte by byte."""
    sandbox.fail_next(200, path="/", body="abcd", drip_headers=0.001)
    start = time.monotonic()
    answer = call("GET", "/", stream=True)
    assert time.monotonic() - start >= 0.2
    assert answer.content == b"abcd"


def test_a_silent_server_never_answers(sandbox: Sandbox, http: requests.Session) -> None:
    """The client's own time-out ends it, and the ledger has no status."""
    sandbox.fail_next(path="/", silent=True)
    with pytest.raises(requests.ReadTimeout):
        http.get(sandbox.url, timeout=(10, 0.2))
    assert sandbox.ledger.wait_for("/", 1)  # it may have been slower than the client
    assert [record.status for record in sandbox.ledger.requests] == [None]
    assert http.get(sandbox.url, timeout=10).status_code == 200


def test_a_reset_breaks_the_connection(sandbox: Sandbox) -> None:
    """The client gets RST and no byte."""
    sandbox.fail_next(path="/x", reset=True)
    with pytest.raises(ConnectionResetError):
        _exchange(sandbox)
    assert [record.status for record in sandbox.ledger.requests] == [None]


def test_a_reset_with_status_200_comes_after_the_work(mint: Caller, sandbox: Sandbox) -> None:
    """The token is minted and lost, as when a connection breaks at the wrong moment."""
    sandbox.fail_next(200, reset=True)
    with pytest.raises(requests.ConnectionError):
        mint()
    assert len(sandbox.ledger.mints) == 1


def test_a_large_body_arrives_whole(call: Caller, sandbox: Sandbox) -> None:
    """Megabytes are no trouble."""
    sandbox.fail_next(200, path="/", body=b"x" * 3_000_000)
    assert len(call("GET", "/").content) == 3_000_000


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"status": "500"}, TypeError, "status"),
        ({"status": True}, TypeError, "status"),
        ({"status": 99}, ValueError, "status"),
        ({"times": 0}, ValueError, "times"),
        ({"times": 1.5}, TypeError, "times"),
        ({"path": "v1"}, ValueError, "path"),
        ({"path": 1}, ValueError, "path"),
        ({"json": 1, "body": "x"}, ValueError, "json or body"),
        ({"json": {1, 2}}, TypeError, "json"),
        ({"body": 1}, TypeError, "body"),
        ({"headers": {"A": 1}}, TypeError, "'A'"),
        ({"headers": {"A": ["x", 1]}}, TypeError, "'A'"),
        ({"headers": {"A": "x\r\nB: y"}}, ValueError, "'A'"),
        ({"headers": {"A B": "x"}}, ValueError, "'A B'"),
        ({"delay": -1}, ValueError, "delay"),
        ({"delay": "1"}, TypeError, "delay"),
        ({"cut_after": -1}, ValueError, "cut_after"),
        ({"drip": -1}, ValueError, "drip"),
        ({"delay": float("inf")}, ValueError, "delay"),
        ({"headers": {"A": "\ud800"}}, ValueError, "surrogates"),
        ({"drip_headers": None, "drip": "x"}, TypeError, "drip"),
        ({"silent": True, "reset": True}, ValueError, "silent and reset"),
    ],
)
def test_misuse_is_an_error(
    sandbox: Sandbox, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The text names the argument, and nothing is queued."""
    with pytest.raises(error, match=text):
        sandbox.fail_next(**arguments)
    assert b"200 OK" in _exchange_root(sandbox)


def _exchange_root(sandbox: Sandbox) -> bytes:
    answer = requests.get(sandbox.url, timeout=10)
    return f"{answer.status_code} {answer.reason} {json.dumps(answer.json())}".encode()
