"""HTTP/1.1: reads one request from a socket and writes one response, with faults on demand."""

import email.utils
import http.client
import os
import re
import socket
import struct
import threading
from collections.abc import Iterable
from typing import BinaryIO
from urllib.parse import parse_qsl, urlsplit

from flask_anam.sandbox.http.faults import Fault
from flask_anam.sandbox.http.messages import (
    ApiError,
    Headers,
    Request,
    Response,
    is_bodiless,
    reason_phrase,
)

#: Largest request body, in bytes.
MAX_BODY = 1024 * 1024
#: Largest refused body that is read to its end, so that the client can read the 413; in bytes.
_MAX_DISCARDED = 16 * MAX_BODY
#: Longest request line, in bytes.
_MAX_LINE = 65536
#: Most bytes that are read from the socket at once.
_CHUNK = 65536
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


def read_request(source: BinaryIO, connection: socket.socket) -> Request | None:
    """Read one request; None when the client has closed the connection.

    Raises:
        ApiError: The request is not HTTP/1.x (400), its line or headers are too long (414, 431), it
            is chunked (411) or its body is too long (413). The connection must be closed.
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
    option = headers.get("connection", "").lower()
    keep_alive = "close" not in option if version != "HTTP/1.0" else "keep-alive" in option
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
        raise ApiError(411, message="Send a Content-Length; chunked bodies are not supported.")
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
    while size > 0 and (chunk := source.read(min(size, _CHUNK))):
        size -= len(chunk)


def send_response(
    connection: socket.socket,
    request: Request | None,
    response: Response,
    fault: Fault,
    *,
    now: float,
    stopping: threading.Event,
) -> bool:
    """Write `response` with the faults of `fault`; return whether the connection stays open.

    `now`, in Unix seconds, is sent as the Date.

    Raises:
        OSError: The client closed the connection.

    """
    keep_alive = request is not None and request.keep_alive and not fault.closes
    head = _head(request, response, fault, keep_alive=keep_alive, now=now)
    head_only = request is not None and request.method == "HEAD"
    body = b"" if head_only or is_bodiless(response.status) else response.body[: fault.cut_after]
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


def reset_on_close(connection: socket.socket) -> None:
    """Let the coming close() of `connection` send RST instead of FIN."""
    layout = "hh" if os.name == "nt" else "ii"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(layout, 1, 0))


def lingering_close(connection: socket.socket) -> None:
    """Lingering close: send FIN, then read, so that no RST discards the response."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(0.5)
    for _ in range(16):
        if not connection.recv(_CHUNK):
            return


def stay_silent(connection: socket.socket) -> None:
    """Return only when the client closes the connection, or stop() shuts it down."""
    while connection.recv(_CHUNK):
        pass


def _head(
    request: Request | None, response: Response, fault: Fault, *, keep_alive: bool, now: float
) -> bytes:
    own = {
        "Date": email.utils.formatdate(now, usegmt=True),
        "Server": "anam-sandbox",
        "X-Anam-Sandbox": "1",
        "Cache-Control": "no-store",
        "Connection": "keep-alive" if keep_alive else "close",
        **_cors(request),
    }
    if fault.content_length and not is_bodiless(response.status):
        own["Content-Length"] = str(len(response.body))
    headers = _override(_override(own.items(), response.headers), fault.headers)
    lines = [f"HTTP/1.1 {response.status} {reason_phrase(response.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def _override(headers: Iterable[tuple[str, str]], others: Headers) -> list[tuple[str, str]]:
    """Return `headers` without those that `others` name too, and then `others`."""
    names = {name.lower() for name, _ in others}
    return [pair for pair in headers if pair[0].lower() not in names] + list(others)


def _cors(request: Request | None) -> dict[str, str]:
    requested = request.headers.get("access-control-request-headers", "") if request else ""
    # Only names are copied: a folded header line could hold a line break.
    allowed = dict.fromkeys(["authorization", "content-type", *_TOKEN.findall(requested.lower())])
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Headers": ", ".join(allowed),
        "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
        "Access-Control-Expose-Headers": "Retry-After, RateLimit-Limit, RateLimit-Remaining, "
        "RateLimit-Reset, X-Anam-Sandbox",
        "Access-Control-Max-Age": "600",
    }
