"""The transport on real sockets: what `requests` would do by default must not happen."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from core.conftest import BODY, ClientMaker
from core.upstream.conftest import Ask, connections, secure_get
from hosts import KEY, MINT

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.upstream.transport import Transport
from flask_anam.sandbox import Sandbox


@pytest.mark.parametrize("how", ["HOME", "NETRC"])
def test_a_netrc_entry_does_not_replace_our_key(
    ask: Ask, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """`requests` prefers such an entry to an Authorization header; ours is an auth object.

    The transport alone, for each place of the file; row 53 of the faults asks a whole app.
    """
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv(how, str(netrc if how == "NETRC" else tmp_path))
    assert ask().status == 200
    assert sandbox.ledger.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_headers_are_ours(ask: Ask, sandbox: Sandbox) -> None:
    """JSON in and out, no compression, our own name."""
    ask()
    headers = sandbox.ledger.requests[0].headers
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"] == "flask-anam"


def test_cookies_are_not_replayed(ask: Ask, sandbox: Sandbox) -> None:
    """Whatever the other side sets, on the same connection or a new one."""
    cookies = ["a=1; Path=/", "b=2; Domain=127.0.0.1"]
    sandbox.fail_next(200, headers={"Set-Cookie": cookies}, times=2)
    ask()
    ask()
    ask()
    assert all("cookie" not in request.headers for request in sandbox.ledger.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(ask: Ask, sandbox: Sandbox, status: int) -> None:
    """Key and prompt reach no other host, nor another path of this one."""
    with Sandbox(api_key=KEY) as other:
        for place in (other.url + MINT, "/v1/elsewhere"):
            sandbox.fail_next(status, headers={"Location": place})
            assert ask().status == status
        assert other.ledger.requests == ()
    assert sandbox.ledger.count(MINT) == len(sandbox.ledger.requests) == 2


def test_connections_are_kept(ask: Ask, sandbox: Sandbox) -> None:
    """One connection serves one request after the other."""
    for _ in range(5):
        ask()
    assert connections(sandbox) == [1] * 5


@pytest.mark.parametrize(
    ("size", "cut"), [(1000, False), (64 * 1024, False), (64 * 1024 + 1, True), (900_000, True)]
)
def test_an_answer_is_read_up_to_64_kilobytes(
    ask: Ask, sandbox: Sandbox, size: int, cut: bool
) -> None:
    """More than that is cut, and reads as no JSON."""
    sandbox.fail_next(200, body=b'"' + b"x" * (size - 2) + b'"')
    answer = ask()
    assert answer.cut is cut
    assert (answer.json() is None) is cut
    assert len(answer.body) == (0 if cut else size)


def test_a_reset_is_unavailable(ask: Ask, sandbox: Sandbox) -> None:
    """The connection broke before an answer; the next call opens another."""
    sandbox.fail_next(reset=True)
    with pytest.raises(errors.AnamUnavailable):
        ask()
    assert ask().status == 200


@pytest.mark.parametrize("fault", [{}, {"content_length": False}], ids=["length", "no length"])
def test_a_cut_body_is_no_json(ask: Ask, sandbox: Sandbox, fault: dict[str, Any]) -> None:
    """Half an answer never counts as a whole one."""
    sandbox.fail_next(200, cut_after=25, **fault)
    assert ask().json() is None


def closed_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_a_refused_connection_is_unavailable(make_client: ClientMaker, deadline: Deadline) -> None:
    """Three attempts, and no waiting for anything real."""
    client = make_client(base_url=f"http://127.0.0.1:{closed_port()}")
    begun = time.monotonic()
    with pytest.raises(errors.AnamUnavailable):
        client.mint(BODY, KEY, deadline)
    assert time.monotonic() - begun < 1.5


def test_a_proxy_is_used_as_the_environment_says(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And there too the read timeout holds for the whole answer.

    The transport alone; row 53 of the faults asks a whole app, NO_PROXY included.
    """
    monkeypatch.setenv("http_proxy", sandbox.url)
    monkeypatch.setenv("no_proxy", "")
    transport = Transport(
        "http://api.anam.invalid", connect_timeout=1, read_timeout=0.3, pool_size=1
    )
    sandbox.fail_next(200, drip_headers=0.05)
    with pytest.raises(errors.AnamTimeout):
        transport.exchange(
            "GET", MINT, credential=KEY, deadline=Deadline.after(Clock(), 8), query={"a": "b c"}
        )
    transport.close()
    assert sandbox.ledger.requests[0].headers["host"] == "api.anam.invalid"
    assert sandbox.ledger.requests[0].query == {"a": "b c"}


def test_an_untrusted_certificate_is_our_own_trouble(
    secure_server: tuple[str, Path, list[bytes]],
) -> None:
    """Rejected, with the cure, and not retryable; the key is never sent."""
    url, _, received = secure_server
    with pytest.raises(errors.AnamRejected, match="certificate cannot be trusted") as caught:
        secure_get(url, 3)
    assert caught.value.retryable is False
    assert received == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(ask: Ask, sandbox: Sandbox) -> None:
    """And the parent goes on with the one it had."""
    assert ask().status == 200
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        code = 1
        try:
            # The child has the connections of the parent's sandbox; it must not serve there.
            code = 0 if ask().status == ask().status == 200 else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ask().status == 200
    assert connections(sandbox) == [1, 2, 2, 1]


def test_a_closed_transport_can_be_used_again(sandbox: Sandbox) -> None:
    """Closing twice does no harm; the next call opens a new connection."""
    transport = Transport(sandbox.url, connect_timeout=1, read_timeout=2, pool_size=1)
    for _ in range(2):
        transport.exchange(
            "GET", "/v1/avatars", credential=KEY, deadline=Deadline.after(Clock(), 8)
        )
        transport.close()
        transport.close()
    assert connections(sandbox) == [1, 2]


def test_the_repr_of_an_answer_shows_no_body(ask: Ask) -> None:
    """It holds the session token."""
    answer = ask()
    token = answer.json()["sessionToken"]
    assert token not in repr(answer)
    assert KEY not in repr(answer)


def test_callers_at_once_share_one_pool_from_the_first_call_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a burst after a start would have more connections than calls may be under way."""
    transport = Transport(sandbox.url, connect_timeout=1, read_timeout=1, pool_size=2)
    new_session, sessions = transport._new_session, list[requests.Session]()

    def open_slowly() -> requests.Session:
        if not sessions:
            other = threading.Thread(target=transport._session)
            sessions.append(new_session())
            other.start()
            other.join(0.2)  # it waits for us; without a lock it would open another one now
        else:
            sessions.append(new_session())
        return sessions[-1]

    monkeypatch.setattr(transport, "_new_session", open_slowly)
    assert transport._session() is transport._session() is sessions[0]
    assert len(sessions) == 1
    transport.close()
