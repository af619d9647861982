"""Upstreams that misbehave below HTTP, where the sandbox cannot: raw sockets on the loopback."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Serve = Callable[[socket.socket, int], None]


class RawServer:
    """Runs `serve(connection, number)` in a thread for each connection; use it with ``with``.

    Attributes:
        connections: how many were accepted.
        requests: all whole requests that `read_request` has read, heads and bodies.

    """

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = False
        self.connections = 0
        self.port = int(self._listening.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        self._listening.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
            self._start(self._run, connection, self.connections)

    def _run(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls:
                wrapped = self._tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open[self._open.index(connection)] = wrapped
                connection = wrapped
            self._serve(connection, number)
        except OSError:
            pass  # the client hung up, or the test is over
        finally:
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """Return one whole request; raises OSError when the client has hung up."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < size:
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionError("the client hung up")
    return part


def response(status: int = 200, body: bytes = b"", *headers: str) -> bytes:
    """Return a response with a Content-Length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def minted(value: str = "opaque-token") -> bytes:
    """Return the response to a mint that works."""
    return response(200, json.dumps({"sessionToken": value}).encode())


def mints(connection: socket.socket, number: int) -> None:
    """Serve a connection as a healthy upstream does, with keep-alive."""
    while True:
        read_request(connection)
        connection.sendall(minted())


def stays_silent(connection: socket.socket, number: int) -> None:
    """Read what comes and never say a word, until the client hangs up."""
    while connection.recv(65536):
        pass


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Yield a loopback port whose full backlog makes the kernel drop each new SYN."""
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = int(listening.getsockname()[1])
        for _ in range(8):
            filler = opened.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            raise AssertionError("the backlog did not fill")
        yield port


_MAY_SIGN = x509.KeyUsage(
    key_cert_sign=True,
    **dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    ),
)


class Certificates:
    """A certificate authority of one test; `bundle` is the file that makes clients trust it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        authority = self._sign(
            self._name, self._key, [x509.BasicConstraints(True, None), _MAY_SIGN]
        )
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(authority.public_bytes(serialization.Encoding.PEM))

    def server(self, *, host: str = "127.0.0.1", expired: bool = False) -> ssl.SSLContext:
        """Return what a server of that address shows, on request with an expired certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
        certificate = self._sign(subject, key, [names], expired=expired)
        path = self._folder / f"{host}-{expired}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: list[x509.ExtensionType],
        *,
        expired: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        day = dt.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * day)
            .not_valid_after(now - day if expired else now + day)
        )
        # Python 3.13 and later want to know whose key it is, and who signed it.
        own_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension in (*extensions, own_key, issuer):
            is_critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(self._key, hashes.SHA256())
