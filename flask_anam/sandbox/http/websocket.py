"""WebSocket (RFC 6455), server side, on a socket that HTTP has read the upgrade from."""

import base64
import contextlib
import enum
import hashlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

from flask_anam.sandbox.http.messages import ApiError, Headers, Request

#: Largest message, in bytes of UTF-8; a larger one closes the connection with code 1009.
MAX_MESSAGE = 1024 * 1024
#: Seconds that a client may leave its receive buffer full before the connection is closed.
_SEND_TIMEOUT = 2
#: Seconds that a client may send nothing: six of its heartbeats.
_RECEIVE_TIMEOUT = 30

#: The GUID of RFC 6455, section 1.3.
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class _Opcode(enum.IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class _CloseCode(enum.IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    MESSAGE_TOO_BIG = 1009


def accept_headers(request: Request) -> Headers:
    """Return the headers of the 101 that accepts an upgrade.

    Raises:
        ApiError: The request asks for no upgrade to a WebSocket of version 13 (426), or its key is
            not valid (400).

    """
    headers = request.headers
    options = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in options:
        raise ApiError(
            426,
            message="Signalling needs a WebSocket.",
            headers=(("Upgrade", "websocket"), ("Connection", "Upgrade")),
        )
    if headers.get("sec-websocket-version") != "13":
        raise ApiError(
            426,
            message="Only version 13 of the WebSocket protocol is supported.",
            headers=(("Sec-WebSocket-Version", "13"),),
        )
    key = headers.get("sec-websocket-key", "")
    try:
        is_valid = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ApiError(400, "Bad Request", "Sec-WebSocket-Key must be 16 bytes of base64.")
    digest = hashlib.sha1(f"{key}{_GUID}".encode()).digest()  # noqa: S324 - the protocol's choice
    return (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
    )


class _ClosedError(Exception):
    """Close signal: ends the connection; `code` goes into our close frame."""

    def __init__(self, code: _CloseCode) -> None:
        super().__init__(code)
        self.code = code


class WebSocket:
    """WebSocket connection. One thread receives; any thread may send and close.

    A client that sends nothing, not even a heartbeat, for `receive_timeout` seconds is
    disconnected.
    """

    def __init__(
        self, connection: socket.socket, source: BinaryIO, receive_timeout: float = _RECEIVE_TIMEOUT
    ) -> None:
        self._connection = connection
        self._source = source
        self._lock = threading.Lock()
        self._closing = False
        _set_timeout(connection, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        _set_timeout(connection, socket.SO_RCVTIMEO, receive_timeout)

    def messages(self) -> Iterator[str]:
        """Yield text messages until either side closes the connection; never raises.

        Pings are answered, binary messages are ignored.
        """
        code = _CloseCode.NORMAL
        try:
            while True:
                yield self._message()
        except _ClosedError as exc:
            code = exc.code
        except OSError:
            pass
        self.disconnect(code)

    def send(self, action: str, session_id: str, payload: object) -> None:
        """Send a signalling message; a client that does not read is disconnected."""
        message = {"actionType": action, "sessionId": session_id, "payload": payload}
        self._send(_Opcode.TEXT, json.dumps(message).encode())

    def disconnect(self, code: int = _CloseCode.NORMAL) -> None:
        """Send a close frame, once, and shut the connection down; the receiving thread ends."""
        self._send(_Opcode.CLOSE, struct.pack("!H", code))
        self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _send(self, opcode: _Opcode, payload: bytes) -> None:
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
            self._closing = opcode == _Opcode.CLOSE
            try:
                self._connection.sendall(head + payload)
            except OSError:
                self._closing = True
                self._shut_down()

    def _message(self) -> str:
        """Return the next text message, put together from its fragments."""
        parts: list[bytes] = []
        kind: _Opcode | None = None
        while True:
            final, opcode, payload = self._frame(MAX_MESSAGE - sum(map(len, parts)))
            if opcode >= _Opcode.CLOSE:
                self._handle_control(opcode, payload)
                continue
            if (opcode == _Opcode.CONTINUATION) != (kind is not None):
                raise _ClosedError(_CloseCode.PROTOCOL_ERROR)
            kind = opcode if kind is None else kind
            parts.append(payload)
            if not final:
                continue
            if kind == _Opcode.TEXT:
                return _decode(b"".join(parts))
            parts, kind = [], None

    def _handle_control(self, opcode: _Opcode, payload: bytes) -> None:
        if opcode == _Opcode.CLOSE:
            raise _ClosedError(_CloseCode.NORMAL)
        if opcode == _Opcode.PING:
            self._send(_Opcode.PONG, payload)

    def _frame(self, room: int) -> tuple[bool, _Opcode, bytes]:
        """Read one frame: whether it is final, its opcode and its payload."""
        first, second = self._read(2)
        size = second & 0x7F
        # Reserved bits mean extensions, of which none was agreed; clients must mask.
        if first & 0x70 or not second & 0x80 or first & 0x0F not in list(_Opcode):
            raise _ClosedError(_CloseCode.PROTOCOL_ERROR)
        final, opcode = bool(first & 0x80), _Opcode(first & 0x0F)
        if opcode >= _Opcode.CLOSE and (size > 125 or not final):
            raise _ClosedError(_CloseCode.PROTOCOL_ERROR)
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        if size > max(room, 125):
            raise _ClosedError(_CloseCode.MESSAGE_TOO_BIG)
        mask = self._read(4)
        return final, opcode, _unmask(self._read(size), mask)

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        # None, or a part of it, also when the receive timeout is over.
        if data is None or len(data) < size:
            raise _ClosedError(_CloseCode.GOING_AWAY)
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
        raise _ClosedError(_CloseCode.INVALID_DATA) from None


def _set_timeout(connection: socket.socket, option: int, seconds: float) -> None:
    """Limit a blocking send or receive; settimeout() cannot limit them separately."""
    if sys.platform == "win32":
        value = struct.pack("L", round(seconds * 1000))
    else:
        value = struct.pack("ll", int(seconds), round(seconds % 1 * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, option, value)
