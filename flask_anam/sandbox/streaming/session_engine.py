"""Session engine: all media sessions of a sandbox, in one event loop thread."""

import asyncio
import functools
import importlib
import logging
import sys
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

from flask_anam.sandbox.api.sessions import CLIENT_EXIT, SERVER_EXIT, Sessions, SessionStart
from flask_anam.sandbox.http.messages import parse_object
from flask_anam.sandbox.http.websocket import WebSocket
from flask_anam.sandbox.streaming.loop_thread import LoopThread
from flask_anam.sandbox.streaming.media_session import CallTiming, MediaSession

logger = logging.getLogger("flask_anam.sandbox")

#: The module that needs the libraries of the extra ``sandbox``.
_MEDIA = "flask_anam.sandbox.media.peer"
#: Reason of the end of a session when the libraries for video are missing.
INSTALL = 'This sandbox cannot stream video here: run pip install "Flask-Anam[sandbox]".'
#: Reason of the end of a session when the sandbox was made with ``media=False``.
NO_MEDIA = "This sandbox starts sessions but streams no video (media=False)."

#: Largest frame rate of a session, in pictures a second.
_MAX_FPS = 25.0
#: Smallest frame rate of a session, in pictures a second.
_MIN_FPS = 5.0
#: Frame rate that all sessions share, in pictures a second.
_TOTAL_FPS = 60.0
#: Seconds between checks for sessions that have reached their maximum length.
_CHECK_INTERVAL = 0.2
#: Seconds that stop() waits for the sessions to close their connections.
_CLOSE_TIMEOUT = 0.6
#: Seconds that stop() waits for the thread after that.
_JOIN_TIMEOUT = 1.5


class SessionEngine:
    """Session engine: connects clients to sessions.

    Thread-safe, except for :meth:`reinit_after_fork`.
    """

    def __init__(self, sessions: Sessions, timing: CallTiming, *, media: bool) -> None:
        self._sessions = sessions
        self._timing = timing
        self._media = media
        self._thread = LoopThread("anam-media")
        self._reset()
        sessions.on_end = self._on_end

    def _reset(self) -> None:
        self._media_sessions: dict[str, MediaSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._checking = False
        # Taken while the lock of the sessions is held, so never the other way round.
        self._lock = threading.RLock()

    def open(self) -> None:
        """Accept clients, also after a stop."""
        self._thread.open()

    def warm_up(self) -> None:
        """Begin to import the libraries in a thread; cheap if they are imported, or missing."""
        if self._media and _MEDIA not in sys.modules:
            # No daemon: a process that ends in the middle of such an import may crash.
            threading.Thread(target=_import_media, name="anam-import").start()

    def reinit_after_fork(self) -> None:
        """Drop, in a forked child, the parent's media sessions: they go on there."""
        self._thread.reinit_after_fork((self._media_sessions, self._tasks))
        self._reset()

    def serve(self, start: SessionStart, socket: WebSocket) -> None:
        """Serve one WebSocket of a session until either side closes it."""
        session = self._media_session(start)
        try:
            if self._thread.run(lambda: self._attach(session, socket)):
                # It may have ended before there was a media session that could be ended with it.
                if not self._sessions.is_running(start):
                    self._on_end(start.session_id, "The session has ended.")
                for text in socket.messages():
                    message = parse_object(text)
                    if message is not None and not self._handle(session, message):
                        break
        finally:
            socket.disconnect()
            self._thread.run(lambda: session.detach(socket))

    def say(self, session_id: str, text: str) -> bool:
        """Let a session's persona speak; return False when no client is connected to it."""
        session = self._media_sessions.get(session_id)
        return session is not None and self._thread.run(lambda: session.say(text))

    def warn(self, text: str) -> None:
        """Send a warning to all clients."""
        for session in list(self._media_sessions.values()):
            self._thread.run(functools.partial(session.warn, text))

    def stop(self) -> None:
        """End all sessions and the thread, within about two seconds; idempotent."""
        for session_id in list(self._media_sessions):
            self._sessions.end(session_id, SERVER_EXIT, "The sandbox has been stopped.")
        if self._thread.started:
            self._thread.run(self._wait_for_tasks, _CLOSE_TIMEOUT + 0.2)
        self._thread.stop(_JOIN_TIMEOUT)

    def _media_session(self, start: SessionStart) -> MediaSession:
        with self._lock:
            session = self._media_sessions.get(start.session_id)
            if session is None:
                session = MediaSession(
                    start, self._timing, self._frame_rate, lambda: self._client_left(start)
                )
                self._media_sessions[start.session_id] = session
            return session

    def _client_left(self, start: SessionStart) -> None:
        self._sessions.end(start.session_id, CLIENT_EXIT, "The client has left.")

    def _frame_rate(self) -> float:
        """Return the pictures a second that each session may have."""
        share = _TOTAL_FPS / max(1, len(self._media_sessions))
        return min(_MAX_FPS, max(_MIN_FPS, share))

    async def _attach(self, session: MediaSession, socket: WebSocket) -> None:
        await session.attach(socket)
        if not self._checking:
            self._checking = True
            self._create_task(self._end_overdue())

    async def _end_overdue(self) -> None:
        """End sessions that have reached their maximum length, as long as clients are connected."""
        while self._media_sessions:
            await asyncio.sleep(_CHECK_INTERVAL)
            self._sessions.end_overdue()
        self._checking = False

    def _handle(self, session: MediaSession, message: Mapping[str, Any]) -> bool:
        if message.get("actionType") == "offer" and (reason := self._why_no_media()):
            self._sessions.end(session.start.session_id, "ERROR", reason)
            return True  # until the client, or the end of the media session, closes the socket
        return self._thread.run(lambda: self._receive(session, message))

    async def _receive(self, session: MediaSession, message: Mapping[str, Any]) -> None:
        try:
            await session.receive(message)
        except Exception:
            logger.exception("The sandbox failed at a signalling message")

    def _why_no_media(self) -> str | None:
        """Return why nothing can be streamed, None when it can; imports the libraries."""
        if not self._media:
            return NO_MEDIA
        error = _import_media()
        if error is None:
            return None
        logger.warning("%s (%s)", INSTALL, error)
        return INSTALL

    def _on_end(self, session_id: str, reason: str) -> None:
        """Disconnect the client of a session that has ended; may be called in any thread."""
        with self._lock:
            session = self._media_sessions.pop(session_id, None)
        if session is not None:
            self._thread.call_soon(lambda: self._create_task(session.end(reason)))

    def _create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait_for_tasks(self) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_CLOSE_TIMEOUT)


def _import_media() -> ImportError | None:
    try:
        importlib.import_module(_MEDIA)
    except ImportError as exc:
        return exc
    return None
