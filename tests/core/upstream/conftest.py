"""One transport on the sandbox, a TLS server, and answers of no use."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from core.conftest import BODY
from hosts import KEY, MINT

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.upstream.transport import Answer, Transport
from flask_anam.sandbox import Sandbox

#: Answers with status 200 that are of no use, by what is wrong with them.
NONSENSE: dict[str, dict[str, Any]] = {
    "html": {"body": "<html>Log in</html>"},
    "empty": {"body": b""},
    "no token": {"json": {}},
    "null": {"json": {"sessionToken": None}},
    "number": {"json": {"sessionToken": 5}},
    "empty token": {"json": {"sessionToken": ""}},
    "array": {"json": ["x"]},
    "not ASCII": {"json": {"sessionToken": "é.é.é"}},
    "huge": {"json": {"sessionToken": "x" * 8193}},
    "over 64 kB": {"json": {"sessionToken": "x", "y": "z" * 70_000}},
    "cut": {"cut_after": 20},
    "cut without length": {"cut_after": 20, "content_length": False},
    "gzip": {"body": b"\x1f\x8b\x08\x00", "headers": {"Content-Encoding": "gzip"}},
    "deep": {"body": b"[" * 50_000},
}

Ask = Callable[..., Answer]


@pytest.fixture
def ask(sandbox: Sandbox) -> Iterator[Ask]:
    """Send the mint request over one transport with short, real times."""
    transport = Transport(sandbox.url, connect_timeout=1, read_timeout=0.4, pool_size=4)

    def send(seconds: float = 8.0, **more: Any) -> Answer:
        deadline = Deadline.after(Clock(), seconds)
        more = {"body": BODY, "credential": KEY, **more}
        return transport.exchange("POST", MINT, deadline=deadline, **more)

    yield send
    transport.close()


def connections(sandbox: Sandbox) -> list[int]:
    """Return the connection that each request came on."""
    return [request.connection for request in sandbox.ledger.requests]


@pytest.fixture
def secure_server(tmp_path: Path) -> Iterator[tuple[str, Path, list[bytes]]]:
    """Run a TLS server for one request; yield its URL, certificate and what it received."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        # The client hangs up when it does not trust us, or has waited enough.
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            received.append(secure.recv(4000))
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            for byte in (b"{", b"}"):
                time.sleep(0.15)
                secure.sendall(byte)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}", cert, received
        thread.join(10)


def secure_get(url: str, read_timeout: float) -> Answer:
    """Send one request over TLS."""
    transport = Transport(url, connect_timeout=3, read_timeout=read_timeout, pool_size=1)
    try:
        deadline = Deadline.after(Clock(), 8)
        return transport.exchange("GET", "/v1", credential=KEY, deadline=deadline)
    finally:
        transport.close()
