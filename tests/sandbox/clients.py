"""Clients of a sandbox: raw sockets, and WebSockets of sessions."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import requests
from websockets.sync.client import ClientConnection, connect

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog

#: A persona that is quick to test with: no greeting, a short prompt.
QUIET = {**catalog.EXAMPLE_PERSONA, "systemPrompt": "Be kind.", "skipGreeting": True}


def open_connection(sandbox: Sandbox) -> socket.socket:
    """Return a TCP connection to a sandbox."""
    parts = urlsplit(sandbox.url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10)


def receive_all(connection: socket.socket) -> bytes:
    """Return all bytes until the server closes the connection."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def start_session(sandbox: Sandbox, token: str | None = None) -> str:
    """Start a session, of the quiet persona if there is no token, and return its id."""
    headers = {"Authorization": f"Bearer {token or sandbox.issue_token(QUIET)}"}
    response = requests.post(f"{sandbox.url}/v1/engine/session", headers=headers, timeout=10)
    return str(response.json()["sessionId"])


def stop_session(sandbox: Sandbox, session_id: str) -> None:
    """Stop a session with the API key."""
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    url = f"{sandbox.url}/v1/sessions/{session_id}/stop"
    assert requests.post(url, headers=headers, timeout=10).status_code == 200


def open_websocket(sandbox: Sandbox, session_id: str) -> ClientConnection:
    """Open the WebSocket of a session."""
    host = urlsplit(sandbox.url).netloc
    return connect(f"ws://{host}/ws?session_id={session_id}", proxy=None, max_size=None)


def wait_until_read(websocket: ClientConnection) -> None:
    """Wait until the sandbox has read all that was sent."""
    assert websocket.ping().wait(20)


def wait_for(condition: Callable[[], object], within: float = 60.0) -> bool:
    """Wait until `condition` holds; False when it does not in time."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
