"""The WebSocket: who is let in, who is put out, and that rude clients leave nothing behind."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from media.conftest import QUIET, wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.http.websocket import MAX_MESSAGE, WebSocket
from flask_anam.sandbox.streaming.media_session import CallTiming


def _start(sandbox: Sandbox, config: dict[str, Any] | None = None) -> str:
    headers = {"Authorization": f"Bearer {sandbox.issue_token({**QUIET, **(config or {})})}"}
    answer = requests.post(f"{sandbox.url}/v1/engine/session", headers=headers, timeout=10)
    return str(answer.json()["sessionId"])


def _line(sandbox: Sandbox, session_id: str) -> ClientConnection:
    host = urlsplit(sandbox.url).netloc
    return connect(f"ws://{host}/ws?session_id={session_id}", proxy=None, max_size=None)


def _reach(line: ClientConnection) -> None:
    """Wait until the sandbox has taken the line over and read all that was sent."""
    assert line.ping().wait(20)


def _stop(sandbox: Sandbox, session_id: str) -> None:
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    url = f"{sandbox.url}/v1/sessions/{session_id}/stop"
    assert requests.post(url, headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize(("known", "status"), [(False, 404), (True, 403)])
def test_an_unknown_or_ended_session_is_refused_before_the_upgrade(
    sandbox: Sandbox, known: bool, status: int
) -> None:
    """Clients that are let in and put out again come back for ever."""
    session_id = "00000000-0000-4000-8000-000000000000"
    if known:
        session_id = _start(sandbox)
        _stop(sandbox, session_id)
    with pytest.raises(InvalidStatus) as caught:
        _line(sandbox, session_id)
    response = caught.value.response
    assert response.status_code == status
    assert json.loads(response.body or b"")["error"] in {"Session not found", "Session ended"}
    answer = requests.post(
        f"{sandbox.url}/talk?session_id={session_id}", json={"content": "x"}, timeout=10
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": "\u00e4"}, 400),
    ],
)
def test_a_wrong_upgrade_is_refused_in_json(
    sandbox: Sandbox, changes: dict[str, str], status: int
) -> None:
    """The session goes on."""
    session_id = _start(sandbox)
    headers = {
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    given = {k: v.encode("latin-1") for k, v in {**headers, **changes}.items()}
    answer = requests.get(f"{sandbox.url}/ws?session_id={session_id}", headers=given, timeout=10)
    assert (answer.status_code, answer.json()["message"] != "") == (status, True)
    assert sandbox.ledger.sessions[0].ended_at is None


def test_the_upgrade_can_be_made_to_fail(sandbox: Sandbox) -> None:
    """Ordered faults hold for signalling too, and the ledger shows the upgrade."""
    session_id = _start(sandbox)
    sandbox.fail_next(503, path="/ws")
    with pytest.raises(InvalidStatus):
        _line(sandbox, session_id)
    with _line(sandbox, session_id) as line:
        line.send("{}")
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
    id_ = _start(sandbox) if query is None else query
    answer = requests.post(f"{sandbox.url}/talk?session_id={id_}", json=body, timeout=10)
    assert (answer.status_code, "error" in answer.json()) == (status, True)


_GARBAGE: list[str | bytes] = [
    "",
    "not json",
    "[" * 50_000,
    "[]",
    "7",
    "{}",
    '{"actionType": 7}',
    '{"actionType": "heartbeat", "payload": ""}',
    '{"actionType": "unheard of", "payload": {}}',
    '{"actionType": "offer"}',
    '{"actionType": "offer", "payload": {"connectionDescription": {"sdp": 7}}}',
    '{"actionType": "offer", "payload": {"connectionDescription": {"sdp": "v=0 nonsense"}}}',
    '{"actionType": "icecandidate", "payload": {"candidate": "candidate:what"}}',
    '{"actionType": "icecandidate", "payload": {"candidate": 7}}',
    '{"actionType": "icecandidate", "payload": {"candidate": ""}}',
    '{"actionType": "talkstream", "payload": {"content": {}}}',
    '{"actionType": "agentaudioinput", "payload": {"audioData": "AAAA"}}',
    b"\xff\xfe binary",
]


@pytest.mark.usefixtures("nothing_left")
def test_garbage_is_survived(sandbox: Sandbox) -> None:
    """The line stays, the session stays, and an offer that makes no sense is a warning."""
    session_id = _start(sandbox)
    with _line(sandbox, session_id) as line:
        for message in _GARBAGE:
            line.send(message)
        warning = json.loads(line.recv(20))
        assert (warning["actionType"], warning["sessionId"]) == ("warning", session_id)
        _reach(line)
    assert sandbox.ledger.sessions[0].ended_at is None
    sandbox.stop()


def test_a_message_may_not_be_too_large(sandbox: Sandbox) -> None:
    """One of the largest size passes, a larger one ends the line with 1009."""
    with _line(sandbox, _start(sandbox)) as line:
        line.send("x" * MAX_MESSAGE)
        line.send(["x" * (MAX_MESSAGE // 2)] * 2)
        _reach(line)

        def send_too_much() -> None:
            line.send("x" * (MAX_MESSAGE + 1))  # the line may end while this is still under way
            line.recv(20)

        with pytest.raises(ConnectionClosed) as caught:
            send_too_much()
    assert caught.value.rcvd is None or caught.value.rcvd.code == 1009


def test_the_second_line_of_a_session_replaces_the_first(sandbox: Sandbox) -> None:
    """A client that comes back is served, its old line is closed."""
    session_id = _start(sandbox)
    with ExitStack() as stack:
        first = stack.enter_context(_line(sandbox, session_id))
        _reach(first)
        second = stack.enter_context(_line(sandbox, session_id))
        with pytest.raises(ConnectionClosed):
            first.recv(20)
        _stop(sandbox, session_id)
        assert json.loads(second.recv(20))["actionType"] == "endsession"


def test_a_restarted_session_ends_the_earlier_one(sandbox: Sandbox) -> None:
    """The same token again: the first client learns that it was replaced."""
    token = sandbox.issue_token(QUIET)
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{sandbox.url}/v1/engine/session"
    session_id = requests.post(url, headers=headers, timeout=10).json()["sessionId"]
    with _line(sandbox, session_id) as line:
        _reach(line)
        requests.post(url, headers=headers, timeout=10)
        message = json.loads(line.recv(20))
        assert "started again" in message["payload"]
        with _line(sandbox, session_id) as other:
            _reach(other)
    assert [s.ended_at is None for s in sandbox.ledger.sessions] == [False, True]


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_session_ends_a_while_after_its_line(sandbox: Sandbox, goodbye: bool) -> None:
    """At once with `endsession`; without it the client may come back."""
    sandbox._engine._timing = CallTiming(reconnect_timeout=600)
    session_id = _start(sandbox)
    with _line(sandbox, session_id) as line:
        _reach(line)
        (session,) = sandbox._engine._media_sessions.values()
    assert wait_for(lambda: session._end_timer)
    session._timing = CallTiming(reconnect_timeout=0.1)
    with _line(sandbox, session_id) as line:
        _reach(line)
        assert session._end_timer is None
        if goodbye:
            line.send(json.dumps({"actionType": "endsession", "payload": {}}))
            assert json.loads(line.recv(20))["actionType"] == "endsession"
    assert wait_for(lambda: sandbox.ledger.sessions[0].exit_status == "NORMAL_EXIT")
    assert sandbox._engine._media_sessions == {}


def test_a_slow_start_does_not_hold_up_the_line(make_sandbox: Callable[..., Sandbox]) -> None:
    """`start_delay` keeps a client waiting for its answer, and a stop does not wait for it."""
    sandbox = make_sandbox(start_delay=600)
    session_id = _start(sandbox)
    with _line(sandbox, session_id) as line:
        offer = {"connectionDescription": {"type": "offer", "sdp": "v=0"}}
        line.send(json.dumps({"actionType": "offer", "payload": offer}))
        _reach(line)
        _stop(sandbox, session_id)
        assert json.loads(line.recv(20))["actionType"] == "endsession"


def test_without_media_a_session_ends_with_the_reason(make_sandbox: Callable[..., Sandbox]) -> None:
    """The only way to tell a client why there is no video."""
    sandbox = make_sandbox(media=False)
    with _line(sandbox, _start(sandbox)) as line:
        line.send(json.dumps({"actionType": "offer", "payload": {}}))
        message = json.loads(line.recv(20))
        assert (message["actionType"], "media=False" in message["payload"]) == ("endsession", True)
    assert wait_for(lambda: sandbox.ledger.sessions[0].exit_status == "ERROR")


def test_stop_ends_streams_in_time(make_sandbox: Callable[..., Sandbox]) -> None:
    """Clients learn it, and a sandbox that starts again takes new ones."""
    sandbox = make_sandbox()
    with ExitStack() as stack:
        lines = [stack.enter_context(_line(sandbox, _start(sandbox))) for _ in range(5)]
        for line in lines:
            _reach(line)
        stopping = threading.Thread(target=sandbox.stop)
        stopping.start()
        for line in lines:
            assert json.loads(line.recv(20))["payload"] == "The sandbox has been stopped."
        stopping.join(20)
        assert not stopping.is_alive()
    sandbox.start()
    with _line(sandbox, _start(sandbox)) as line:
        _reach(line)


@contextmanager
def _pair(**settings: Any) -> Iterator[tuple[WebSocket, socket.socket]]:
    """Give the sandbox's end of a WebSocket and the client's bare socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as source:
        yield WebSocket(ours, source, **settings), theirs


