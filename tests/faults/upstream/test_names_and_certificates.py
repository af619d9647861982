"""Servers that are not who they should be, and names that lead nowhere."""

from __future__ import annotations

import socket

import pytest
from faults.upstream.asking import app_at, ask, run_script
from faults.upstream.servers import Certificates, RawServer, mints, read_request
from hosts import KEY

from flask_anam.testing import ManualClock


@pytest.mark.parametrize("trouble", ["expired", "wrong host", "unknown authority"])
def test_row_24_a_certificate_that_cannot_be_trusted_ends_it(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    logged: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    """One attempt, no key is sent, and a log line explains the certificate problem."""
    if trouble != "unknown authority":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle))
    host = "127.0.0.2" if trouble == "wrong host" else "127.0.0.1"
    tls = certificates.server(host=host, expired=trouble == "expired")
    requests: list[bytes] = []

    def serve(connection: socket.socket, number: int) -> None:
        requests.append(read_request(connection))

    with RawServer(serve, tls) as server:
        asked = ask(app_at(server.url))
    assert (asked.status, asked.code, asked.body["retryable"]) == (502, "anam_rejected", False)
    assert (server.connections, requests) == (1, [])
    assert "certificate" in logged.text
    assert "ANAM_BASE_URL" in logged.text
    assert KEY not in logged.text


def test_row_24_a_good_certificate_works(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same server with a trusted, valid, matching certificate: two mints, one connection."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle))
    with RawServer(mints, certificates.server()) as server:
        app = app_at(server.url)
        assert [ask(app, slot=slot).status for slot in "ab"] == [200, 200]
        app.extensions["anam"].client.close()
    assert server.connections == 1


def test_a_handshake_that_breaks_off_is_an_outage_and_tried_again() -> None:
    """No certificate was seen, so none can be blamed: three attempts, 503."""

    def hangs_up(connection: socket.socket, number: int) -> None:
        connection.recv(65536)

    with RawServer(hangs_up) as server:
        url = server.url.replace("http://", "https://")
        asked = ask(app_at(url, clock=ManualClock()))
    assert (asked.status, asked.code, server.connections) == (503, "anam_unavailable", 3)


def test_a_server_without_tls_is_an_outage_and_sees_no_key() -> None:
    """Plain HTTP on the port, as from a proxy that lost its backend."""
    seen: list[bytes] = []

    def plain(connection: socket.socket, number: int) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with RawServer(plain) as server:
        url = server.url.replace("http://", "https://")
        asked = ask(app_at(url, clock=ManualClock()))
    assert (asked.status, asked.code, server.connections) == (503, "anam_unavailable", 3)
    assert KEY.encode() not in b"".join(seen)


def test_a_line_cut_in_the_middle_of_a_tls_answer_is_a_bad_answer(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encrypted or not, half a body is half a body."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle))

    def cuts(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"sessionToken"')

    with RawServer(cuts, certificates.server()) as server:
        asked = ask(app_at(server.url, clock=ManualClock()))
    assert (asked.status, asked.code, server.connections) == (502, "anam_bad_response", 2)


LOOK_UP = """
import logging
logging.disable()
from faults.upstream.asking import app_at, ask
asked = ask(app_at("https://anam.invalid"))
print(asked.status, asked.code, asked.body["retryable"], "Retry-After" in asked.headers)
"""


@pytest.mark.slow
def test_row_25_a_name_that_does_not_resolve_is_an_outage() -> None:
    """NXDOMAIN, or an unreachable resolver: a retryable 503."""
    output = run_script(LOOK_UP, RES_OPTIONS="timeout:1 attempts:1")
    assert output.splitlines()[-1] == "503 anam_unavailable True True"
