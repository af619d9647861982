"""WebRTC peer connection: readiness, data channel messages, candidates and the end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from media.conftest import run

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.face import Face
from flask_anam.sandbox.media.peer import Peer
from flask_anam.sandbox.media.persona import Persona


class Connection:
    """A client's peer connection to a peer of the sandbox, and what both reported."""

    def __init__(self, channel: str) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        self.ready = asyncio.Event()
        self.disconnected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        config = {**catalog.EXAMPLE_PERSONA, "skipGreeting": True}
        actor = Actor(
            Persona.from_config(config, None),
            "s",
            lambda *message: self.sent.append(message),
            lambda *_: None,
            reply_delay=0,
        )
        face = Face(catalog.AVATAR_ID, (64, 64))
        self.peer = Peer(actor, face, lambda: 5.0, self.ready.set, self.disconnected.set_result)
        self.client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.client.createDataChannel(channel)
        self.channel.on("message", lambda text: self.received.append(json.loads(text)))
        self.opened = asyncio.Event()
        self.channel.on("open", self.opened.set)
        for kind in ("video", "audio"):
            self.client.addTransceiver(kind, direction="recvonly")

    async def connect(self) -> None:
        """Offer, answer, and wait until the peer is ready."""
        await self.client.setLocalDescription(await self.client.createOffer())
        answer = await self.peer.answer(self.client.localDescription.sdp)
        await self.client.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.wait_for(self.ready.wait(), 20)
        await asyncio.wait_for(self.opened.wait(), 20)

    async def until_received(self) -> None:
        """Wait for a message from the peer."""
        async with asyncio.timeout(20):
            while not self.received:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("session", [{"messageType": "other", "data": {"n": 1}}]),
        ("chat", [{"content": "hi"}]),
    ],
)
def test_messages_fit_the_clients_data_channel(channel: str, expected: list[Any]) -> None:
    """Old SDKs, with the channel ``chat``, get transcripts only, and without an envelope."""

    async def work() -> list[dict[str, Any]]:
        connection = Connection(channel)
        connection.peer.send("other", {"n": 0})  # not open yet: dropped
        await connection.connect()
        connection.peer.send("other", {"n": 1})
        if channel == "chat":
            connection.peer.send("speechText", {"content": "hi"})
        await connection.until_received()
        await connection.peer.close()
        await connection.client.close()
        return connection.received

    assert run(work()) == expected


def test_what_the_client_sends_reaches_the_actor() -> None:
    """A speech is answered with its transcript; what is no JSON object is ignored."""

    async def work() -> list[tuple[str, Any]]:
        connection = Connection("session")
        await connection.connect()
        for text in ("nonsense", "[]", '{"message_type": "speech", "content": "hi"}'):
            connection.channel.send(text)
        async with asyncio.timeout(20):
            while not connection.sent:
                await asyncio.sleep(0.01)
        await connection.peer.close()
        await connection.client.close()
        return connection.sent

    kind, data = run(work())[0]
    assert (kind, data["content"], data["role"]) == ("speechText", "hi", "user")


def test_a_client_that_closes_is_a_disconnect() -> None:
    """True: it was closed, not broken; closing our own side is none."""

    async def work() -> bool:
        connection = Connection("session")
        await connection.connect()
        await connection.client.close()
        closed = await asyncio.wait_for(connection.disconnected, 20)
        await connection.peer.close()
        await connection.peer.close()
        return closed

    assert run(work()) is True


def _added(candidates: list[dict[str, Any]]) -> list[Any]:
    """Return what of a client's ICE candidates reaches aiortc."""
    added: list[Any] = []

    async def add(candidate: Any) -> None:
        added.append(candidate)

    async def work() -> None:
        connection = Connection("session")
        connection.peer._connection.addIceCandidate = add  # type: ignore[method-assign]
        for candidate in candidates:
            await connection.peer.add_candidate(candidate)
        await connection.peer.close()
        await connection.client.close()

    run(work())
    return added


@pytest.mark.parametrize(
    "line",
    [
        7,
        None,
        "",
        "candidate:what",
        "candidate:1 1 udp 1 abc.local 9 typ host",
        "candidate:1 1 tcp 1 127.0.0.1 9 typ host",
    ],
)
def test_candidates_that_are_of_no_use_are_ignored(line: object) -> None:
    """Neither invalid ones, nor names that hide an address, nor TCP."""
    assert _added([{"candidate": line}]) == []


def test_candidates_are_added_up_to_a_limit() -> None:
    """Each with the part of the session that it belongs to."""
    line = "candidate:1 1 udp 1 127.0.0.1 9 typ host"
    added = _added([{"candidate": line, "sdpMid": "0", "sdpMLineIndex": 1}] * 70)
    assert len(added) == 64
    assert (added[0].ip, added[0].sdpMid, added[0].sdpMLineIndex) == ("127.0.0.1", "0", 1)
