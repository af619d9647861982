"""What the machine around us does: netrc files, proxies, cookies, other apps, error trackers."""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from cachelib import SimpleCache
from faults.upstream.asking import app_at, ask, crowd, mints_of
from faults.upstream.servers import Certificates, RawServer, minted, mints, read_request, response
from flask import Flask
from hosts import ADA, KEY, PROMPT, make_app

import flask_anam
from flask_anam import AnamError, FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without the proxies of the machine that runs the tests."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_row_53_a_netrc_entry_does_not_replace_our_key(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`requests` would send the password of ~/.netrc instead; only the key is sent.

    End to end, whichever file applies; tests/core/upstream/test_transport.py has the unit tests.
    """
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login x password y\ndefault login x password y\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text(netrc.read_text())
    assert ask(make_app(sandbox)).status == 200
    (sent,) = sandbox.ledger.requests
    assert sent.headers["authorization"] == f"Bearer {sandbox.api_key}"


def test_row_53_a_proxy_is_used_as_the_environment_says(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is used, with our key for Anam; NO_PROXY bypasses it.

    End to end; tests/core/upstream/test_transport.py holds the timeout through a proxy.
    """
    asked_for: list[bytes] = []

    def proxy(connection: socket.socket, number: int) -> None:
        while True:
            asked_for.append(read_request(connection))
            connection.sendall(minted("by-proxy"))

    with RawServer(proxy) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        app = make_app(sandbox)
        assert ask(app, slot="a").body["sessionToken"] == "by-proxy"
        assert mints_of(sandbox) == 0
        head = asked_for[0].decode().lower()
        assert head.startswith(f"post {sandbox.url}/v1/auth/session-token ")
        assert f"authorization: bearer {sandbox.api_key}".lower() in head
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert ask(app, slot="b").status == 200
        app.extensions["anam"].client.close()
    assert (mints_of(sandbox), len(asked_for)) == (1, 1)


@pytest.mark.parametrize("refusal", [407, 502])
def test_row_53_a_proxy_for_https_sees_no_key(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """It gets CONNECT with the host name; the key is only sent through the tunnel."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle))
    heads: list[bytes] = []

    def tunnel(connection: socket.socket, number: int) -> None:
        heads.append(read_request(connection))
        if number == 1:
            connection.sendall(response(refusal))
            return
        with socket.create_connection(("127.0.0.1", upstream.port)) as onward:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pour, args=(onward, connection))
            back.start()
            _pour(connection, onward)
            back.join()

    with (
        RawServer(mints, certificates.server()) as upstream,
        RawServer(tunnel) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        app = app_at(upstream.url, clock=ManualClock())
        assert ask(app).status == 200  # at the second attempt: a refusing proxy is an outage
        app.extensions["anam"].client.close()
    assert [head.split()[0] for head in heads] == [b"CONNECT", b"CONNECT"]
    assert KEY.encode() not in b"".join(heads)


def _pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side hung up


def test_row_53_a_proxy_that_stalls_is_cut_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeouts also apply through a proxy, even before its tunnel exists."""

    def drips(connection: socket.socket, number: int) -> None:
        read_request(connection)
        while True:
            connection.sendall(b"H")
            if stopped.wait(0.1):
                return

    stopped = threading.Event()
    with RawServer(drips) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for url in ("https://127.0.0.1:9", "http://127.0.0.1:9"):
            settings: dict[str, Any] = {"ANAM_READ_TIMEOUT": 0.4, "ANAM_CONNECT_TIMEOUT": 0.4}
            asked = ask(app_at(url, ANAM_MAX_ATTEMPTS=1, **settings))
            assert (asked.status, asked.code) == (504, "anam_timeout")
            assert asked.seconds < 0.4 + 4.0
        stopped.set()


def test_row_54_cookies_of_the_upstream_are_not_sent_back(sandbox: Sandbox) -> None:
    """A cookie from the mint of one user is never sent with the request of another."""
    users = crowd(3)
    app = make_app(sandbox, *users)
    cookies = ["sid=of-another-user; Path=/", "lb=node-7"]
    sandbox.fail_next(200, headers={"Set-Cookie": cookies}, times=3)
    assert [ask(app, user).status for user in users] == [200] * 3
    assert [record.headers.get("cookie") for record in sandbox.ledger.requests] == [None] * 3


FAULTS: list[dict[str, Any]] = [
    {"status": 400, "json": {"error": PROMPT}},
    {"status": 401, "json": {"error": KEY}},
    {"status": 500, "body": PROMPT},
    {"status": 200, "body": f'{{"sessionToken": "cut-{KEY}'},
    {"status": 200, "json": {"sessionToken": ["listed-SENTINEL"]}},
    {"reset": True},
    {"silent": True},
]
SECRETS = (KEY, PROMPT, "listed-SENTINEL")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault)))
@pytest.mark.parametrize("what", ["token", "concurrency", "probe"])
def test_row_55_no_secret_is_in_what_an_error_tracker_collects(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, fault: dict[str, Any], what: str
) -> None:
    """No DEBUG log, traceback or local variable of ours contains a key, token or prompt."""
    for name in ("urllib3", "requests", "flask_anam"):
        logged.set_level(logging.DEBUG, name)
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam, ANAM_READ_TIMEOUT=0.2, ANAM_MAX_ATTEMPTS=2)
    sandbox.fail_next(times=3, path="*", **fault)
    state = app.extensions["anam"]

    def fails() -> None:
        if what == "token":
            anam.create_token("support", user_id="ada", slot="tab")
        elif what == "concurrency":
            state.client.concurrency(state.issuer.api_key(), state.deadline())
            raise AnamError  # an answer that is an object is one, whatever it holds
        else:
            state.client.start_session("listed-SENTINEL", state.deadline())

    with app.app_context(), pytest.raises(AnamError) as caught:
        fails()
    shown = "\n".join(_collected(caught.value))
    for secret in SECRETS:
        assert secret not in shown
        assert secret not in logged.text


