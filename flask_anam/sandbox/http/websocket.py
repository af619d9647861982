"""WebSocket (RFC 6455) on a socket that HTTP has already read from: the server's side."""

import base64
import contextlib
import hashlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from flask_anam.sandbox.http.messages import ApiError, Request

#: Largest message, in bytes of UTF-8; a larger one ends the connection with 1009.
MAX_MESSAGE = 1024 * 1024
#: Seconds that a client may leave its receive buffer full before it is given up.
_SEND_WITHIN = 2
#: Seconds that a client may send nothing: six of its heartbeats.
_SILENT_FOR = 30

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def accept_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the headers of the 101 that accepts an upgrade.

    Raises:
        ApiError: The request asks for no upgrade to a WebSocket of version 13 (426, 400).

    """
    headers = request.headers
    wishes = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in wishes:
        raise ApiError(
            426,
            "Upgrade Required",
            "Signalling needs a WebSocket.",
            headers=[("Upgrade", "websocket"), ("Connection", "Upgrade")],
        )
    if headers.get("sec-websocket-version") != "13":
        raise ApiError(
            426,
            "Upgrade Required",
            "Only version 13 of the WebSocket protocol is spoken here.",
            headers=[("Sec-WebSocket-Version", "13")],
        )
    key = headers.get("sec-websocket-key", "")
    try:
        fits = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        fits = False
    if not fits:
        raise ApiError(400, "Bad Request", "Sec-WebSocket-Key must be 16 bytes of base64.")
    proof = hashlib.sha1(f"{key}{_MAGIC}".encode()).digest()  # noqa: S324 - the protocol's choice
    return (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(proof).decode()),
    )


class _EndedError(Exception):
    """The conversation is over; `code` goes into our close frame."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class WebSocket:
    """One accepted WebSocket. One thread receives; any thread may send and close.

    A client that sends nothing, no heartbeat either, for `silent_for` seconds is gone.
    """

    def __init__(
        self, connection: socket.socket, source: BinaryIO, silent_for: float = _SILENT_FOR
    ) -> None:
        self._connection = connection
        self._source = source
        self._lock = threading.Lock()
        self._closing = False
        _limit(connection, socket.SO_SNDTIMEO, _SEND_WITHIN)
        _limit(connection, socket.SO_RCVTIMEO, silent_for)

    def messages(self) -> Iterator[str]:
        """Give text messages until either side ends the connection; never raises.

        Pings are answered, binary messages are left out.
        """
        code = 1000
        try:
            while True:
                yield self._message()
        except _EndedError as end:
            code = end.code
        except OSError:
            pass
        self.close(code)
        self.cut()

    def send(self, action: str, session_id: str, payload: object) -> None:
        """Send a signalling message; a client that does not listen any more is let go."""
        message = {"actionType": action, "sessionId": session_id, "payload": payload}
        self._send(_TEXT, json.dumps(message).encode())

    def close(self, code: int = 1000) -> None:
        """Say goodbye, once, and send nothing after that."""
        self._send(_CLOSE, struct.pack("!H", code))

    def cut(self) -> None:
        """Break the connection; the receiving thread ends."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
        with self._lock:
            if self._closing:
                return
            self._closing = opcode == _CLOSE
            try:
                self._connection.sendall(head + payload)
            except OSError:
                self._closing = True
                self.cut()

    def _message(self) -> str:
        """Return the next text message, put together from its fragments."""
        parts: list[bytes] = []
        kind: int | None = None
        while True:
            final, opcode, payload = self._frame(MAX_MESSAGE - sum(map(len, parts)))
            if opcode >= _CLOSE:
                self._control(opcode, payload)
                continue
            if (opcode == _CONTINUATION) != (kind is not None):
                raise _EndedError(1002)
            kind = opcode if kind is None else kind
            parts.append(payload)
            if not final:
                continue
            if kind == _TEXT:
                return _decode(b"".join(parts))
            parts, kind = [], None

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            raise _EndedError(1000)
        if opcode == _PING:
            self._send(_PONG, payload)

    def _frame(self, room: int) -> tuple[bool, int, bytes]:
        first, second = self._read(2)
        opcode, size = first & 0x0F, second & 0x7F
        known = opcode in (_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG)
        # Reserved bits mean extensions, of which none was agreed; clients must mask.
        if first & 0x70 or not second & 0x80 or not known:
            raise _EndedError(1002)
        final = bool(first & 0x80)
        if opcode >= _CLOSE and (size > 125 or not final):
            raise _EndedError(1002)
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        if size > max(room, 125):
            raise _EndedError(1009)
        mask = self._read(4)
        return final, opcode, _unmask(self._read(size), mask)

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        # None, or a part, also when the time for it is over.
        if data is None or len(data) < size:
            raise _EndedError(1001)
        return data


def _unmask(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    stream = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(size, "big")


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _EndedError(1007) from None


def _limit(connection: socket.socket, option: int, seconds: float) -> None:
    """Let a send or a receive that blocks fail in time; settimeout() would not tell them apart."""
    if sys.platform == "win32":
        value = struct.pack("L", round(seconds * 1000))
    else:
        value = struct.pack("ll", int(seconds), round(seconds % 1 * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, option, value)


def parse(text: str) -> dict[str, Any] | None:
    """Return a signalling or data channel message, None when it is not a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
