"""WebRTC peer connection with a client; needs the libraries of the extra ``sandbox``."""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp

from flask_anam.sandbox.http.messages import parse_object
from flask_anam.sandbox.media import addresses
from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.face import Face
from flask_anam.sandbox.media.tracks import PersonaAudio, PersonaVideo, VoiceActivityDetector

logger = logging.getLogger("flask_anam.sandbox")

#: Label of the data channel.
_CHANNEL = "session"
#: Label of the data channel of old SDKs (4.1.0), which know transcripts only.
_OLD_CHANNEL = "chat"
#: ICE candidates of a client that are used; a browser offers up to a dozen.
_MAX_CANDIDATES = 64
#: ICE candidates with an mDNS name in place of an address. To resolve the name takes a second and
#: fails, and the connection works without it: the client's packets show its address.
_MDNS_CANDIDATE = re.compile(r"^a=candidate:\S+ \d+ \S+ \d+ \S+\.local .*\r?\n", re.MULTILINE)
_LAST_CANDIDATE = re.compile(r"^a=end-of-candidates\r?\n", re.MULTILINE)

addresses.offer_loopback()


class Peer:
    """The sandbox's side of one peer connection; every method runs in the loop that made it.

    `on_ready` is called once media and data channel are open, `on_disconnect` when the client
    closed the connection (True) or it broke (False).
    """

    def __init__(
        self,
        actor: Actor,
        face: Face,
        frame_rate: Callable[[], float],
        on_ready: Callable[[], None],
        on_disconnect: Callable[[bool], None],
    ) -> None:
        self._actor = actor
        self._on_ready = on_ready
        self._on_disconnect = on_disconnect
        self._channel: RTCDataChannel | None = None
        self._candidates = 0
        self._is_ready = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._tracks = (PersonaVideo(actor, face, frame_rate), PersonaAudio(actor))
        # Without a configuration aiortc would ask a public STUN server.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("connectionstatechange", self._on_state_change)
        self._connection.on("datachannel", self._on_channel)
        self._connection.on("track", self._on_track)

    async def answer(self, sdp: str) -> str:
        """Return the answer to the client's offer.

        Raises:
            Exception: The offer is invalid; aiortc raises exceptions of many types.

        """
        offer = _MDNS_CANDIDATE.sub("", sdp)
        if offer != sdp:
            offer = _LAST_CANDIDATE.sub("", offer)
        connection = self._connection
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for track in self._tracks:
            connection.addTrack(track)
        await connection.setLocalDescription(await connection.createAnswer())
        return str(connection.localDescription.sdp)

    async def add_candidate(self, payload: Mapping[str, Any]) -> None:
        """Add an ICE candidate of the client; an invalid one is ignored."""
        line = payload.get("candidate")
        self._candidates += 1
        if not isinstance(line, str) or self._candidates > _MAX_CANDIDATES:
            return
        with contextlib.suppress(Exception):
            candidate = candidate_from_sdp(line.partition(":")[2])
            if candidate.ip.endswith(".local") or candidate.protocol.lower() != "udp":
                return
            mid, index = payload.get("sdpMid"), payload.get("sdpMLineIndex")
            candidate.sdpMid = mid if isinstance(mid, str) else None
            candidate.sdpMLineIndex = index if isinstance(index, int) else None
            await self._connection.addIceCandidate(candidate)

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        """Send a message over the data channel, if it is open and the client knows this kind."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        if channel.label == _CHANNEL:
            channel.send(json.dumps({"messageType": kind, "data": data}))
        elif kind == "speechText":
            channel.send(json.dumps(data))

    async def close(self) -> None:
        """Stop the tracks and close the connection; idempotent."""
        if self._closed:
            return
        self._closed = True
        for track in self._tracks:
            track.stop()
        await self._connection.close()
        for task in self._tasks:
            task.cancel()

    def _on_state_change(self) -> None:
        state = self._connection.connectionState
        logger.debug("WebRTC connection is %s", state)
        if state == "connected":
            self._maybe_ready()
        elif state in ("closed", "failed") and not self._closed:
            self._on_disconnect(state == "closed")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label not in (_CHANNEL, _OLD_CHANNEL) or self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._on_message)
        self._maybe_ready()

    def _maybe_ready(self) -> None:
        connected = self._connection.connectionState == "connected"
        if connected and self._channel is not None and not self._is_ready:
            self._is_ready = True
            self._on_ready()

    def _on_message(self, data: object) -> None:
        message = parse_object(data) if isinstance(data, str) else None
        if message is not None:
            self._actor.receive(message)

    def _on_track(self, track: MediaStreamTrack) -> None:
        detector = VoiceActivityDetector(lambda started: self._actor.user_speech(started=started))
        task = asyncio.ensure_future(detector.consume(track))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
