"""Servers and interpreters: gevent workers, reloads and shutdowns with requests in flight."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from faults.upstream.asking import environment, mints_of, run_script
from faults.upstream.servers import RawServer, stays_silent
from hosts import TOKEN_PATH

from flask_anam.sandbox import Sandbox

GREENLETS = """
import sys, time, logging, warnings
logging.disable()
url, key, patched = sys.argv[1:]

def patch():
    from gevent import monkey
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ssl, which was imported before
        monkey.patch_all()

if patched == "first":
    patch()
from collections import Counter
from faults.upstream.asking import app_at, ask, crowd
users = crowd(20)
app = app_at(url, *users, ANAM_API_KEY=key, ANAM_MAX_IN_FLIGHT=8)
if patched == "last":
    patch()
import gevent

ticks = [time.monotonic()]
def tick():
    while True:
        gevent.sleep(0.02)
        ticks.append(time.monotonic())

ticker = gevent.spawn(tick)
same = [gevent.spawn(ask, app, users[0], slot="tab") for _ in range(60)]
gevent.joinall(same, raise_error=True)
print(len({one.value.body["sessionToken"] for one in same}))
crowded = [gevent.spawn(ask, app, user) for user in users]
gevent.joinall(crowded, raise_error=True)
print(Counter(one.value.code for one in crowded)["ok"])
doomed = [gevent.spawn(ask, app, user, slot="doomed") for user in users]
gevent.sleep(0.1)
gevent.killall(doomed)
after = [gevent.spawn(ask, app, user, slot="after") for user in users[:8]]
gevent.joinall(after, raise_error=True)
print(Counter(one.value.code for one in after)["ok"])
ticker.kill()
print(len(ticks))
"""


@pytest.mark.slow
@pytest.mark.parametrize("patched", ["first", "last"])
def test_row_57_greenlets_share_a_mint_and_never_stall_the_hub(patched: str) -> None:
    """60 greenlets cause one mint, 20 wait for 8 slots, killed greenlets release their slots."""
    with Sandbox(latency=0.3) as sandbox:
        output = run_script(GREENLETS, sandbox.url, sandbox.api_key, patched, timeout=60)
        tokens, crowded, after, ticks = output.split()
        assert (tokens, crowded, after) == ("1", "20", "8")
        assert mints_of(sandbox) == 1 + 20 + 8 + 8
    assert int(ticks) > 10  # the hub went round while greenlets waited


@contextlib.contextmanager
def _gunicorn(
    sandbox: Sandbox, port: int, log: Path, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run gunicorn on the host app; end it by its process id."""
    command = [sys.executable, "-m", "gunicorn", "faults.upstream.host_app:app"]
    bound = ["--bind", f"127.0.0.1:{port}", "--workers", "1", "--graceful-timeout", "10"]
    env = environment(HOST_API_KEY=sandbox.api_key, HOST_UPSTREAM=sandbox.url)
    with log.open("wb") as out:
        server = subprocess.Popen([*command, *bound, *options], env=env, stdout=out, stderr=out)
        try:
            up = False
            while not up and server.poll() is None:
                with contextlib.suppress(requests.ConnectionError):
                    up = requests.get(f"http://127.0.0.1:{port}/ping", timeout=10).ok
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(15)


def _post(port: int, user: str) -> requests.Response:
    url = f"http://127.0.0.1:{port}{TOKEN_PATH}"
    return requests.post(url, json={"slot": "tab"}, headers={"X-User": user}, timeout=20)


@pytest.mark.slow
def test_row_57_a_preloaded_gevent_worker_answers_while_calls_wait(
    free_port: int, tmp_path: Path
) -> None:
    """All locks existed before gunicorn's patch: twelve users wait, a health check does not."""
    log = tmp_path / "log"
    with (
        Sandbox(latency=0.4) as sandbox,
        _gunicorn(sandbox, free_port, log, "--worker-class", "gevent", "--preload"),
        ThreadPoolExecutor(12) as pool,
    ):
        waiting = [pool.submit(_post, free_port, f"user-{number}") for number in range(12)]
        assert sandbox.ledger.wait_for("/v1/auth/session-token", 1)
        began = time.monotonic()
        assert requests.get(f"http://127.0.0.1:{free_port}/ping", timeout=10).text == "pong"
        pinged = time.monotonic() - began
        assert Counter(future.result().status_code for future in waiting) == {200: 12}
        assert mints_of(sandbox) == 12
    assert pinged < 2.0
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_row_58_a_reload_lets_a_request_finish_and_says_nothing(
    sandbox: Sandbox, free_port: int, tmp_path: Path
) -> None:
    """SIGHUP during a mint: that user gets the token, the next worker continues."""
    log = tmp_path / "log"
    sandbox.fail_next(200, delay=1.5)
    threads = ("--worker-class", "gthread", "--threads", "4")
    with (
        _gunicorn(sandbox, free_port, log, *threads) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        flying = pool.submit(_post, free_port, "ada")
        assert sandbox.ledger.wait_for("/v1/auth/session-token", 1)
        server.send_signal(signal.SIGHUP)
        assert flying.result().status_code == 200
        assert _post(free_port, "bob").status_code == 200
    assert (server.returncode, mints_of(sandbox)) == (0, 2)
    for noise in ("Traceback", "Exception", "Error", "SIGKILL"):
        assert noise not in log.read_text()


SHUTDOWN = """
import logging, sys, threading
logging.disable()
from faults.upstream.asking import app_at, ask
url, how, seconds = sys.argv[1:]
app = app_at(url, ANAM_READ_TIMEOUT=float(seconds), ANAM_MAX_ATTEMPTS=1)
thread = threading.Thread(target=lambda: print(ask(app).code), daemon=how == "daemon")
thread.start()
sys.stdin.readline()
print(sorted(one.name for one in threading.enumerate() if one is not thread))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "seconds"), [("daemon", 30.0), ("thread", 1.5)])
def test_row_58_an_interpreter_ends_quietly_with_a_request_in_flight(
    how: str, seconds: float
) -> None:
    """No thread of ours and no message at exit; a daemon thread is dropped, others finish."""
    command = [sys.executable, "-W", "error", "-c", SHUTDOWN]
    asked = threading.Event()

    def hears(connection: socket.socket, number: int) -> None:
        asked.set()
        stays_silent(connection, number)

    with RawServer(hears) as server:
        child = subprocess.Popen(
            [*command, server.url, how, str(seconds)],
            text=True,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert asked.wait(20)
        began = time.monotonic()
        output, noise = child.communicate("\n", timeout=20)
        took = time.monotonic() - began
    assert (child.returncode, noise) == (0, "")
    assert output.split("\n")[0] == "['MainThread']"
    assert output.split("\n")[1] == ("" if how == "daemon" else "anam_timeout")
    assert took < 5.0


AFTERWARDS = """
import logging, sys, threading
logging.disable()
from faults.upstream.asking import app_at, ask
app = app_at(sys.argv[1], ANAM_API_KEY=sys.argv[2])
print(ask(app).code, ask(app, slot="tab").code, threading.active_count())
"""


@pytest.mark.slow
def test_row_58_nothing_runs_on_after_a_request(sandbox: Sandbox) -> None:
    """The package starts no threads, and an idle connection causes no message at exit."""
    output = run_script(AFTERWARDS, sandbox.url, sandbox.api_key)
    assert output.split() == ["ok", "ok", "1"]
