"""Signalling: which WebSockets and talk commands are accepted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import requests
from sandbox.clients import open_websocket, start_session, stop_session
from websockets.exceptions import InvalidStatus

from flask_anam.sandbox import Sandbox

Caller = Callable[..., requests.Response]


def test_signalling_is_refused_before_any_upgrade(call: Caller) -> None:
    """A WebSocket client that names no session gets a plain 404."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x"}
    answer = call("GET", "/ws?session_id=x", headers=headers)
    assert answer.status_code == 404
    assert answer.json()["error"] == "Session not found"


@pytest.mark.parametrize(("known", "status"), [(False, 404), (True, 403)])
def test_an_unknown_or_ended_session_is_refused_before_the_upgrade(
    sandbox: Sandbox, known: bool, status: int
) -> None:
    """Clients that are let in and put out again come back for ever."""
    session_id = "00000000-0000-4000-8000-000000000000"
    if known:
        session_id = start_session(sandbox)
        stop_session(sandbox, session_id)
    with pytest.raises(InvalidStatus) as caught:
        open_websocket(sandbox, session_id)
    response = caught.value.response
    assert response.status_code == status
    assert json.loads(response.body or b"")["error"] in {"Session not found", "Session ended"}
    answer = requests.post(
        f"{sandbox.url}/talk?session_id={session_id}", json={"content": "x"}, timeout=10
    )
    assert answer.status_code == status


def test_the_upgrade_can_be_made_to_fail(sandbox: Sandbox) -> None:
    """Ordered faults hold for signalling too, and the ledger shows the upgrade."""
    session_id = start_session(sandbox)
    sandbox.fail_next(503, path="/ws")
    with pytest.raises(InvalidStatus):
        open_websocket(sandbox, session_id)
    with open_websocket(sandbox, session_id) as websocket:
        websocket.send("{}")
    statuses = [r.status for r in sandbox.ledger.requests if r.path == "/ws"]
    assert statuses == [503, 101]


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [("", {"content": "x"}, 404), (None, {"content": "x"}, 409), (None, {}, 400), (None, [], 400)],
)
def test_talk_needs_a_connected_session_and_a_text(
    sandbox: Sandbox, query: str | None, body: object, status: int
) -> None:
    """Refusals are JSON."""
    id_ = start_session(sandbox) if query is None else query
    answer = requests.post(f"{sandbox.url}/talk?session_id={id_}", json=body, timeout=10)
    assert (answer.status_code, "error" in answer.json()) == (status, True)
