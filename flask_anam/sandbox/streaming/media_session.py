"""One session on the line: its signalling, its WebRTC connection, and how it ends."""

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

#: Seconds between the message that a session is over and the end of its connections.
_PARTING = 0.2
#: Seconds after the end of a WebRTC connection in which the client may offer another one.
_REOFFER_WITHIN = 1.0
_MOST_EARLY_CANDIDATES = 64


@dataclass(frozen=True)
class CallTiming:
    """How calls behave; times are in seconds.

    `start_delay` is what an answer to an offer takes, `reply_delay` what a reply takes, and
    `gone_after` how long a session outlives its last WebSocket. `media` is whether there is any.
    """

    media: bool = True
    start_delay: float = 0.0
    reply_delay: float = 0.0
    gone_after: float = 10.0


class MediaSession:
    """A session that a client has reached; belongs to the engine's thread.

    `finish` is called with the exit status when the client is gone, `rate` gives the pictures a
    second that the machine has room for.
    """

    def __init__(
        self,
        start: SessionStart,
        timing: CallTiming,
        rate: Callable[[], float],
        finish: Callable[[str], None],
    ) -> None:
        self.start = start
        self._timing = timing
        self._rate = rate
        self._finish = finish
        self._persona = Persona.of(start.persona_config, start.session_options)
        self._actor = Actor(
            self._persona,
            start.session_id,
            self._tell,
            self._signal,
            reply_delay=timing.reply_delay,
        )
        self._socket: WebSocket | None = None
        self._peer: Peer | None = None
        self._offer: Mapping[str, Any] | None = None
        self._delay: asyncio.TimerHandle | None = None
        # An answer or an end that is cut short would leave sockets behind: one after the other.
        self._making_up = asyncio.Lock()
        self._negotiated = False
        self._early: list[Mapping[str, Any]] = []
        self._leaving: asyncio.TimerHandle | None = None
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def attach(self, socket: WebSocket) -> None:
        """Take over the line; the client's earlier one is closed."""
        if self._ended:
            socket.close()
            socket.cut()
            return
        earlier, self._socket = self._socket, socket
        if earlier is not None:
            earlier.close()
            earlier.cut()
        self._stay()

    async def detach(self, socket: WebSocket) -> None:
        """Note that the line is dead: the client may come back for a while."""
        if socket is self._socket:
            self._socket = None
            self._leave_in(self._timing.gone_after)

    async def receive(self, message: Mapping[str, Any]) -> None:
        """Act on one signalling message; what it does not know, it ignores."""
        action, payload = message.get("actionType"), message.get("payload")
        if self._ended or not isinstance(action, str):
            return
        if action == "endsession":
            self._finish("NORMAL_EXIT")
        elif not isinstance(payload, dict):
            return
        elif action == "offer":
            self._answer_soon(payload)
        elif action == "icecandidate" and self._peer is not None and self._negotiated:
            await self._peer.add_candidate(payload)
        elif action == "icecandidate" and len(self._early) < _MOST_EARLY_CANDIDATES:
            self._early.append(payload)
        elif action == "talkstream":
            self._actor.stream(payload)

    async def say(self, text: str) -> None:
        """Let the persona speak."""
        self._actor.say(text)

    async def warn(self, text: str) -> None:
        """Send the client a warning."""
        self._signal("warning", text)

    async def end(self, reason: str) -> None:
        """Tell the client why it is over, and close everything; idempotent."""
        if self._ended:
            return
        self._ended = True
        self._stay()
        if self._delay is not None:
            self._delay.cancel()
        self._signal("endsession", reason)
        try:
            await asyncio.sleep(_PARTING)
        finally:
            socket, self._socket = self._socket, None
            if socket is not None:
                socket.close()
                socket.cut()
            async with self._making_up:
                peer, self._peer = self._peer, None
                if peer is not None:
                    await peer.close()

    def _answer_soon(self, payload: Mapping[str, Any]) -> None:
        description = payload.get("connectionDescription")
        sdp = description.get("sdp") if isinstance(description, dict) else None
        if not isinstance(sdp, str):
            return
        self._stay()
        if self._delay is not None:
            self._delay.cancel()
        self._offer = payload
        self._delay = asyncio.get_running_loop().call_later(
            self._timing.start_delay, lambda: self._in_background(self._answer(payload, sdp))
        )

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, payload: Mapping[str, Any], sdp: str) -> None:
        async with self._making_up:
            # A later offer takes the place of this one.
            if not self._ended and payload is self._offer:
                await self._answer_with(await self._replace_peer(), sdp)

    async def _answer_with(self, peer: "Peer", sdp: str) -> None:
        try:
            answer = await peer.answer(sdp)
        except Exception as failure:  # noqa: BLE001 - whatever an odd offer makes aiortc raise
            logger.debug("An offer could not be answered: %r", failure)
            self._signal("warning", "The sandbox could not use the offer.")
            return
        if self._ended or peer is not self._peer:
            return
        self._signal("answer", {"type": "answer", "sdp": answer})
        self._negotiated = True
        early, self._early = self._early, []
        for candidate in early:
            await peer.add_candidate(candidate)

    async def _replace_peer(self) -> "Peer":
        # Imported here, so that nobody pays for aiortc who never connects.
        from flask_anam.sandbox.media.peer import Peer

        earlier, self._peer, self._negotiated = self._peer, None, False
        if earlier is not None:
            await earlier.close()
        face = Face(self._persona.avatar, self._persona.size)
        peer = Peer(self._actor, face, self._rate, self._ready, lambda said: self._lost(peer, said))
        self._peer = peer
        return peer

    def _ready(self) -> None:
        self._signal("sessionready", {})
        self._actor.greet()

    def _lost(self, peer: "Peer", said: bool) -> None:
        """React to a connection that the client closed, or that broke."""
        if peer is not self._peer or self._ended:
            return
        self._peer = None
        self._in_background(peer.close())
        # After a break the client offers again, over the line that it still has.
        if said:
            self._leave_in(_REOFFER_WITHIN)

    def _leave_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        sooner = self._leaving is not None and self._leaving.when() <= loop.time() + seconds
        if not self._ended and not sooner:
            self._stay()
            self._leaving = loop.call_later(seconds, self._finish, "NORMAL_EXIT")

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _tell(self, kind: str, data: Mapping[str, Any]) -> None:
        if self._peer is not None:
            self._peer.tell(kind, data)

    def _signal(self, action: str, payload: object) -> None:
        if self._socket is not None:
            self._socket.send(action, self.start.session_id, payload)
