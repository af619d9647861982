"""Media session: reconnects, its end after the last WebSocket, and the start delay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, cast

import pytest
from media.conftest import run
from sandbox.clients import open_websocket, start_session, stop_session, wait_for, wait_until_read
from websockets.exceptions import ConnectionClosed

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api.sessions import SessionStart
from flask_anam.sandbox.streaming.media_session import CallTiming, MediaSession


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


class Recorder:
    """A WebSocket and a peer connection that only record what is done with them."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []
        self.offers: list[str] = []
        self.closed = 0

    def send(self, action: str, _: str, payload: object) -> None:
        self.sent.append((action, payload))

    def disconnect(self) -> None:
        self.closed += 1

    async def answer(self, sdp: str) -> str:
        self.offers.append(sdp)
        return f"answer to {sdp}"

    async def close(self) -> None:
        self.closed += 1


class Session(MediaSession):
    """A media session without media, and how often its client was reported to have left."""

    def __init__(self, timing: CallTiming) -> None:
        self.departures = 0
        self.recorder = Recorder()
        start = SessionStart("id", None, None, {}, {}, None, "localhost", "key")
        super().__init__(start, timing, lambda: 5.0, self._count_departure)

    def _count_departure(self) -> None:
        self.departures += 1

    def _new_peer(self) -> Any:
        self._peer = cast("Any", self.recorder)
        return self._peer


def _offer(sdp: str) -> dict[str, Any]:
    return {"actionType": "offer", "payload": {"connectionDescription": {"sdp": sdp}}}


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def test_a_later_offer_replaces_the_one_that_waits() -> None:
    """Only the newest is answered, also when both have waited for an earlier connection's end."""

    async def work() -> list[str]:
        session = Session(CallTiming())
        async with session._negotiation:
            for sdp in ("first", "second"):
                await session.receive(_offer(sdp))
                await _until(lambda: session._tasks)
                await asyncio.sleep(0.01)
        await _until(lambda: not session._tasks)
        return session.recorder.offers

    assert run(work()) == ["second"]


def test_early_candidates_are_added_after_the_answer() -> None:
    """Those that come before it wait, up to a limit."""

    async def work() -> tuple[list[Any], int]:
        session = Session(CallTiming())
        added: list[Any] = []

        async def add(candidate: Any) -> None:
            added.append(candidate)

        session.recorder.add_candidate = add  # type: ignore[attr-defined]
        for number in range(70):
            await session.receive({"actionType": "icecandidate", "payload": {"n": number}})
        before = len(added)
        await session.receive(_offer("v=0"))
        await _until(lambda: len(added) >= 64)
        await session.receive({"actionType": "icecandidate", "payload": {"n": "late"}})
        return added, before

    added, before = run(work())
    assert before == 0
    assert [candidate["n"] for candidate in added] == [*range(64), "late"]


@pytest.mark.parametrize(("closed", "ends"), [(True, True), (False, False)])
def test_a_closed_connection_ends_the_session_and_a_broken_one_does_not(
    closed: bool, ends: bool
) -> None:
    """After a break the client offers another one; the peer is closed in either case."""

    async def work() -> tuple[bool, int]:
        session = Session(CallTiming())
        peer = session._new_peer()
        session._on_disconnect(peer, closed=closed)
        await _until(lambda: not session._tasks)
        return session._end_timer is not None, session.recorder.closed

    assert run(work()) == (ends, 1)


def test_the_sooner_of_two_ends_holds() -> None:
    """A second reason to end does not prolong the session; a reconnect calls both off."""

    async def work() -> None:
        session = Session(CallTiming())
        session._end_after(50)
        timer = session._end_timer
        session._end_after(600)
        assert session._end_timer is timer
        session._end_after(10)
        assert session._end_timer is not timer
        assert timer is not None
        assert timer.cancelled()
        await session.attach(cast("Any", session.recorder))
        assert session._end_timer is None

    run(work())


def test_an_ended_session_sends_its_reason_and_closes_everything() -> None:
    """Idempotent; a WebSocket that comes later is closed at once."""

    async def work() -> Session:
        session = Session(CallTiming())
        await session.attach(cast("Any", session.recorder))
        session._new_peer()
        await session.end("over")
        await session.end("over")
        assert session.recorder.closed == 2  # WebSocket and peer
        await session.attach(cast("Any", session.recorder))
        await session.receive({"actionType": "endsession"})
        return session

    session = run(work())
    assert session.recorder.sent == [("endsession", "over")]
    assert (session.recorder.closed, session.departures) == (3, 0)
