"""What is tried again, how often, and what is not."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from faults.upstream.asking import app_at, ask, mints_of
from faults.upstream.servers import RawServer, minted, read_request
from hosts import ADA, BOB, KEY, make_app

from flask_anam.core.clock import Deadline
from flask_anam.core.metrics.recorder import MetricsRecorder
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.transport import Answer, Transport
from flask_anam.errors import UpstreamError
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_row_01_one_server_error_costs_one_more_attempt(sandbox: Sandbox, status: int) -> None:
    """The user gets the token; the second attempt starts within the first backoff."""
    sandbox.fail_next(status)
    assert ask(make_app(sandbox)).status == 200
    first, second = sandbox.ledger.requests
    assert (first.status, second.status) == (status, 200)
    assert second.at - first.at <= 0.25 + 2.0  # which a busy machine may add


def test_row_02_a_server_that_only_fails_is_left_alone(sandbox: Sandbox) -> None:
    """Three attempts, then two, then the circuit breaker opens: nothing is sent for ten seconds."""
    sandbox.fail_next(500, times=99)
    app = make_app(sandbox, ADA, BOB, clock=ManualClock())
    assert (ask(app).code, mints_of(sandbox)) == ("anam_unavailable", 3)
    assert (ask(app).code, mints_of(sandbox)) == ("anam_unavailable", 5)
    refused = ask(app, BOB)
    assert (refused.status, refused.code, mints_of(sandbox)) == (503, "anam_unavailable", 5)
    assert 8 <= int(refused.headers["Retry-After"]) <= 12
    assert refused.seconds < 1.0


def test_row_03_a_refused_connection_is_a_server_error(free_port: int) -> None:
    """The same attempts and circuit breaker, in much less than two seconds of real time."""
    app = app_at(f"http://127.0.0.1:{free_port}")
    first = ask(app)
    assert (first.status, first.code, first.headers["Retry-After"]) == (
        503,
        "anam_unavailable",
        "2",
    )
    assert first.seconds < 0.75 + 2.0
    assert 8 <= int(ask(app).headers["Retry-After"]) <= 12  # the fifth failure has opened it
    assert ask(app).seconds < 1.0


def test_row_06_a_dead_kept_connection_costs_one_read_timeout() -> None:
    """A dead kept-alive connection ends in the read timeout; the retry uses a new one."""
    seen: list[int] = []

    def serve(connection: socket.socket, number: int) -> None:
        while True:
            read_request(connection)
            seen.append(number)
            if number > 1 or len(seen) == 1:
                connection.sendall(minted(f"token-{len(seen)}"))

    with RawServer(serve) as server:
        app = app_at(server.url, ANAM_READ_TIMEOUT=0.4)
        assert ask(app, slot="a").status == 200
        second = ask(app, slot="b")
        app.extensions["anam"].client.close()
    assert (second.status, seen) == (200, [1, 1, 2])
    assert 0.4 <= second.seconds < 0.4 + 0.25 + 3.0


def test_row_07_a_connection_closed_in_our_face_is_retried() -> None:
    """The server closes the connection on our second request: one more attempt succeeds."""
    seen: list[int] = []

    def serve(connection: socket.socket, number: int) -> None:
        read_request(connection)
        seen.append(number)
        connection.sendall(minted(f"token-{number}"))
        read_request(connection)
        seen.append(number)

    with RawServer(serve) as server:
        app = app_at(server.url)
        assert ask(app, slot="a").status == 200
        assert ask(app, slot="b").status == 200
        app.extensions["anam"].client.close()
    assert seen == [1, 1, 2]


def test_connections_are_used_again(sandbox: Sandbox) -> None:
    """Twenty mints one after the other, failures among them, use one connection."""
    app = make_app(sandbox, clock=ManualClock(), ANAM_TOKEN_RATE_LIMIT="99 per hour")
    for number in range(20):
        if number % 7 == 0:
            sandbox.fail_next(503)
        assert ask(app, slot=str(number)).status == 200
    assert {record.connection for record in sandbox.ledger.requests} == {1}
    assert mints_of(sandbox) == 23


class _Weather(Transport):
    """A way to an Anam that fails so often, as far as a client can tell."""

    def __init__(self, failures: float, status: int = 408, body: bytes = b"{}") -> None:
        super().__init__("http://127.0.0.1", connect_timeout=1, read_timeout=1, pool_size=1)
        self._failures = failures
        self._failure = Answer(status, {}, body, cut=False)
        self._dice = random.Random(4711)
        self.calls = 0

    def exchange(self, *_: object, **__: object) -> Answer:
        self.calls += 1
        if self._dice.random() < self._failures:
            return self._failure
        return Answer(200, {}, b'{"sessionToken": "eyJ.eyJ9.x"}', cut=False)


def _season(weather: _Weather, mints: int = 10_000) -> tuple[float, float]:
    """Return the share of mints that work, and calls per mint."""
    clock = ManualClock()
    client = AnamClient(
        weather, clock=clock, max_attempts=3, max_in_flight=32, observer=MetricsRecorder()
    )
    worked = 0
    body: Mapping[str, Any] = {}
    for _ in range(mints):
        try:
            client.mint(body, KEY, Deadline.after(clock, 8))
        except UpstreamError:
            continue
        worked += 1
    return worked / mints, weather.calls / mints


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failures", "worked", "calls"),
    [(0.0, 1.0, 1.0), (0.05, 1.0, 1.05), (0.2, 0.989, 1.24), (0.5, 0.603, 1.21), (1.0, 0.0, 1.0)],
)
def test_the_retry_budget_helps_in_bad_weather_and_is_spent_in_a_storm(
    failures: float, worked: float, calls: float
) -> None:
    """Few failures are retried, and the more there are, the fewer are; 408 opens no breaker."""
    share, amplification = _season(_Weather(failures))
    assert share == pytest.approx(worked, abs=0.03)
    assert amplification == pytest.approx(calls, abs=0.03)


@pytest.mark.slow
def test_answers_that_make_no_sense_earn_no_retries() -> None:
    """A portal that answers 200 to everything costs one call per mint in the end, like a 408."""
    weather = _Weather(1.0, status=200, body=b"<html>")
    worked, calls = _season(weather)
    assert worked == 0.0
    assert calls == pytest.approx(1.0, abs=0.01)
