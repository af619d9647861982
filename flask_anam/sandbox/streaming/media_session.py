"""Media session: signalling and WebRTC connection of one client, from its offer to its end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_anam.sandbox.api.sessions import SessionStart
from flask_anam.sandbox.http.websocket import WebSocket
from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.face import Face
from flask_anam.sandbox.media.persona import Persona

if TYPE_CHECKING:
    from flask_anam.sandbox.media.peer import Peer

logger = logging.getLogger("flask_anam.sandbox")

#: Seconds between the message that a session has ended and the end of its connections.
_CLOSE_DELAY = 0.2
#: Seconds after the end of a WebRTC connection in which the client may offer another one.
_REOFFER_TIMEOUT = 1.0
#: ICE candidates that are queued before the offer is answered; more are ignored.
_MAX_EARLY_CANDIDATES = 64


@dataclass(frozen=True)
class CallTiming:
    """Delays of a media session, in seconds.

    `start_delay` is the time until an offer is answered, `reply_delay` the time until the persona
    replies, and `reconnect_timeout` how long a session outlives its last WebSocket.
    """

    start_delay: float = 0.0
    reply_delay: float = 0.0
    reconnect_timeout: float = 10.0


class MediaSession:
    """Media session of one client; every method runs in the engine's event loop.

    `frame_rate` gives the pictures a second that the session may have now; `on_client_left` is
    called when the client has ended the session or does not come back.
    """

    def __init__(
        self,
        start: SessionStart,
        timing: CallTiming,
        frame_rate: Callable[[], float],
        on_client_left: Callable[[], None],
    ) -> None:
        self.start = start
        self._timing = timing
        self._frame_rate = frame_rate
        self._on_client_left = on_client_left
        self._persona = Persona.from_config(start.persona_config, start.session_options)
        self._actor = Actor(
            self._persona,
            start.session_id,
            self._send_data,
            self._send_signal,
            reply_delay=timing.reply_delay,
        )
        self._socket: WebSocket | None = None
        self._peer: Peer | None = None
        self._offer: Mapping[str, Any] | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        # An answer or an end that is cancelled half-way would leak sockets: one after the other.
        self._negotiation = asyncio.Lock()
        self._negotiated = False
        self._early_candidates: list[Mapping[str, Any]] = []
        self._end_timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def attach(self, socket: WebSocket) -> None:
        """Use this WebSocket from now on; the client's earlier one is closed."""
        if self._ended:
            socket.disconnect()
            return
        earlier, self._socket = self._socket, socket
        if earlier is not None:
            earlier.disconnect()
        self._cancel_end()

    async def detach(self, socket: WebSocket) -> None:
        """Handle the end of a WebSocket: the client may reconnect for a while."""
        if socket is self._socket:
            self._socket = None
            self._end_after(self._timing.reconnect_timeout)

    async def receive(self, message: Mapping[str, Any]) -> None:
        """Handle one signalling message; unknown ones are ignored."""
        action, payload = message.get("actionType"), message.get("payload")
        if self._ended or not isinstance(action, str):
            return
        if action == "endsession":
            self._on_client_left()
        elif not isinstance(payload, dict):
            return
        elif action == "offer":
            self._schedule_answer(payload)
        elif action == "icecandidate" and self._peer is not None and self._negotiated:
            await self._peer.add_candidate(payload)
        elif action == "icecandidate" and len(self._early_candidates) < _MAX_EARLY_CANDIDATES:
            self._early_candidates.append(payload)
        elif action == "talkstream":
            self._actor.stream(payload)

    async def say(self, text: str) -> None:
        """Let the persona speak."""
        self._actor.say(text)

    async def warn(self, text: str) -> None:
        """Send the client a warning."""
        self._send_signal("warning", text)

    async def end(self, reason: str) -> None:
        """Send the client the reason of the end, and close everything; idempotent."""
        if self._ended:
            return
        self._ended = True
        self._cancel_end()
        self._cancel_answer()
        self._send_signal("endsession", reason)
        try:
            await asyncio.sleep(_CLOSE_DELAY)
        finally:
            socket, self._socket = self._socket, None
            if socket is not None:
                socket.disconnect()
            async with self._negotiation:
                await self._close_peer()

    async def _close_peer(self) -> None:
        peer, self._peer, self._negotiated = self._peer, None, False
        if peer is not None:
            await peer.close()

    def _schedule_answer(self, payload: Mapping[str, Any]) -> None:
        description = payload.get("connectionDescription")
        sdp = description.get("sdp") if isinstance(description, dict) else None
        if not isinstance(sdp, str):
            return
        self._cancel_end()
        self._cancel_answer()
        self._offer = payload
        self._answer_timer = asyncio.get_running_loop().call_later(
            self._timing.start_delay, lambda: self._create_task(self._answer(payload, sdp))
        )

    def _cancel_answer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()

    def _create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, payload: Mapping[str, Any], sdp: str) -> None:
        async with self._negotiation:
            # A later offer replaces this one.
            if not self._ended and payload is self._offer:
                await self._close_peer()
                await self._answer_with(self._new_peer(), sdp)

    async def _answer_with(self, peer: "Peer", sdp: str) -> None:
        try:
            answer = await peer.answer(sdp)
        except Exception as exc:  # noqa: BLE001 - whatever an invalid offer makes aiortc raise
            logger.debug("An offer could not be answered: %r", exc)
            self._send_signal("warning", "The sandbox could not use the offer.")
            return
        if self._ended or peer is not self._peer:
            return
        self._send_signal("answer", {"type": "answer", "sdp": answer})
        self._negotiated = True
        early, self._early_candidates = self._early_candidates, []
        for candidate in early:
            await peer.add_candidate(candidate)

    def _new_peer(self) -> "Peer":
        # Imported here, so that a process to which no client connects need not load aiortc.
        from flask_anam.sandbox.media.peer import Peer

        face = Face(self._persona.avatar, self._persona.size)
        peer = Peer(
            self._actor,
            face,
            self._frame_rate,
            self._on_ready,
            lambda closed: self._on_disconnect(peer, closed=closed),
        )
        self._peer = peer
        return peer

    def _on_ready(self) -> None:
        self._send_signal("sessionready", {})
        self._actor.greet()

    def _on_disconnect(self, peer: "Peer", *, closed: bool) -> None:
        """Handle the end of a connection: `closed` by the client, or broken."""
        if peer is not self._peer or self._ended:
            return
        self._peer = None
        self._create_task(peer.close())
        # If it broke, the client offers another one, over the WebSocket that it still has.
        if closed:
            self._end_after(_REOFFER_TIMEOUT)

    def _end_after(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        ends_sooner = self._end_timer is not None and (
            self._end_timer.when() <= loop.time() + seconds
        )
        if not self._ended and not ends_sooner:
            self._cancel_end()
            self._end_timer = loop.call_later(seconds, self._on_client_left)

    def _cancel_end(self) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None

    def _send_data(self, kind: str, data: Mapping[str, Any]) -> None:
        if self._peer is not None:
            self._peer.send(kind, data)

    def _send_signal(self, action: str, payload: object) -> None:
        if self._socket is not None:
            self._socket.send(action, self.start.session_id, payload)
