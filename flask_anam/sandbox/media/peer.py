"""One WebRTC connection with a client: needs the libraries of the extra ``sandbox``."""

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

from flask_anam.sandbox.http.websocket import parse
from flask_anam.sandbox.media import addresses
from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.face import Face
from flask_anam.sandbox.media.tracks import Ear, PersonaAudio, PersonaVideo

logger = logging.getLogger("flask_anam.sandbox")

#: The data channel's name, and that of old SDKs (4.1.0), which know transcripts only.
_CHANNEL, _OLD_CHANNEL = "session", "chat"
#: A browser offers up to a dozen; more is a flood.
_MOST_CANDIDATES = 64
#: Names that hide an address. Asking the network for them takes a second and finds nothing, and
#: the connection is found without: the client's packets show where it is.
_HIDDEN_NAME = re.compile(r"^a=candidate:\S+ \d+ \S+ \d+ \S+\.local .*\r?\n", re.MULTILINE)
_LAST_CANDIDATE = re.compile(r"^a=end-of-candidates\r?\n", re.MULTILINE)

addresses.offer_loopback()


class Peer:
    """The sandbox's end of one connection; every method runs in the loop that made it.

    `ready` is called once media and data channel are open, `lost` when the client closed the
    connection (True) or it broke (False).
    """

    def __init__(
        self,
        actor: Actor,
        face: Face,
        rate: Callable[[], float],
        ready: Callable[[], None],
        lost: Callable[[bool], None],
    ) -> None:
        self._actor = actor
        self._ready = ready
        self._lost = lost
        self._channel: RTCDataChannel | None = None
        self._candidates = 0
        self._announced = self._closed = False
        self._listening: set[asyncio.Task[None]] = set()
        self._tracks = (PersonaVideo(actor, face, rate), PersonaAudio(actor))
        # Without a configuration aiortc would ask a public STUN server.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("connectionstatechange", self._state_changed)
        self._connection.on("datachannel", self._channel_opened)
        self._connection.on("track", self._track_came)

    async def answer(self, sdp: str) -> str:
        """Return the answer to the client's offer.

        Raises:
            Exception: Of many kinds, when the offer makes no sense.

        """
        shown = _HIDDEN_NAME.sub("", sdp)
        if shown != sdp:
            shown = _LAST_CANDIDATE.sub("", shown)
        connection = self._connection
        await connection.setRemoteDescription(RTCSessionDescription(shown, "offer"))
        for track in self._tracks:
            connection.addTrack(track)
        await connection.setLocalDescription(await connection.createAnswer())
        return str(connection.localDescription.sdp)

    async def add_candidate(self, payload: Mapping[str, Any]) -> None:
        """Take an ICE candidate of the client's; one that makes no sense is left out."""
        line = payload.get("candidate")
        self._candidates += 1
        if not isinstance(line, str) or self._candidates > _MOST_CANDIDATES:
            return
        with contextlib.suppress(Exception):
            candidate = candidate_from_sdp(line.partition(":")[2])
            if candidate.ip.endswith(".local") or candidate.protocol.lower() != "udp":
                return
            mid, index = payload.get("sdpMid"), payload.get("sdpMLineIndex")
            candidate.sdpMid = mid if isinstance(mid, str) else None
            candidate.sdpMLineIndex = index if isinstance(index, int) else None
            await self._connection.addIceCandidate(candidate)

    def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Send a message over the data channel, if it is open and the client knows this kind."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        if channel.label == _CHANNEL:
            channel.send(json.dumps({"messageType": kind, "data": data}))
        elif kind == "speechText":
            channel.send(json.dumps(data))

    async def close(self) -> None:
        """Say goodbye and let everything go; idempotent."""
        if self._closed:
            return
        self._closed = True
        for track in self._tracks:
            track.stop()
        await self._connection.close()
        for task in self._listening:
            task.cancel()

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        logger.debug("WebRTC connection is %s", state)
        if state == "connected":
            self._maybe_ready()
        elif state in ("closed", "failed") and not self._closed:
            self._lost(state == "closed")

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        if channel.label not in (_CHANNEL, _OLD_CHANNEL) or self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._heard)
        self._maybe_ready()

    def _maybe_ready(self) -> None:
        connected = self._connection.connectionState == "connected"
        if connected and self._channel is not None and not self._announced:
            self._announced = True
            self._ready()

    def _heard(self, data: object) -> None:
        message = parse(data) if isinstance(data, str) else None
        if message is not None:
            self._actor.hear(message)

    def _track_came(self, track: MediaStreamTrack) -> None:
        ear = Ear(lambda started: self._actor.user_speech(started=started))
        task = asyncio.ensure_future(ear.listen(track))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)
