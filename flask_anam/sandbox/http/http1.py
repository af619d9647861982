"""HTTP/1.1 on a socket: read one request, write one answer, whole or badly on purpose."""

import email.utils
import http.client
import os
import re
import socket
import struct
import threading
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import parse_qsl, urlsplit

from flask_anam.sandbox.http.faults import Fault
from flask_anam.sandbox.http.messages import ApiError, Request, Response, is_bodiless

#: Largest request body, in bytes.
MAX_BODY = 1024 * 1024
#: Largest body that is read to the end, so that the client can read the 413; in bytes.
_MAX_DISCARDED = 16 * MAX_BODY
_MAX_LINE = 65536
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


def read_request(source: BinaryIO, connection: socket.socket) -> Request | None:
    """Read one request; None when the client has hung up.

    Raises:
        ApiError: It is not HTTP/1.x (400), its line or headers are too long (414, 431), it
            has no plain length (411) or too long a body (413). The connection is of no more use.
        OSError: The connection broke.

    """
    line = source.readline(_MAX_LINE + 1)
    if line in (b"\r\n", b"\n"):
        line = source.readline(_MAX_LINE + 1)
    if not line:
        return None
    if len(line) > _MAX_LINE:
        raise ApiError(414)
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ApiError(400, "Bad Request", "The request line is not HTTP/1.x.")
    method, target, version = words
    headers = _read_headers(source)
    try:
        parts = urlsplit(target)
    except ValueError:
        raise ApiError(400, "Bad Request", "The request target is not a URL.") from None
    body = _read_body(source, connection, headers)
    if body is None:
        return None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    wishes = headers.get("connection", "").lower()
    keep_alive = "close" not in wishes if version != "HTTP/1.0" else "keep-alive" in wishes
    return Request(method, parts.path or "/", query, headers, body, keep_alive)


def _read_headers(source: BinaryIO) -> dict[str, str]:
    try:
        received = http.client.parse_headers(source)
    except http.client.HTTPException:
        raise ApiError(431) from None
    headers: dict[str, str] = {}
    for name, value in received.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else str(value)
    return headers


def _read_body(
    source: BinaryIO, connection: socket.socket, headers: dict[str, str]
) -> bytes | None:
    if "transfer-encoding" in headers:
        raise ApiError(411, message="Send a Content-Length; chunks are not understood here.")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise ApiError(400, "Bad Request", "Content-Length is not a number.")
    size = int(length)
    if size > MAX_BODY:
        _discard(source, min(size, _MAX_DISCARDED))
        raise ApiError(413, message=f"The body is larger than {MAX_BODY} bytes.")
    if size and headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = source.read(size)
    return body if len(body) == size else None


def _discard(source: BinaryIO, size: int) -> None:
    while size > 0 and (chunk := source.read(min(size, 65536))):
        size -= len(chunk)


def send(
    connection: socket.socket,
    request: Request | None,
    answer: Response,
    fault: Fault,
    *,
    now: float,
    stopping: threading.Event,
) -> bool:
    """Write `answer` in the manner of `fault`; return whether the connection can go on.

    Raises:
        OSError: The client hung up.

    """
    keep_alive = request is not None and request.keep_alive and not fault.closes
    head = _head(request, answer, fault, keep_alive=keep_alive, now=now)
    head_only = request is not None and request.method == "HEAD"
    body = b"" if head_only or is_bodiless(answer.status) else answer.body[: fault.cut_after]
    if fault.drip is None and fault.drip_headers is None:
        connection.sendall(head + body)  # one packet where it fits
        return keep_alive
    for data, pause in ((head, fault.drip_headers), (body, fault.drip)):
        if not _drip(connection, data, pause, stopping):
            return False
    return keep_alive


def _drip(
    connection: socket.socket, data: bytes, pause: float | None, stopping: threading.Event
) -> bool:
    if pause is None:
        connection.sendall(data)
        return True
    for index in range(len(data)):
        if stopping.wait(pause):
            return False
        connection.sendall(data[index : index + 1])
    return True


def reset(connection: socket.socket) -> None:
    """Make the coming close() of `connection` send RST instead of a polite end."""
    layout = "hh" if os.name == "nt" else "ii"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(layout, 1, 0))


def linger(connection: socket.socket) -> None:
    """End politely although the client may still be sending: a reset would eat our answer."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(0.5)
    for _ in range(16):
        if not connection.recv(65536):
            return


def stay_silent(connection: socket.socket) -> None:
    """Return only when the client hangs up or the connection is shut down by stop()."""
    while connection.recv(65536):
        pass


def _head(
    request: Request | None, answer: Response, fault: Fault, *, keep_alive: bool, now: float
) -> bytes:
    own = {
        "Date": email.utils.formatdate(now, usegmt=True),
        "Server": "anam-sandbox",
        "X-Anam-Sandbox": "1",
        "Cache-Control": "no-store",
        "Connection": "keep-alive" if keep_alive else "close",
        **_cors(request),
    }
    if fault.content_length and not is_bodiless(answer.status):
        own["Content-Length"] = str(len(answer.body))
    given = _merge(answer.headers, fault.headers)
    names = {name.lower() for name, _ in given}
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in own.items() if name.lower() not in names]
    lines += [f"{name}: {value}" for name, value in given]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def _merge(
    first: tuple[tuple[str, str], ...], then: tuple[tuple[str, str], ...]
) -> list[tuple[str, str]]:
    overruled = {name.lower() for name, _ in then}
    return [pair for pair in first if pair[0].lower() not in overruled] + list(then)


def _cors(request: Request | None) -> dict[str, str]:
    asked = request.headers.get("access-control-request-headers", "") if request else ""
    # Only names are taken over: a folded header line could hold a line break.
    allowed = dict.fromkeys(["authorization", "content-type", *_TOKEN.findall(asked.lower())])
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Headers": ", ".join(allowed),
        "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
        "Access-Control-Expose-Headers": "Retry-After, RateLimit-Limit, RateLimit-Remaining, "
        "RateLimit-Reset, X-Anam-Sandbox",
        "Access-Control-Max-Age": "600",
    }


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
