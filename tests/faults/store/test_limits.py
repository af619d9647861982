"""Rows 49 and 50, and what the limits promise: exact, given back, told, and cheap."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from faults.store.workers import job_on, run_all, workers
from flask import Flask
from flask_limiter import Limiter
from hosts import ADA, BOB, MINT, TOKEN_PATH, client_of, make_app
from servers.caches import RedisServer, counting_proxy
from werkzeug.test import TestResponse

from flask_anam.rate_limits.storage import _ask_redis
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

DAY = 86400


def _ask(app: Flask, slot: object = "tab", **body: object) -> TestResponse:
    return client_of(app, ADA).post(TOKEN_PATH, json={"slot": str(slot), **body})


def _statuses(app: Flask, *slots: object) -> list[int]:
    return [_ask(app, slot).status_code for slot in slots]


@pytest.fixture(params=["memory", "redis"])
def storage(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty storage for limits."""
    redis = request.param == "redis"
    return str(request.getfixturevalue("redis_url")) if redis else "memory://"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("local", [200, 200, 429]), ("open", [200, 200, 200]), ("closed", [503, 503, 503])],
)
def test_row_49_a_killed_storage_is_answered_as_configured(
    sandbox: Sandbox, mode: str, expected: list[int]
) -> None:
    """Redis is killed between two requests: count locally, do not limit, or refuse."""
    clock = ManualClock(time.time())
    config: dict[str, Any] = {
        "ANAM_LIMITER_ON_ERROR": mode,
        "ANAM_TOKEN_RATE_LIMIT": f"2 per {DAY} seconds",
    }
    with RedisServer() as server:
        app = make_app(sandbox, clock=clock, ANAM_RATE_LIMIT_STORAGE_URI=server.url, **config)
        assert _statuses(app, "before") == [200]
        server.kill()
        begun = time.monotonic()
        assert _statuses(app, 1, 2, 3) == expected
        assert time.monotonic() - begun < 2.0
        if mode == "closed":
            answer = _ask(app)
            assert (answer.get_json()["code"], answer.headers["Retry-After"]) == ("busy", "5")
        server.start()
        clock.move(5.1)
        assert _statuses(app, "a", "b", "c") == [200, 200, 429]


def test_row_49_a_stopped_storage_costs_a_quarter_of_a_second_once(sandbox: Sandbox) -> None:
    """SIGSTOP: one timeout, then the local limit for five seconds."""
    with RedisServer() as server:
        app = make_app(sandbox, clock=ManualClock(), ANAM_RATE_LIMIT_STORAGE_URI=server.url)
        assert _statuses(app, 0) == [200]
        server.pause()
        begun = time.monotonic()
        assert _statuses(app, *range(12)) == [200] * 11 + [429]  # 0 is a reused one
        assert time.monotonic() - begun < 2.0
        server.resume()


def test_row_50_a_process_that_dies_after_counting_locks_nobody_out(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer
) -> None:
    """SIGKILL between count and mint: the count stays for its window, even without an expiry."""
    clock = ManualClock(time.time())
    config: dict[str, Any] = {
        "ANAM_RATE_LIMIT_STORAGE_URI": redis_url,
        "ANAM_TOKEN_RATE_LIMIT": f"1 per {DAY} seconds",
    }
    app = make_app(sandbox, clock=clock, **config)
    sandbox.fail_next(silent=True)
    job = job_on(sandbox, "memory://", users="ada", config=config)
    with workers("storm_worker.py", [job]) as (worker,):
        worker.go()
        assert sandbox.ledger.wait_for(MINT, 1, timeout=20)
        worker.kill()
    with redis_server.client() as client:
        for key in client.keys("*"):
            client.persist(key)
    with app.app_context():
        anam = app.extensions["anam"]
        persona = anam.registry.choose("support")

        def ask() -> Any:
            quota = anam.limits.quota("ada-0", counts_request=False)
            return anam.issuer.issue(persona, user=None, user_id="ada-0", overrides={}, quota=quota)

        with pytest.raises(Exception, match="Rate limit exceeded"):
            ask()
        clock.move(DAY)
        assert ask().session_token


