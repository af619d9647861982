"""How full the account is: told to pages, and asked before a mint where that is wished."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, BOB, TOKEN_PATH, client_of, make_app

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

PATH = "/v1/sessions/concurrency"


def app_on(sandbox: Sandbox, clock: ManualClock, **config: Any) -> Flask:
    """Return an app that asks before each mint."""
    return make_app(sandbox, clock=clock, **{"ANAM_CONCURRENCY_PRECHECK": True, **config})


def ask(client: FlaskClient, slot: str = "tab") -> dict[str, Any]:
    """Ask for a token; return the answer with its status and Retry-After."""
    answer = client.post(TOKEN_PATH, json={"slot": slot})
    body: dict[str, Any] = answer.get_json()
    return {**body, "status": answer.status_code, "wait": answer.headers.get("Retry-After")}


def test_everybody_shares_one_call(sandbox: Sandbox, clock: ManualClock) -> None:
    """Two users within five seconds, one call; a precheck uses the same answer."""
    app = app_on(sandbox, clock)
    for user in (ADA, BOB):
        assert client_of(app, user).get("/anam/concurrency").get_json()["canStartSession"] is True
    assert ask(client_of(app, ADA))["status"] == 200
    assert sandbox.ledger.count(PATH) == 1
    clock.move(5)
    assert client_of(app, ADA).get("/anam/concurrency").get_json()["ageSeconds"] == 0
    assert sandbox.ledger.count(PATH) == 2


def test_an_old_answer_is_marked_while_anam_is_down(sandbox: Sandbox, clock: ManualClock) -> None:
    """Stale for a minute, then the documented error with Retry-After."""
    ada = client_of(app_on(sandbox, clock), ADA)
    assert ada.get("/anam/concurrency").get_json()["stale"] is False
    sandbox.fail_next(503, path=PATH, times=2)
    clock.move(20)
    old = ada.get("/anam/concurrency").get_json()
    assert (old["stale"], old["ageSeconds"], old["limit"]) == (True, 20, 10_000)
    clock.move(60)
    answer = ada.get("/anam/concurrency")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "anam_unavailable")
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e999", "NaN", "1e300", "-1", "true"])
def test_numbers_that_make_no_sense_are_not_told(
    sandbox: Sandbox, clock: ManualClock, number: str
) -> None:
    """They count as not told; the page gets its answer and the mint goes on."""
    ada = client_of(app_on(sandbox, clock), ADA)
    body = f'{{"limit": {number}, "active": {number}, "estimatedWaitSeconds": {number}}}'
    sandbox.fail_next(200, body=body, path=PATH)
    body = ada.get("/anam/concurrency").get_json()
    assert (body["limit"], body["active"], body["estimatedWaitSeconds"]) == (None, None, None)
    assert ask(ada)["status"] == 200


def test_a_full_account_refuses_before_the_mint(clock: ManualClock) -> None:
    """503 with Retry-After; no mint, no charge; and a token once there is room again."""
    with Sandbox(concurrency_limit=1) as sandbox:
        app = app_on(sandbox, clock, ANAM_TOKEN_RATE_LIMIT="2 per hour")
        ada, bob = client_of(app, ADA), client_of(app, BOB)
        first = ask(ada)
        anam = app.extensions["anam"]
        session = anam.client.start_session(first["sessionToken"], anam.deadline())
        clock.move(6)
        refused = ask(bob)
        assert (refused["status"], refused["code"]) == (503, "anam_at_capacity")
        assert refused["retryable"] is True
        assert int(refused["wait"]) == refused["retryAfter"] >= 1
        assert len(sandbox.ledger.mints) == 1
        assert ask(ada)["tokenId"] == first["tokenId"]  # a stored token needs no room
        anam.client.stop_session(session, sandbox.api_key, anam.deadline())
        clock.move(6)
        answer = bob.post(TOKEN_PATH, json={"slot": "tab"})
        assert (answer.status_code, answer.headers["RateLimit-Remaining"]) == (200, "1")
    metrics = anam.metrics_recorder.metrics()
    assert metrics["tokens_failed_by_code"] == {"anam_at_capacity": 1}


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 403}, {"body": "x"}, {"reset": True}]
)
def test_a_precheck_that_fails_stops_nobody(
    sandbox: Sandbox, clock: ManualClock, fault: dict[str, Any]
) -> None:
    """The mint goes on, and Anam is not asked again at once."""
    client = client_of(app_on(sandbox, clock), ADA)
    sandbox.fail_next(**{"status": 200, **fault}, path=PATH)
    assert [ask(client, slot)["status"] for slot in ("a", "b")] == [200, 200]
    assert sandbox.ledger.count(PATH) == 1


def test_nobody_asks_unless_it_is_wished(sandbox: Sandbox, clock: ManualClock) -> None:
    """By default a mint is one call."""
    client = client_of(make_app(sandbox, clock=clock), ADA)
    assert ask(client)["status"] == 200
    assert sandbox.ledger.count(PATH) == 0


def test_a_stored_token_asks_nothing(sandbox: Sandbox, clock: ManualClock) -> None:
    """A reused token costs no call to Anam at all."""
    client = client_of(app_on(sandbox, clock), ADA)
    ask(client)
    clock.move(60)
    assert ask(client)["status"] == 200
    assert sandbox.ledger.count(PATH) == 1
