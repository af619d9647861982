"""Sandbox server: start, stop, fork, arguments, and secrets that are not shown."""

import gc
import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sandbox.clients import open_connection
from sandbox.scripts import run_script

from flask_anam.sandbox import Sandbox

Caller = Callable[..., requests.Response]

Maker = Callable[..., Sandbox]


def test_the_url_is_known_before_the_start() -> None:
    """The port is bound at construction; early connections wait for the start."""
    with Sandbox() as sandbox:
        pass
    early = Sandbox()
    assert early.url.startswith("http://127.0.0.1:")
    assert not early.url.endswith("/")
    with open_connection(early) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        early.start()
        assert connection.recv(12) == b"HTTP/1.1 200"
    early.stop()
    assert early.url != sandbox.url


def test_the_first_page_says_that_this_is_not_anam(
    sandbox: Sandbox, http: requests.Session
) -> None:
    """Nobody can take the sandbox for the vendor."""
    answer = http.get(sandbox.url, timeout=10)
    assert "not Anam" in answer.json()["message"]
    assert answer.headers["X-Anam-Sandbox"] == "1"


def test_a_taken_port_is_a_clear_error(sandbox: Sandbox) -> None:
    """The text names the address and the way out."""
    port = urlsplit(sandbox.url).port
    with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {port}: .*port=0") as caught:
        Sandbox(port=port or 0)
    assert caught.value.errno


def test_a_wildcard_host_has_a_url_that_can_be_reached(
    make_sandbox: Maker, http: requests.Session
) -> None:
    """0.0.0.0 is for listening, not for calling."""
    sandbox = make_sandbox(host="0.0.0.0")
    assert sandbox.url.startswith("http://127.0.0.1:")
    assert http.get(sandbox.url, timeout=10).status_code == 200


def test_start_and_stop_may_be_repeated(http: requests.Session) -> None:
    """A stopped sandbox refuses connections; started again, it has its old address."""
    sandbox = Sandbox()
    sandbox.stop()
    for _ in range(2):
        with sandbox.start().ensure_running():
            assert http.get(sandbox.url, timeout=10).status_code == 200
        sandbox.stop()
        with pytest.raises(requests.ConnectionError):
            http.get(sandbox.url, timeout=10)


