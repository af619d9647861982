"""Answers that make no sense, and answers that say no."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from faults.upstream.asking import app_at, ask, mints_of
from faults.upstream.servers import RawServer, mints, read_request
from hosts import ADA, BOB, KEY, PERSONA, PROMPT, make_app

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock


def test_row_11_a_body_cut_short_is_tried_once_more(sandbox: Sandbox) -> None:
    """The body is shorter than its Content-Length: a token in it is not accepted."""
    sandbox.fail_next(200, cut_after=40, times=2)
    asked = ask(make_app(sandbox, clock=ManualClock()))
    assert (asked.status, asked.code, mints_of(sandbox)) == (502, "anam_bad_response", 2)


def test_row_11_after_one_cut_body_the_user_gets_a_token(sandbox: Sandbox) -> None:
    """One truncated answer does not affect the user."""
    sandbox.fail_next(200, cut_after=40)
    assert ask(make_app(sandbox, clock=ManualClock())).status == 200
    assert mints_of(sandbox) == 2


def test_row_12_a_cut_body_without_length_is_tried_once_more_and_not_kept(
    sandbox: Sandbox,
) -> None:
    """Only the invalid JSON shows the truncation; the next request calls Anam again."""
    app = make_app(sandbox, clock=ManualClock())
    sandbox.fail_next(200, cut_after=40, content_length=False, times=2)
    assert (ask(app, slot="tab").code, mints_of(sandbox)) == ("anam_bad_response", 2)
    assert ask(app, slot="tab").status == 200
    assert mints_of(sandbox) == 3


def test_row_13_a_page_instead_of_an_answer_is_tried_once_more(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture
) -> None:
    """A proxy or captive portal answers 200 to everything; its page is not logged or passed on."""
    page = "<html>Sign in to Example Airport WLAN</html>"
    sandbox.fail_next(200, body=page, times=2)
    asked = ask(make_app(sandbox, clock=ManualClock()))
    assert (asked.status, asked.code, mints_of(sandbox)) == (502, "anam_bad_response", 2)
    assert "Airport" not in f"{asked.body}{logged.text}"


SENSELESS: dict[str, dict[str, Any]] = {
    "empty object": {"json": {}},
    "null token": {"json": {"sessionToken": None}},
    "number": {"json": {"sessionToken": 4711}},
    "empty token": {"json": {"sessionToken": ""}},
    "1 MB token": {"json": {"sessionToken": "x" * 1_000_000}},
    "9 kB token": {"json": {"sessionToken": "x" * 9_000}},
    "not ASCII": {"json": {"sessionToken": "tökén"}},
    "list": {"json": ["sessionToken"]},
    "null": {"json": None},
    "empty": {"body": b""},
    "deep": {"body": "[" * 20_000},
    "not UTF-8": {"body": b'{"sessionToken": "\xff\xfe"}'},
}


@pytest.mark.parametrize("fault", SENSELESS.values(), ids=SENSELESS)
def test_row_14_an_answer_without_a_usable_token_is_tried_once_more(
    sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    """Every kind of invalid answer: two calls, then 502; the app keeps working."""
    app = make_app(sandbox, clock=ManualClock())
    sandbox.fail_next(200, times=2, **fault)
    asked = ask(app)
    assert (asked.status, asked.code, mints_of(sandbox)) == (502, "anam_bad_response", 2)
    assert ask(app).status == 200


def test_row_14_a_token_that_is_no_jwt_is_taken(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture
) -> None:
    """The token is used for the documented hour, with a warning that does not contain it."""
    sandbox.fail_next(200, json={"sessionToken": "an-opaque-token"})
    asked = ask(make_app(sandbox, clock=ManualClock()))
    assert (asked.status, asked.body["expiresIn"]) == (200, 3600)
    assert "not a JWT" in logged.text
    assert "an-opaque-token" not in logged.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same host", "other host"])
def test_row_16_a_redirect_is_not_followed(sandbox: Sandbox, status: int, elsewhere: bool) -> None:
    """Key and prompt are sent only to the configured host; there is no second attempt."""
    with RawServer(mints) as other:
        target = f"{other.url if elsewhere else sandbox.url}/v1/auth/session-token?again"
        sandbox.fail_next(status, headers={"Location": target})
        asked = ask(make_app(sandbox))
    assert (asked.status, asked.code, asked.body["retryable"]) == (502, "anam_bad_response", False)
    assert "ANAM_BASE_URL" in asked.body["error"]
    assert (len(sandbox.ledger.requests), other.connections) == (1, 0)


def test_row_23_a_refused_body_is_not_sent_again_for_ten_seconds(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture
) -> None:
    """A 400 with a megabyte of validation errors: one call, a short answer, nothing repeated."""
    errors = {"error": "Invalid request body", "details": [PROMPT] * 30_000}
    sandbox.fail_next(400, json=errors)
    clock = ManualClock()
    app = make_app(sandbox, ADA, BOB, clock=clock)
    for user in (ADA, ADA, BOB):
        asked = ask(app, user)
        assert (asked.status, asked.code, mints_of(sandbox)) == (502, "anam_rejected", 1)
        assert len(str(asked.body)) < 300
    clock.move(9.9)
    assert (ask(app).status, mints_of(sandbox)) == (502, 1)
    clock.move(0.2)
    assert (ask(app).status, mints_of(sandbox)) == (200, 2)
    assert PROMPT not in logged.text


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refused_body_stops_that_body_only(sandbox: Sandbox, status: int) -> None:
    """Another persona of the same account goes on meanwhile."""
    sandbox.fail_next(status)
    other = {**PERSONA, "name": "Cara", "systemPrompt": "Be brief."}
    app = make_app(sandbox, clock=ManualClock(), ANAM_PERSONAS={"support": PERSONA, "coach": other})
    assert ask(app, personaType="support").code == "anam_rejected"
    assert ask(app, personaType="coach").status == 200
    assert ask(app, personaType="support").code == "anam_rejected"
    assert mints_of(sandbox) == 2


def test_a_status_line_that_is_no_http_is_an_outage() -> None:
    """Another protocol on the port: three attempts, 503."""

    def serve(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

    with RawServer(serve) as server:
        asked = ask(app_at(server.url))
    assert (asked.status, asked.code, server.connections) == (503, "anam_unavailable", 3)
    assert KEY not in str(asked.body)


def test_headers_without_end_are_an_outage() -> None:
    """A header line or a number of headers past the limits of HTTP is refused, not kept."""

    def serve(connection: socket.socket, number: int) -> None:
        read_request(connection)
        many = b"".join(b"X-%d: y\r\n" % index for index in range(500))
        long = b"X: " + b"y" * 100_000 + b"\r\n"
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + (many if number % 2 else long) + b"\r\n")

    with RawServer(serve) as server:
        asked = ask(app_at(server.url, ANAM_READ_TIMEOUT=2))
    assert (asked.status, asked.code, server.connections) == (503, "anam_unavailable", 3)
