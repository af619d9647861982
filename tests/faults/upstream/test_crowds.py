"""Two hundred users at once, before an upstream that is healthy, slow, or gone."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

import pytest
from faults.upstream.asking import Asked, app_at, ask, at_once, crowd, environment, mints_of
from faults.upstream.servers import RawServer, black_hole, minted, read_request, stays_silent
from flask import Flask
from hosts import KEY, User

from flask_anam.sandbox import Sandbox

USERS = crowd(200)


HEALTHY = """
import sys
from flask_anam.sandbox import Sandbox
with Sandbox(api_key=sys.argv[1], latency=0.3) as sandbox:
    print(sandbox.url, flush=True)
    sys.stdin.read()
    print(len(sandbox.ledger.mints), len({one.connection for one in sandbox.ledger.requests}))
"""


def _each(app: Flask) -> list[Callable[[], Asked]]:
    """Return one call per user."""
    return [lambda user=user: ask(app, user) for user in USERS]  # type: ignore[misc]


class _Other:
    """Asks another route of the app all the while, as a load balancer's health check does."""

    def __init__(self, app: Flask) -> None:
        self.seconds: list[float] = []
        self._app = app
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        app.add_url_rule("/ping", view_func=lambda: "pong")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            began = time.monotonic()
            assert self._app.test_client().get("/ping").text == "pong"
            self.seconds.append(time.monotonic() - began)

    @property
    def typical(self) -> float:
        """The median of the seconds that an answer took."""
        return sorted(self.seconds)[len(self.seconds) // 2]


@pytest.mark.slow
def test_row_26_a_slow_upstream_parks_32_calls_and_no_more() -> None:
    """32 of 200 users wait for Anam, the others get `busy` after two seconds.

    It answers as soon as all others were turned away, however long that takes here.
    """
    answer_now, turned_away = threading.Event(), threading.Semaphore(0)

    def serve(connection: socket.socket, number: int) -> None:
        read_request(connection)
        answer_now.wait(60)
        connection.sendall(minted(f"token-{number}"))

    def visit(user: User) -> Asked:
        asked = ask(app, user)
        turned_away.release()
        return asked

    def wait_for_the_others() -> None:
        for _ in range(168):
            turned_away.acquire(timeout=60)
        answer_now.set()

    waiting = threading.Thread(target=wait_for_the_others)
    waiting.start()
    with RawServer(serve) as slow:
        app = app_at(slow.url, *USERS, ANAM_READ_TIMEOUT=40, ANAM_DEADLINE=60)
        with _Other(app) as other:
            asked = at_once([lambda user=user: visit(user) for user in USERS])  # type: ignore[misc]
        waiting.join()
    assert Counter(answer.code for answer in asked) == {"ok": 32, "busy": 168}
    assert slow.connections == 32
    busy = [answer for answer in asked if answer.code == "busy"]
    assert {(answer.status, answer.headers["Retry-After"]) for answer in busy} == {(503, "1")}
    assert sorted(answer.seconds for answer in busy)[84] < 2.0 + 2.0
    assert other.typical < 0.25


@pytest.mark.slow
def test_row_26_places_are_given_back(sandbox: Sandbox) -> None:
    """After many requests were refused, one slot is enough for sequential users."""
    app = app_at(sandbox.url, *USERS, ANAM_API_KEY=sandbox.api_key, ANAM_MAX_IN_FLIGHT=1)
    sandbox.fail_next(200, delay=3.0)
    codes = Counter(answer.code for answer in at_once(_each(app)[:10]))
    assert codes == {"ok": 1, "busy": 9}
    assert [ask(app, user).code for user in USERS[10:20]] == ["ok"] * 10
    assert mints_of(sandbox) == 11


@pytest.mark.slow
def test_two_hundred_users_at_once_all_get_their_token() -> None:
    """A healthy upstream that takes 300 ms, in another process: nobody is sent away."""
    assert _best_of_five(_visit_a_healthy_upstream, lambda busy: busy == 0) == 0


def _visit_a_healthy_upstream() -> float:
    """Return how many of 200 users got no token."""
    command = [sys.executable, "-c", HEALTHY, KEY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as upstream:
        assert upstream.stdout
        app = app_at(upstream.stdout.readline().strip(), *USERS)
        asked = at_once(_each(app))
        output, _ = upstream.communicate()
    served = [answer for answer in asked if answer.code == "ok"]
    calls, connections = map(int, output.split())
    assert {answer.code for answer in asked} <= {"ok", "busy"}
    assert len({answer.body["sessionToken"] for answer in served}) == len(served) == calls
    assert connections <= 32
    return 200 - len(served)


@pytest.mark.slow
def test_a_black_hole_costs_under_200_thread_seconds() -> None:
    """200 requests over 4 s, default settings; three attempts each would park over 1200."""
    assert _best_of_five(_visit_a_black_hole, lambda parked: parked < 200) < 200


def _visit_a_black_hole() -> float:
    with black_hole() as port:
        app = app_at(f"http://127.0.0.1:{port}", *USERS)
        with _Other(app) as other:
            asked = at_once(_each(app), over=4.0)
    assert {answer.code for answer in asked} <= {"anam_timeout", "anam_unavailable", "busy"}
    assert other.typical < 0.25
    return sum(answer.seconds for answer in asked)


@pytest.mark.slow
def test_silence_costs_under_200_thread_seconds_with_a_read_timeout_of_two() -> None:
    """The same with a peer that accepts and says nothing; unprotected it is over 1200 too."""
    assert _best_of_five(_visit_a_silent_upstream, lambda parked: parked < 200) < 200


def _visit_a_silent_upstream() -> float:
    with RawServer(stays_silent) as server:
        app = app_at(server.url, *USERS, ANAM_READ_TIMEOUT=2)
        asked = at_once(_each(app), over=4.0)
    assert {answer.code for answer in asked} <= {"anam_timeout", "anam_unavailable", "busy"}
    assert server.connections <= 32 + 4  # four failures free a place before the fifth opens it
    return sum(answer.seconds for answer in asked)


def _best_of_five(measure: Callable[[], float], is_good: Callable[[float], bool]) -> float:
    """Measure again when it was not good: wall time on a shared machine may be anybody's."""
    for _ in range(4):
        if is_good(measured := measure()):
            return measured
    return measure()