def _collected(error: BaseException | None) -> list[str]:
    """Return what a tracker sends: each error of the chain, and the locals of our own frames."""
    variables = []
    while error is not None:
        variables.append(repr(error))
        trace = error.__traceback__
        while trace is not None:
            if f"{Path(flask_anam.__file__).parent}" in trace.tb_frame.f_code.co_filename:
                variables += [
                    f"{name}={value!r}" for name, value in trace.tb_frame.f_locals.items()
                ]
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return variables


def test_row_56_a_shared_cache_that_overflows_costs_mints_and_nothing_else(
    sandbox: Sandbox,
) -> None:
    """A small SimpleCache of the host evicts entries: each user gets their own token."""
    users = crowd(30)
    cache = SimpleCache(threshold=5)
    app = make_app(sandbox, *users, ANAM_CACHE=cache, ANAM_TOKEN_RATE_LIMIT="99 per hour")
    owners: dict[str, str] = {}
    for _ in range(3):
        for user in users:
            cache.set(f"of the host {user.get_id()}", "x" * 100)
            asked = ask(app, user, slot="tab")
            assert asked.status == 200
            owner = owners.setdefault(asked.body["sessionToken"], user.get_id())
            assert owner == user.get_id()
    assert mints_of(sandbox) == len(owners)
    assert 30 <= len(owners) <= 90


@pytest.mark.slow
def test_row_59_two_apps_of_one_process_share_nothing(sandbox: Sandbox) -> None:
    """The same user id in both: separate tokens, single-flights and circuit breakers."""
    clock = ManualClock()
    with Sandbox(api_key="another-account") as other:
        first = make_app(sandbox, clock=clock)
        two = make_app(other, clock=clock, SECRET_KEY="another secret")
        tokens = {ask(app, slot="tab").body["sessionToken"] for app in (first, two)}
        assert len(tokens) == 2
        assert (mints_of(sandbox), mints_of(other)) == (1, 1)

        sandbox.fail_next(200, delay=1.5)
        flying = threading.Thread(target=ask, args=(first,), kwargs={"slot": "slow"})
        flying.start()
        assert sandbox.ledger.wait_for("/v1/auth/session-token", 2)
        quick = ask(two, slot="slow")
        assert (quick.status, flying.is_alive()) == (200, True)
        flying.join()

        sandbox.fail_next(503, times=9)
        for slot in "abc":
            assert ask(first, slot=slot).code == "anam_unavailable"
        assert mints_of(sandbox) == 2 + 5  # the breaker of this app is open
        assert ask(two, slot="a").status == 200
        sandbox.clear_failures()
        assert ask(first, slot="d").code == "anam_unavailable"


def test_row_59_two_apps_on_one_cache_keep_their_tokens_apart(sandbox: Sandbox) -> None:
    """Another secret gives other keys and signatures, even in the same storage."""
    cache = SimpleCache()
    app = make_app(sandbox, ADA, ANAM_CACHE=cache)
    other = make_app(sandbox, ADA, ANAM_CACHE=cache, SECRET_KEY="another secret")
    apps: list[Flask] = [app, other, app, other]
    tokens = [ask(app, slot="tab").body["sessionToken"] for app in apps]
    assert tokens[:2] == tokens[2:]
    assert len(set(tokens)) == 2
