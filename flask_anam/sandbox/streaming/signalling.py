"""Signalling: the WebSocket of a session, and the command that makes its persona speak."""

import socket
from typing import BinaryIO

from flask_anam.sandbox.api.sessions import Sessions
from flask_anam.sandbox.http.messages import ApiError, Request, Response, json_response, parse_json
from flask_anam.sandbox.http.websocket import WebSocket, accept_headers
from flask_anam.sandbox.streaming.session_engine import SessionEngine


class Signalling:
    """Signalling endpoints, for clients that know the id of a running session; stateless."""

    def __init__(self, sessions: Sessions, engine: SessionEngine) -> None:
        self._sessions = sessions
        self._engine = engine

    def connect(self, request: Request, _: str) -> Response:
        """Answer ``GET /ws?session_id=...`` with an upgrade to a WebSocket.

        Raises:
            ApiError: There is no such session (404), it has ended (403), or this is no upgrade
                (400, 426). All before the upgrade: clients try again after it.

        """
        start = self._sessions.find_running(request.query.get("session_id", ""))
        headers = accept_headers(request)

        def upgrade(connection: socket.socket, source: BinaryIO) -> None:
            self._engine.serve(start, WebSocket(connection, source))

        return Response(101, headers=headers, upgrade=upgrade)

    def talk(self, request: Request, _: str) -> Response:
        """Answer ``POST /talk?session_id=...``.

        Raises:
            ApiError: There is no such session (404), it has ended (403), no client is connected to
                it (409), or the body has no text (400).

        """
        start = self._sessions.find_running(request.query.get("session_id", ""))
        try:
            body = parse_json(request.raw_body)
        except ValueError:
            raise ApiError(400, "Malformed JSON", "The body is not JSON.") from None
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, str):
            raise ApiError(400, message="Send a JSON object with the text in `content`.")
        if not self._engine.say(start.session_id, content):
            raise ApiError(409, message="No client is connected to this session yet.")
        return json_response(200, {})
