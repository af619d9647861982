"""WebSocket: the upgrade, framing, close codes, timeouts and the size limit."""

from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from sandbox.clients import open_websocket, start_session, wait_until_read
from websockets.exceptions import ConnectionClosed

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.http.websocket import MAX_MESSAGE, WebSocket


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
    session_id = start_session(sandbox)
    headers = {
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    encoded = {k: v.encode("latin-1") for k, v in {**headers, **changes}.items()}
    answer = requests.get(f"{sandbox.url}/ws?session_id={session_id}", headers=encoded, timeout=10)
    assert (answer.status_code, answer.json()["message"] != "") == (status, True)
    assert sandbox.ledger.sessions[0].ended_at is None


def test_a_message_may_not_be_too_large(sandbox: Sandbox) -> None:
    """One of the largest size passes, a larger one ends the connection with 1009."""
    with open_websocket(sandbox, start_session(sandbox)) as websocket:
        websocket.send("x" * MAX_MESSAGE)
        websocket.send(["x" * (MAX_MESSAGE // 2)] * 2)
        wait_until_read(websocket)

        def send_too_much() -> None:
            websocket.send("x" * (MAX_MESSAGE + 1))  # the connection may end meanwhile
            websocket.recv(20)

        with pytest.raises(ConnectionClosed) as caught:
            send_too_much()
    assert caught.value.rcvd is None or caught.value.rcvd.code == 1009


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
        ([b"\x89\xfe\x00\x7e" + bytes(4 + 126)], [], 1002),
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


def test_the_fragments_of_a_message_have_a_size_limit_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left of the limit after the first fragments is what the next one may have."""
    monkeypatch.setattr("flask_anam.sandbox.http.websocket.MAX_MESSAGE", 200)
    with _pair() as (ours, theirs):
        theirs.sendall(_frame(0x01, b"a" * 100) + b"\x80\xfe\x00\x7e")
        assert list(ours.messages()) == []
        assert theirs.recv(1000) == struct.pack("!BBH", 0x88, 2, 1009)


def test_a_client_whose_heartbeats_stop_is_gone() -> None:
    """A connection that nobody closed ends when nothing comes; heartbeats keep it."""
    with _pair(receive_timeout=0.05) as (ours, theirs):
        theirs.sendall(_frame(0x81, b'{"actionType": "heartbeat"}'))
        assert list(ours.messages()) == ['{"actionType": "heartbeat"}']
        assert theirs.recv(1000) == struct.pack("!BBH", 0x88, 2, 1001)


@pytest.mark.slow
def test_a_client_that_does_not_listen_is_given_up() -> None:
    """A full buffer does not block the sandbox for ever."""
    with _pair() as (ours, _):
        for _ in range(20):
            ours.send("warning", "s", "x" * 100_000)
        assert ours._closing
