"""What streams: all calls of a sandbox, in one background thread."""

import asyncio
import functools
import importlib
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from flask_anam.sandbox.api.sessions import Sessions, SessionStart
from flask_anam.sandbox.http.websocket import WebSocket, parse
from flask_anam.sandbox.streaming.loop_thread import LoopThread
from flask_anam.sandbox.streaming.media_session import CallTiming, MediaSession

logger = logging.getLogger("flask_anam.sandbox")

#: The module that needs the libraries of the extra ``sandbox``.
_MEDIA = "flask_anam.sandbox.media.peer"
#: What a client is told when the libraries for video are missing.
INSTALL = 'This sandbox cannot stream video here: run pip install "Flask-Anam[sandbox]".'
#: What a client is told when the sandbox was made with ``media=False``.
NO_MEDIA = "This sandbox starts sessions but streams no video (media=False)."

#: Pictures a second: at most, at least, and for all calls together.
_RATE, _LOWEST_RATE, _RATE_FOR_ALL = 25.0, 5.0, 60.0
#: Seconds between looks at whether a session's time is over.
_LOOK_EVERY = 0.2
#: Seconds that stop() gives the goodbyes, and then the thread.
_FAREWELL, _JOIN = 0.6, 1.5


class SessionEngine:
    """Connects clients to their sessions; thread-safe, except for :meth:`after_fork`."""

    def __init__(self, sessions: Sessions, timing: CallTiming) -> None:
        self._sessions = sessions
        self._timing = timing
        self._background = LoopThread("anam-media")
        self._forget()
        sessions.on_end = self._ended

    def _forget(self) -> None:
        self._calls: dict[str, MediaSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = False
        # Taken while the lock of the sessions is held, so never the other way round.
        self._lock = threading.RLock()

    def open(self) -> None:
        """Take calls, after a stop too."""
        self._background.open()

    def warm_up(self) -> None:
        """Begin to import the libraries in a thread; cheap when they are there, or missing."""
        if self._timing.media and _MEDIA not in sys.modules:
            # No daemon: a process that ends in the middle of such an import may crash.
            threading.Thread(target=_import_media, name="anam-import").start()

    def after_fork(self) -> None:
        """Forget, in a forked child, the calls of the parent: they go on there."""
        self._background.after_fork((self._calls, self._tasks))
        self._forget()

    def serve(self, start: SessionStart, socket: WebSocket) -> None:
        """Serve one WebSocket of a session until either side ends it."""
        call = self._call_of(start)
        if not self._sessions.runs(start):
            self._ended(start.session_id, "The session has ended.")
        try:
            if self._background.run(lambda: self._attach(call, socket)):
                for text in socket.messages():
                    message = parse(text)
                    if message is not None and not self._pass_on(call, message):
                        break
        finally:
            socket.close()
            socket.cut()
            self._background.run(lambda: call.detach(socket))

    def say(self, session_id: str, text: str) -> bool:
        """Let a session's persona speak; False when nobody is connected to it."""
        call = self._calls.get(session_id)
        return call is not None and self._background.run(lambda: call.say(text))

    def warn(self, text: str) -> None:
        """Warn all clients."""
        for call in list(self._calls.values()):
            self._background.run(functools.partial(call.warn, text))

    def stop(self) -> None:
        """End all calls and the thread, within about two seconds; idempotent."""
        for session_id in list(self._calls):
            self._sessions.end(session_id, "CLOSED_BY_ENGINE", "The sandbox has been stopped.")
        if self._background.started:
            self._background.run(self._farewell, _FAREWELL + 0.2)
        self._background.stop(_JOIN)

    def _call_of(self, start: SessionStart) -> MediaSession:
        with self._lock:
            call = self._calls.get(start.session_id)
            if call is None:
                call = MediaSession(
                    start, self._timing, self._rate, self._finisher(start.session_id)
                )
                self._calls[start.session_id] = call
            return call

    def _finisher(self, session_id: str) -> Callable[[str], None]:
        return lambda status: self._sessions.end(session_id, status, "The client has left.")

    def _rate(self) -> float:
        """Return the pictures a second that each of the calls may have."""
        return min(_RATE, max(_LOWEST_RATE, _RATE_FOR_ALL / max(1, len(self._calls))))

    async def _attach(self, call: MediaSession, socket: WebSocket) -> None:
        await call.attach(socket)
        if not self._looking:
            self._looking = True
            self._start(self._look())

    async def _look(self) -> None:
        """End sessions whose time is over, as long as there are any."""
        while self._calls:
            await asyncio.sleep(_LOOK_EVERY)
            self._sessions.end_overdue()
        self._looking = False

    def _pass_on(self, call: MediaSession, message: Mapping[str, Any]) -> bool:
        if message.get("actionType") == "offer" and (obstacle := self._obstacle()):
            self._sessions.end(call.start.session_id, "ERROR", obstacle)
            return True  # until the client or the farewell ends it
        return self._background.run(lambda: self._receive(call, message))

    async def _receive(self, call: MediaSession, message: Mapping[str, Any]) -> None:
        try:
            await call.receive(message)
        except Exception:
            logger.exception("The sandbox failed at a signalling message")

    def _obstacle(self) -> str | None:
        """Return why there can be no media, None when there can; imports the libraries."""
        if not self._timing.media:
            return NO_MEDIA
        missing = _import_media()
        if missing is None:
            return None
        logger.warning("%s (%s)", INSTALL, missing)
        return INSTALL

    def _ended(self, session_id: str, reason: str) -> None:
        """Hang up, because a session has ended; may be called in any thread."""
        with self._lock:
            call = self._calls.pop(session_id, None)
        if call is not None:
            self._background.soon(lambda: self._start(call.end(reason)))

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _farewell(self) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_FAREWELL)


def _import_media() -> ImportError | None:
    try:
        importlib.import_module(_MEDIA)
    except ImportError as missing:
        return missing
    return None
