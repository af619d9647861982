"""Media session: reconnects, its end after the last WebSocket, and the start delay."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from sandbox.clients import open_websocket, start_session, stop_session, wait_for, wait_until_read
from websockets.exceptions import ConnectionClosed

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.streaming.media_session import CallTiming


def test_the_second_line_of_a_session_replaces_the_first(sandbox: Sandbox) -> None:
    """A client that comes back is served, its old WebSocket is closed."""
    session_id = start_session(sandbox)
    with ExitStack() as stack:
        first = stack.enter_context(open_websocket(sandbox, session_id))
        wait_until_read(first)
        second = stack.enter_context(open_websocket(sandbox, session_id))
        with pytest.raises(ConnectionClosed):
            first.recv(20)
        stop_session(sandbox, session_id)
        assert json.loads(second.recv(20))["actionType"] == "endsession"


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_session_ends_a_while_after_its_line(sandbox: Sandbox, goodbye: bool) -> None:
    """At once with `endsession`; without it the client may come back."""
    sandbox._engine._timing = CallTiming(reconnect_timeout=600)
    session_id = start_session(sandbox)
    with open_websocket(sandbox, session_id) as websocket:
        wait_until_read(websocket)
        (session,) = sandbox._engine._media_sessions.values()
    assert wait_for(lambda: session._end_timer)
    session._timing = CallTiming(reconnect_timeout=0.1)
    with open_websocket(sandbox, session_id) as websocket:
        wait_until_read(websocket)
        assert session._end_timer is None
        if goodbye:
            websocket.send(json.dumps({"actionType": "endsession", "payload": {}}))
            assert json.loads(websocket.recv(20))["actionType"] == "endsession"
    assert wait_for(lambda: sandbox.ledger.sessions[0].exit_status == "NORMAL_EXIT")
    assert sandbox._engine._media_sessions == {}


def test_a_slow_start_does_not_hold_up_the_line(make_sandbox: Callable[..., Sandbox]) -> None:
    """`start_delay` keeps a client waiting for its answer, and a stop does not wait for it."""
    sandbox = make_sandbox(start_delay=600)
    session_id = start_session(sandbox)
    with open_websocket(sandbox, session_id) as websocket:
        offer = {"connectionDescription": {"type": "offer", "sdp": "v=0"}}
        websocket.send(json.dumps({"actionType": "offer", "payload": offer}))
        wait_until_read(websocket)
        stop_session(sandbox, session_id)
        assert json.loads(websocket.recv(20))["actionType"] == "endsession"