def test_limits_are_exact_for_threads(sandbox: Sandbox, storage: str) -> None:
    """Forty requests of one user at once, each for a token of its own: exactly ten."""
    app = make_app(
        sandbox,
        ANAM_RATE_LIMIT_STORAGE_URI=storage,
        ANAM_TOKEN_RATE_LIMIT=f"10 per {DAY} seconds",
    )
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda n: _ask(app, n).status_code, range(40)))
    assert (answers.count(200), answers.count(429)) == (10, 30)
    assert sandbox.ledger.count(MINT) == 10


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_limits_are_exact_for_processes(sandbox: Sandbox, redis_url: str) -> None:
    """Four processes with ten threads each, one user: exactly ten tokens on Redis."""
    config: dict[str, Any] = {
        "ANAM_RATE_LIMIT_STORAGE_URI": redis_url,
        "ANAM_TOKEN_RATE_LIMIT": f"10 per {DAY} seconds",
    }
    job = job_on(sandbox, "memory://", threads=10, own_slots=True, config=config)
    reports = run_all("storm_worker.py", [job] * 4)
    answers = [answer for report in reports for answer in report["answers"]]
    assert sum("id" in answer for answer in answers) == sandbox.ledger.count(MINT) == 10
    assert [answer["error"] for answer in answers if "error" in answer] == ["rate_limited"] * 30


@pytest.mark.parametrize("status", [400, 401, 402, 429, 503])
def test_a_failed_mint_is_given_back(sandbox: Sandbox, storage: str, status: int) -> None:
    """Anam failed, so the user's count is as before."""
    clock = ManualClock(time.time())
    app = make_app(
        sandbox,
        clock=clock,
        ANAM_RATE_LIMIT_STORAGE_URI=storage,
        ANAM_MAX_ATTEMPTS=1,
        ANAM_TOKEN_RATE_LIMIT=f"2 per {10 * DAY} seconds",
    )
    for _ in range(3):
        sandbox.fail_next(status)
        assert _ask(app).status_code >= 500
        clock.move(601)  # past every cool-down
    assert _statuses(app, 1, 2, 3) == [200, 200, 429]