def _frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    head = struct.pack("!BB", first, (0x80 if masked else 0) | len(payload))
    mask = b"\1\2\3\4"
    mixed = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + (mask + mixed if masked else payload)


@pytest.mark.parametrize(
    ("frames", "messages", "code"),
    [
        ([_frame(0x81, b"hi"), _frame(0x88, b"\x03\xe8")], ["hi"], 1000),
        ([_frame(0x01, b"a"), _frame(0x89, b"p"), _frame(0x80, b"b")], ["ab"], 1001),
        ([_frame(0x82, b"\0"), _frame(0x81, b"x")], ["x"], 1001),
        ([_frame(0x81, b"hi", masked=False)], [], 1002),
        ([_frame(0xC1, b"hi")], [], 1002),
        ([_frame(0x83, b"hi")], [], 1002),
        ([_frame(0x80, b"hi")], [], 1002),
        ([_frame(0x01, b"a"), _frame(0x81, b"b")], [], 1002),
        ([_frame(0x09, b"p")], [], 1002),
        ([_frame(0x81, b"\xff")], [], 1007),
        ([b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"], [], 1009),
    ],
)
def test_the_protocol_is_kept(frames: list[bytes], messages: list[str], code: int) -> None:
    """Fragments, pings and binary messages; what breaks the rules ends it with the right code."""
    with _pair() as (ours, theirs):
        theirs.sendall(b"".join(frames))
        theirs.shutdown(socket.SHUT_WR)
        assert list(ours.messages()) == messages
        last = theirs.recv(1000)[-4:]
    assert last[:2] == b"\x88\x02"
    assert struct.unpack("!H", last[2:])[0] == code


def test_a_client_whose_heartbeats_stop_is_gone() -> None:
    """A line that nobody closed ends when nothing comes for a while; its heartbeats keep it."""
    with _pair(receive_timeout=0.05) as (ours, theirs):
        theirs.sendall(_frame(0x81, b'{"actionType": "heartbeat"}'))
        assert list(ours.messages()) == ['{"actionType": "heartbeat"}']
        assert theirs.recv(1000) == struct.pack("!BBH", 0x88, 2, 1001)


def test_a_client_that_does_not_listen_is_given_up() -> None:
    """A full buffer does not block the sandbox for ever."""
    with _pair() as (ours, _):
        for _ in range(20):
            ours.send("warning", "s", "x" * 100_000)
        assert ours._closing