def test_stop_ends_every_thread(make_sandbox: Maker) -> None:
    """Idle, half-sent and unanswered connections, and a delay of minutes, do not hold it up."""
    before = set(threading.enumerate())
    sandbox = make_sandbox()
    sandbox.fail_next(path="/silent", silent=True)
    sandbox.fail_next(path="/late", delay=600)
    sandbox.fail_next(path="/drip", drip=600)
    sandbox.fail_next(path="/drip-headers", drip_headers=600)
    lines = [b"", b"GET /half", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
    waiting = ["/silent", "/late", "/drip", "/drip-headers"]
    lines += [f"GET {path} HTTP/1.1\r\n\r\n".encode() for path in waiting]
    connections = [open_connection(sandbox) for _ in lines]
    for connection, line in zip(connections, lines, strict=True):
        connection.sendall(line)
    assert all(sandbox.ledger.wait_for(path, 1) for path in waiting)
    sandbox.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
    assert set(threading.enumerate()) <= before
    for connection in connections:
        connection.close()


def test_a_dropped_sandbox_closes_its_sockets(http: requests.Session) -> None:
    """The server lives as long as the object; nothing is left to warn about."""
    url = Sandbox().start().url
    gc.collect()
    with pytest.raises(requests.ConnectionError):
        http.get(url, timeout=10)


def test_serve_forever_blocks_until_the_stop(http: requests.Session) -> None:
    """The command line's way to serve ends when another thread stops the sandbox."""
    sandbox = Sandbox()
    thread = threading.Thread(target=sandbox.serve_forever)
    thread.start()
    assert http.get(sandbox.url, timeout=10).status_code == 200
    assert thread.is_alive()
    sandbox.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.slow
def test_serve_forever_ends_quietly_on_ctrl_c() -> None:
    """The interrupt stops the sandbox and the program goes on."""
    script = (
        "import os, signal, socket, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may ignore it
        "from urllib.parse import urlsplit\n"
        "from flask_anam.sandbox import Sandbox\n"
        "sandbox = Sandbox()\n"
        "def interrupt():\n"
        "    parts = urlsplit(sandbox.url)\n"
        "    with socket.create_connection((parts.hostname, parts.port)) as connection:\n"
        "        connection.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')\n"
        "        connection.recv(1)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt).start()\n"
        "sandbox.serve_forever()\n"
        "print(sandbox)\n"
    )
    assert "not running" in run_script(script)


@pytest.mark.slow
def test_ensure_running_works_in_a_forked_child() -> None:
    """Parent and child both serve on the one address, also with locks held at the fork."""
    script = """
import os, sys, warnings
import http.client
from urllib.parse import urlsplit
from flask_anam.sandbox import Sandbox

def ask(sandbox):
    connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=10)
    connection.request("GET", "/")
    status = connection.getresponse().status
    connection.close()
    return status

sandbox = Sandbox().start()
assert ask(sandbox) == 200
idle = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=10)
idle.connect()
idle.request("GET", "/")
idle.getresponse().read()
warnings.simplefilter("ignore", DeprecationWarning)
copies = [connection.fileno() for connection, _ in sandbox._server._connections.values()]
assert copies
held = (sandbox._lock, sandbox.ledger._changed, sandbox._faults._lock, sandbox._server._lock)
for lock in held:
    lock.acquire()
child = os.fork()
for lock in held if child else ():
    lock.release()
if child == 0:
    for copy in copies:
        try:
            os.fstat(copy)
            sys.exit(2)
        except OSError:
            pass
    idle.close()
    assert repr(sandbox).endswith("not running>"), sandbox
    sandbox.ensure_running().ensure_running()
    assert repr(sandbox).endswith(" running>")
    sandbox.fail_next(503, path="/never")
    statuses = {ask(sandbox) for _ in range(20)}
    sandbox.stop()
    sys.exit(0 if statuses == {200} else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
idle.request("GET", "/")
assert idle.getresponse().read()
idle.close()
assert ask(sandbox) == 200
sandbox.stop()
print("both served")
"""
    assert "both served" in run_script(script)


@pytest.mark.slow
def test_a_forked_child_serves_when_the_parent_does_not() -> None:
    """A web server that forks after the set-up may start the sandbox in its workers."""
    script = """
import os, sys
import http.client
from urllib.parse import urlsplit
from flask_anam.sandbox import Sandbox

sandbox = Sandbox()
if os.fork() == 0:
    sandbox.ensure_running()
    connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=10)
    connection.request("GET", "/")
    print(connection.getresponse().status)
    connection.close()
    sys.exit()
os.wait()
"""
    assert run_script(script).strip() == "200"


def test_an_interpreter_may_end_with_a_sandbox_running() -> None:
    """No stop, open connections: the program still ends without noise."""
    script = (
        "import socket\n"
        "from urllib.parse import urlsplit\n"
        "from flask_anam.sandbox import Sandbox\n"
        "sandbox = Sandbox().start()\n"
        "parts = urlsplit(sandbox.url)\n"
        "connection = socket.create_connection((parts.hostname, parts.port))\n"
        "connection.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')\n"
        "print(connection.recv(12))\n"
        "connection.close()\n"
    )
    assert "200" in run_script(script)


def test_many_threads_may_ask_for_it_to_run() -> None:
    """Only one accepting thread comes of it."""
    sandbox = Sandbox()
    threads = [threading.Thread(target=sandbox.ensure_running) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepting = [thread for thread in threading.enumerate() if thread.name == "anam-sandbox"]
    sandbox.stop()
    assert len(accepting) == 1


def test_no_key_or_token_shows_in_a_repr_or_in_the_log(
    sandbox: Sandbox, mint: Caller, start: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """Printing the sandbox, its ledger or a record, or logging all, gives no secret away."""
    caplog.set_level(logging.DEBUG, "flask_anam.sandbox")
    body = {
        "personaConfig": {"personaId": "p", "systemPrompt": "prompt-secret"},
        "environment": {"token": "environment-secret"},
    }
    token = mint(body).json()["sessionToken"]
    start(token)
    start(sandbox.issue_token())
    ledger = sandbox.ledger
    texts = [repr(item) for item in (sandbox, ledger, ledger.requests, ledger.mints)]
    texts += [repr(ledger.sessions), caplog.text]
    assert "/v1/auth/session-token" in caplog.text
    for secret in (sandbox.api_key, token, "prompt-secret", "environment-secret"):
        assert not any(secret in text for text in texts)


def test_random_keys_differ() -> None:
    """Nobody's key is anybody else's."""
    with Sandbox() as first, Sandbox() as second:
        assert first.api_key != second.api_key
        assert first.api_key.startswith("sandbox-")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"api_key": ""}, ValueError),
        ({"api_key": " key"}, ValueError),
        ({"api_key": "k\u00e9y"}, ValueError),
        ({"api_key": b"key"}, TypeError),
        ({"token_secret": ""}, ValueError),
        ({"port": 65536}, ValueError),
        ({"port": "80"}, TypeError),
        ({"token_lifetime": 0}, ValueError),
        ({"token_lifetime": 1.5}, TypeError),
        ({"latency": -1}, ValueError),
        ({"latency": float("nan")}, ValueError),
        ({"concurrency_limit": -1}, ValueError),
        ({"concurrency_limit": True}, TypeError),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    """The text names the setting."""
    with pytest.raises(error, match=next(iter(settings))):
        Sandbox(**settings)
