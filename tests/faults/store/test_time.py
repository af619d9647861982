"""Rows 36, 37, 47 and 48: clocks that jump, an issuer's clock that is off, tokens that get old."""

from __future__ import annotations

import time

import pytest
from flask import Flask
from hosts import ADA, MINT, TOKEN_PATH, client_of, make_app
from servers.caches import RedisServer
from werkzeug.test import TestResponse

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

HOUR, YEAR = 3600.0, 365 * 86400.0


def _ask(app: Flask, slot: str = "tab") -> TestResponse:
    return client_of(app, ADA).post(TOKEN_PATH, json={"slot": slot})


def _token(app: Flask) -> str:
    answer = _ask(app)
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["sessionToken"])


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR, -YEAR])
@pytest.mark.parametrize("cache_url", ["memory", "redis", "memcached", "file"], indirect=True)
def test_row_36_a_clock_that_jumps_costs_mints_only(
    sandbox: Sandbox, cache_url: str, jump: float
) -> None:
    """The clock of one host jumps and returns: new tokens, no endless entry, no waiting."""
    clock, right = ManualClock(time.time()), ManualClock(time.time())
    app = make_app(sandbox, clock=clock, ANAM_CACHE=cache_url)
    other = make_app(sandbox, clock=right, ANAM_CACHE=cache_url)
    first = _token(app)
    clock.jump(jump)
    begun = time.monotonic()
    second = _token(app)
    assert second != first
    assert _ask(app).get_json()["expiresIn"] in {3599, 3600}
    _token(other)
    clock.jump(-jump)
    _token(app)
    clock.move(HOUR)
    right.move(HOUR)
    assert _token(app) not in {first, second}
    assert time.monotonic() - begun < 3.0
    assert sandbox.ledger.count(MINT) <= 5


@pytest.mark.parametrize("jump", [-2 * HOUR, -YEAR])
@pytest.mark.parametrize("status", [401, 402, 429])
@pytest.mark.parametrize("cache_url", ["memory", "redis"], indirect=True)
def test_row_36_a_cool_down_does_not_last_for_ever(
    sandbox: Sandbox, cache_url: str, status: int, jump: float
) -> None:
    """The clock is set back during a cool-down: the next call is made, not refused for a year."""
    clock = ManualClock(time.time())
    app = make_app(sandbox, clock=clock, ANAM_CACHE=cache_url, ANAM_MAX_ATTEMPTS=1)
    sandbox.fail_next(status)
    assert _ask(app).status_code >= 500
    assert _ask(app).status_code >= 500
    assert sandbox.ledger.count(MINT) == 1
    clock.jump(jump)
    assert _ask(app).status_code == 200


@pytest.mark.parametrize("minutes", [-600, -10, 10, 600])
def test_row_37_an_issuers_wrong_clock_changes_no_lifetime(minutes: int) -> None:
    """Anam's clock is wrong: expiresIn and the reuse time are still correct."""
    clock = ManualClock(time.time())
    with Sandbox(clock=lambda: clock.now + 60 * minutes) as sandbox:
        app = make_app(sandbox, clock=clock)
        body = _ask(app).get_json()
        assert body["expiresIn"] in {3599, 3600}
        assert abs(body["expiresAt"] - (clock.now + HOUR)) <= 1
        clock.move(2999)
        assert _token(app) == body["sessionToken"]
        clock.move(2)
        assert _token(app) != body["sessionToken"]


def _aged(sandbox: Sandbox, cache: str, seconds_left: float) -> tuple[Flask, ManualClock, str]:
    """Return an app whose stored token has so many seconds left; one attempt per mint."""
    clock = ManualClock(time.time())
    app = make_app(sandbox, clock=clock, ANAM_CACHE=cache, ANAM_MAX_ATTEMPTS=1)
    token = _token(app)
    clock.move(HOUR - seconds_left)
    return app, clock, token


@pytest.mark.parametrize("cache_url", ["memory", "redis", "memcached", "file"], indirect=True)
def test_row_47_a_failing_refresh_serves_the_stored_token(sandbox: Sandbox, cache_url: str) -> None:
    """Nine minutes left: the stored token is used, counted as stale, with one attempt per 30 s."""
    app, clock, token = _aged(sandbox, cache_url, 540)
    sandbox.fail_next(500, times=100)
    for _ in range(10):
        assert _token(app) == token
    assert sandbox.ledger.count(MINT) == 2
    clock.move(31)
    assert _token(app) == token
    assert sandbox.ledger.count(MINT) == 3
    metrics = client_of(app, ADA).get("/anam/metrics").get_json()
    assert (metrics["tokensReusedStale"], metrics["tokensReused"]) == (11, 11)
    sandbox.clear_failures()
    clock.move(31)
    assert _token(app) != token


def test_row_47_one_attempt_is_for_all_processes(sandbox: Sandbox, redis_url: str) -> None:
    """The failed attempt is shared: another process also uses the stored token."""
    app, clock, token = _aged(sandbox, redis_url, 540)
    other = make_app(sandbox, clock=clock, ANAM_CACHE=redis_url)
    sandbox.fail_next(500, times=100)
    assert _token(app) == _token(other) == token
    assert sandbox.ledger.count(MINT) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_row_47_a_refused_key_is_no_reason_for_a_stored_token(
    sandbox: Sandbox, status: int
) -> None:
    """401 and 403 are reported; the stored token does not hide them."""
    app, _, _ = _aged(sandbox, "memory://", 540)
    sandbox.fail_next(status)
    answer = _ask(app)
    assert (answer.status_code, answer.get_json()["code"]) == (502, "anam_auth")


@pytest.mark.parametrize("seconds", [60, 119])
@pytest.mark.parametrize("cache_url", ["memory", "redis"], indirect=True)
def test_row_48_a_token_of_a_minute_is_not_served(
    sandbox: Sandbox, cache_url: str, seconds: float
) -> None:
    """Less than 120 s left: the error."""
    app, _, _ = _aged(sandbox, cache_url, seconds)
    sandbox.fail_next(500)
    answer = _ask(app)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "anam_unavailable")


def test_row_47_a_stored_token_outlives_a_dead_upstream_on_a_restarted_app(
    sandbox: Sandbox,
) -> None:
    """A new process uses the token of an old one in Redis while Anam is down."""
    with RedisServer() as server:
        _, clock, token = _aged(sandbox, server.url, 540)
        sandbox.fail_next(500, times=100)
        assert _token(make_app(sandbox, clock=clock, ANAM_CACHE=server.url)) == token