def test_replayed_and_reused_answers_cost_nothing(sandbox: Sandbox, storage: str) -> None:
    """Slots, idempotency keys and double clicks: only the mint counts."""
    app = make_app(
        sandbox,
        clock=ManualClock(),
        ANAM_RATE_LIMIT_STORAGE_URI=storage,
        ANAM_TOKEN_RATE_LIMIT=f"3 per {DAY} seconds",
    )
    client = client_of(app, ADA)
    asks: list[dict[str, Any]] = [
        {"json": {"slot": "tab"}},
        {"json": {}, "headers": {"Idempotency-Key": "start-1"}},
        {"json": {}},
    ]
    answers = [client.post(TOKEN_PATH, **ask) for ask in asks for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 15
    remaining = [answer.headers["RateLimit-Remaining"] for answer in answers]
    assert remaining == ["2"] * 5 + ["1"] * 5 + ["0"] * 5
    assert _statuses(app, "one more") == [429]


def test_headers_after_mint_reuse_and_refusal(sandbox: Sandbox, storage: str) -> None:
    """RateLimit headers say how the token limit stands, also where nothing was counted."""
    clock = ManualClock(1_800_000_000.0)  # begins an hour
    app = make_app(
        sandbox,
        clock=clock,
        ANAM_RATE_LIMIT_STORAGE_URI=storage,
        ANAM_TOKEN_RATE_LIMIT="2 per hour",
    )

    def ask(slot: str) -> tuple[int, str, str, str]:
        answer = _ask(app, slot)
        names = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
        limit, remaining, reset = (answer.headers[name] for name in names)
        return answer.status_code, limit, remaining, reset

    assert ask("a") == (200, "2", "1", "3600")
    clock.move(100)
    assert ask("a") == (200, "2", "1", "3500")
    assert ask("b") == (200, "2", "0", "3500")
    assert ask("c") == (429, "2", "0", "3500")
    assert ask("a") == (200, "2", "0", "3500")
    assert client_of(app, BOB).post(TOKEN_PATH, json={}).headers["RateLimit-Remaining"] == "1"


def test_a_reused_answer_costs_one_round_trip_each(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer
) -> None:
    """On Redis: one for the token and one for both limits, counted on the wire."""
    with (
        counting_proxy(redis_server.port) as (cache_port, for_tokens),
        counting_proxy(redis_server.port) as (limit_port, for_limits),
    ):
        app = make_app(
            sandbox,
            ANAM_CACHE=f"redis://127.0.0.1:{cache_port}/0",
            ANAM_RATE_LIMIT_STORAGE_URI=f"redis://127.0.0.1:{limit_port}/0",
        )
        assert _statuses(app, "tab", "tab") == [200, 200]  # connects, and mints
        before = for_tokens.count, for_limits.count
        assert _statuses(app, *["tab"] * 20) == [200] * 20
        assert (for_tokens.count - before[0], for_limits.count - before[1]) == (20, 20)
    assert sandbox.ledger.count(MINT) == 1


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize("limiter", ["ours", "the host's"])
def test_a_reused_answer_costs_one_round_trip_in_all_on_one_redis(
    sandbox: Sandbox, redis_server: RedisServer, limiter: str
) -> None:
    """Token and limits are asked for together where they are in the same Redis."""
    with counting_proxy(redis_server.port) as (port, trips):
        url = f"redis://127.0.0.1:{port}/0"
        ours: dict[str, Any] = {"ANAM_RATE_LIMIT_STORAGE_URI": url} if limiter == "ours" else {}
        app = make_app(sandbox, ANAM_CACHE=url, **ours)
        if limiter != "ours":
            Limiter(lambda: "everybody", app=app, storage_uri=url)
        assert _statuses(app, "tab", "tab") == [200, 200]  # connects, and mints
        before = trips.count
        assert _statuses(app, *["tab"] * 20) == [200] * 20
        assert trips.count - before == 20
        answer = _ask(app, "tab")
        assert answer.headers["RateLimit-Remaining"] == "9"
    assert sandbox.ledger.count(MINT) == 1


@pytest.mark.usefixtures("redis_url")
def test_another_database_of_the_same_redis_is_asked_by_itself(
    sandbox: Sandbox, redis_server: RedisServer
) -> None:
    """What is counted in one database says nothing of the tokens in another."""
    with counting_proxy(redis_server.port) as (port, trips):
        url = f"redis://127.0.0.1:{port}"
        app = make_app(sandbox, ANAM_CACHE=f"{url}/1", ANAM_RATE_LIMIT_STORAGE_URI=f"{url}/0")
        assert _statuses(app, "tab", "tab") == [200, 200]
        before = trips.count
        assert _statuses(app, *["tab"] * 20) == [200] * 20
        assert trips.count - before == 40
    assert sandbox.ledger.count(MINT) == 1


@pytest.mark.usefixtures("redis_url")
def test_an_answer_that_was_left_unread_is_nobody_elses(redis_server: RedisServer) -> None:
    """After an error among several answers the connection is not used again."""
    with redis_server.client() as client:
        assert _ask_redis(client, [("SET", "k", "text"), ("GET", "k")]) == [b"OK", b"text"]
        with pytest.raises(redis.ResponseError):
            _ask_redis(client, [("INCRBY", "k", 1), ("GET", "k"), ("GET", "k")])
        assert _ask_redis(client, [("GET", "nothing"), ("GET", "k")]) == [None, b"text"]
