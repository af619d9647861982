"""What the browser is told when Anam refuses, fails or is gone."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, MINT, TOKEN_PATH, client_of, make_app

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

TABLE = {
    "401": ({"status": 401}, 502, "anam_auth", False),
    "403": ({"status": 403}, 502, "anam_auth", False),
    "402": ({"status": 402}, 502, "anam_quota", False),
    "spend cap": (
        {"status": 429, "json": {"error": "Spend cap reached"}},
        502,
        "anam_quota",
        False,
    ),
    "usage": ({"status": 429, "json": {"error": "Usage limit reached"}}, 502, "anam_quota", False),
    "sessions": (
        {"status": 429, "json": {"error": "Concurrent session limit reached"}},
        502,
        "anam_quota",
        False,
    ),
    "400": ({"status": 400}, 502, "anam_rejected", False),
    "404": ({"status": 404}, 502, "anam_rejected", False),
    "422": ({"status": 422}, 502, "anam_rejected", False),
    "redirect": (
        {"status": 307, "headers": {"Location": "http://127.0.0.1:9/"}},
        502,
        "anam_bad_response",
        False,
    ),
    "HTML": ({"status": 200, "body": "<html>"}, 502, "anam_bad_response", True),
    "no token": ({"status": 200, "json": {}}, 502, "anam_bad_response", True),
    "rate": (
        {"status": 429, "json": {"error": "Too many requests"}},
        503,
        "anam_rate_limited",
        True,
    ),
    "500": ({"status": 500}, 503, "anam_unavailable", True),
    "503": ({"status": 503}, 503, "anam_unavailable", True),
    "408": ({"status": 408}, 503, "anam_unavailable", True),
    "reset": ({"reset": True}, 503, "anam_unavailable", True),
}


@pytest.mark.parametrize(("fault", "status", "code", "retryable"), TABLE.values(), ids=TABLE)
def test_each_upstream_failure_has_its_status_and_code(
    sandbox: Sandbox, fault: dict[str, Any], status: int, code: str, retryable: bool
) -> None:
    """Upstream failures become our 502 and 503, never the browser's 401; 503 says when."""
    client = client_of(make_app(sandbox, clock=ManualClock()), ADA)
    sandbox.fail_next(times=5, **fault)
    answer = client.post(TOKEN_PATH, json={})
    body = answer.get_json()
    assert (answer.status_code, body["code"], body["retryable"]) == (status, code, retryable)
    assert ("retryAfter" in body) is (status == 503)
    assert answer.headers.get("Retry-After") == (str(body["retryAfter"]) if status == 503 else None)


def test_silence_is_a_timeout(sandbox: Sandbox) -> None:
    """No answer in time is 504 anam_timeout with Retry-After."""
    app = make_app(sandbox, ANAM_READ_TIMEOUT=0.2, ANAM_MAX_ATTEMPTS=1)
    sandbox.fail_next(silent=True)
    answer = client_of(app, ADA).post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["code"]) == (504, "anam_timeout")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("wait", ["3600", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_long_retry_after_is_passed_on_and_not_slept(sandbox: Sandbox, wait: str) -> None:
    """Anam's wish to wait long is answered at once, cut to 300 seconds."""
    clock = ManualClock()
    client = client_of(make_app(sandbox, clock=clock), ADA)
    sandbox.fail_next(429, json={"error": "Too many requests"}, headers={"Retry-After": wait})
    answer = client.post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "300")
    assert clock.slept == []
    assert sandbox.ledger.count(MINT) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
def test_a_passing_failure_is_retried(sandbox: Sandbox, status: int) -> None:
    """One failure of a kind that may pass costs a second attempt, not an error."""
    sandbox.fail_next(status, json={"error": "x"})
    client = client_of(make_app(sandbox, clock=ManualClock()), ADA)
    assert client.post(TOKEN_PATH, json={}).status_code == 200
    assert sandbox.ledger.count(MINT) == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_definite_refusal_is_not_retried(sandbox: Sandbox, status: int) -> None:
    """The vendor page's sample tries 400 and 401 three times; here it is once."""
    sandbox.fail_next(status, times=3)
    client_of(make_app(sandbox), ADA).post(TOKEN_PATH, json={})
    assert sandbox.ledger.count(MINT) == 1


def test_a_failed_mint_costs_the_user_nothing(sandbox: Sandbox) -> None:
    """What is counted for a mint that fails is given back."""
    clock = ManualClock(1_800_000_000.0)
    client = client_of(make_app(sandbox, clock=clock, ANAM_TOKEN_RATE_LIMIT="1 per hour"), ADA)
    for status in (400, 401, 500):
        sandbox.fail_next(status, times=3)
        assert client.post(TOKEN_PATH, json={}).status_code in {502, 503}
        sandbox.clear_failures()
        clock.move(300)
    assert client.post(TOKEN_PATH, json={}).status_code == 200
    assert client.post(TOKEN_PATH, json={"slot": "another"}).status_code == 429


def test_a_legacy_token_is_refused_with_the_cure(
    app: Flask, ada: FlaskClient, sandbox: Sandbox
) -> None:
    """A minted token that the SDKs would refuse never reaches the browser."""
    legacy = sandbox.issue_token({}, type="legacy")
    sandbox.fail_next(200, json={"sessionToken": legacy})
    answer = ada.post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["code"]) == (502, "anam_rejected")
    assert "llmId" in answer.get_json()["error"]
    assert legacy not in answer.text


def test_a_token_that_is_no_jwt_is_taken_to_last_an_hour(
    ada: FlaskClient, sandbox: Sandbox, logged: pytest.LogCaptureFixture
) -> None:
    """An opaque token is handed out with the documented hour and a warning."""
    sandbox.fail_next(200, json={"sessionToken": "opaque-token"})
    body = ada.post(TOKEN_PATH, json={}).get_json()
    assert body["sessionToken"] == "opaque-token"
    assert 3595 <= body["expiresIn"] <= 3600
    assert "not a JWT" in logged.text
    assert "opaque-token" not in logged.text
