"""What is remembered of a refusal: for how long, by whom, and what ends it early."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from faults.upstream.asking import ask, at_once, crowd, mints_of
from flask import Flask
from hosts import ADA, BOB, make_app

import flask_anam
from flask_anam import AnamError
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

RATE = {"error": "Too many requests"}
SPEND = {"error": "Spend cap reached"}


@contextlib.contextmanager
def _redis(folder: Path, port: int) -> Iterator[str]:
    """Run a Redis server that keeps nothing; end it by its process id."""
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([*command, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            ready = False
            while not ready and server.poll() is None:
                with contextlib.suppress(redis.ConnectionError):
                    ready = client.ping()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(params=["file", "redis"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, free_port: int) -> Iterator[str]:
    """Yield the URL of a cache that several processes may share."""
    if request.param == "file":
        yield f"file://{tmp_path}/cache"
        return
    with _redis(tmp_path, free_port) as url:
        yield url


@pytest.mark.parametrize("status", [401, 403])
def test_row_17_a_refused_key_is_not_tried_for_30_seconds(
    sandbox: Sandbox, clock: ManualClock, status: int
) -> None:
    """One attempt, then none for any user; if refused again, the cool-down doubles up to 300 s."""
    app = make_app(sandbox, ADA, BOB, clock=clock)
    sandbox.fail_next(status, times=9)
    heard: list[AnamError] = []

    def hear(sender: Flask, error: AnamError, **_: Any) -> None:
        heard.append(error)

    flask_anam.token_failed.connect(hear, sender=app)
    for number, pause in enumerate([30, 60, 120, 240, 300, 300], start=1):
        assert (ask(app).code, mints_of(sandbox)) == ("anam_auth", number)
        clock.move(pause - 0.5)
        refused = ask(app, BOB)
        assert (refused.status, refused.code, mints_of(sandbox)) == (502, "anam_auth", number)
        clock.move(1.0)
    assert {error.code for error in heard} == {"anam_auth"}
    assert len(heard) == 12
    sandbox.clear_failures()
    assert ask(app).status == 200
    sandbox.fail_next(status)
    assert ask(app, BOB).status == 502
    clock.move(30.5)
    assert ask(app, BOB).status == 200  # the success had ended the doubling


def test_row_17_a_refused_key_is_known_to_all_who_share_the_cache(
    sandbox: Sandbox, clock: ManualClock, cache: str
) -> None:
    """Two apps as two processes: the second does not call; both resume at the same time."""
    first, second = (make_app(sandbox, ADA, BOB, clock=clock, ANAM_CACHE=cache) for _ in range(2))
    sandbox.fail_next(401)
    assert (ask(first).code, ask(second, BOB).code, mints_of(sandbox)) == (
        "anam_auth",
        "anam_auth",
        1,
    )
    clock.move(29)
    assert (ask(second).code, mints_of(sandbox)) == ("anam_auth", 1)
    clock.move(1.1)
    assert (ask(second, BOB).status, ask(first).status, mints_of(sandbox)) == (200, 200, 3)


def test_row_17_another_key_works_at_once(sandbox: Sandbox, clock: ManualClock, cache: str) -> None:
    """The cool-down belongs to the key: a new key works at once, in every process."""
    keys = ["a-key-that-was-revoked"]
    settings: dict[str, Any] = {"ANAM_API_KEY": lambda: keys[-1], "ANAM_CACHE": cache}
    first, second = (make_app(sandbox, clock=clock, **settings) for _ in range(2))
    assert [ask(app).code for app in (first, second, first)] == ["anam_auth"] * 3
    assert mints_of(sandbox) == 1
    keys.append(sandbox.api_key)
    assert [ask(app, slot="tab").status for app in (first, second)] == [200, 200]
    keys.pop()
    assert (ask(first).code, mints_of(sandbox)) == ("anam_auth", 2)


@pytest.mark.slow
def test_row_17_many_who_learn_of_one_refusal_at_once_do_not_prolong_it(
    sandbox: Sandbox, clock: ManualClock
) -> None:
    """Twenty running calls when the key is revoked count as one refusal, so 30 seconds."""
    users = crowd(20)
    app = make_app(sandbox, *users, clock=clock)
    sandbox.fail_next(401, times=20, delay=2.0)
    asked = at_once([lambda user=user: ask(app, user) for user in users])  # type: ignore[misc]
    assert {answer.code for answer in asked} == {"anam_auth"}
    assert mints_of(sandbox) == 20
    clock.move(30.5)
    assert ask(app, users[0]).status == 200


QUOTA: dict[str, dict[str, Any]] = {
    "402": {"status": 402},
    "spend cap": {"status": 429, "json": SPEND},
    "usage limit": {"status": 429, "json": {"error": "Usage limit reached"}},
    "concurrency": {"status": 429, "json": {"error": "Concurrent session limit reached"}},
    "with a wait": {"status": 429, "json": SPEND, "headers": {"Retry-After": "1"}},
}


@pytest.mark.parametrize("fault", QUOTA.values(), ids=QUOTA)
def test_row_18_a_used_up_plan_is_not_asked_for_300_seconds(
    sandbox: Sandbox, clock: ManualClock, fault: dict[str, Any]
) -> None:
    """One attempt, 502, and no call for any user until the cool-down ends."""
    app = make_app(sandbox, ADA, BOB, clock=clock)
    sandbox.fail_next(times=9, **fault)
    assert (ask(app).code, mints_of(sandbox), clock.slept) == ("anam_quota", 1, [])
    clock.move(299)
    refused = ask(app, BOB)
    assert (refused.status, refused.code, mints_of(sandbox)) == (502, "anam_quota", 1)
    clock.move(1.1)
    assert (ask(app, BOB).code, mints_of(sandbox)) == ("anam_quota", 2)


def test_row_18_a_used_up_plan_is_known_to_all_who_share_the_cache(
    sandbox: Sandbox, clock: ManualClock, cache: str
) -> None:
    """The second process makes no call at all."""
    first, second = (make_app(sandbox, ADA, BOB, clock=clock, ANAM_CACHE=cache) for _ in range(2))
    sandbox.fail_next(402)
    assert (ask(first).code, ask(second, BOB).code) == ("anam_quota", "anam_quota")
    assert mints_of(sandbox) == 1


def test_a_rate_limit_without_a_wait_pauses_longer_each_time(
    sandbox: Sandbox, clock: ManualClock
) -> None:
    """2, 4, 8 ... at most 60 seconds, each a fifth more or less."""
    app = make_app(sandbox, clock=clock, ANAM_MAX_ATTEMPTS=1)
    sandbox.fail_next(429, json=RATE, times=99)
    for number, pause in enumerate([2, 4, 8, 16, 32, 60, 60], start=1):
        assert (ask(app).code, mints_of(sandbox)) == ("anam_rate_limited", number)
        clock.move(pause * 0.8 - 0.05)
        assert (ask(app).code, mints_of(sandbox)) == ("anam_rate_limited", number)
        clock.move(pause * 0.4 + 0.1)


def test_a_rate_limit_is_known_to_all_who_share_the_cache(
    sandbox: Sandbox, clock: ManualClock, cache: str
) -> None:
    """The wait that Anam asked one process for holds for the others, and counts down there."""
    first, second = (make_app(sandbox, ADA, BOB, clock=clock, ANAM_CACHE=cache) for _ in range(2))
    sandbox.fail_next(429, json=RATE, headers={"Retry-After": "90"})
    assert ask(first).headers["Retry-After"] == "90"
    clock.move(40)
    answer = ask(second, BOB)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (
        503,
        "anam_rate_limited",
        "50",
    )
    assert mints_of(sandbox) == 1
    clock.move(50.1)
    assert (ask(second, BOB).status, mints_of(sandbox)) == (200, 2)


def test_a_refused_body_is_no_matter_of_other_processes(
    sandbox: Sandbox, clock: ManualClock, cache: str
) -> None:
    """A 400 may be of one release of the app: the other process asks for itself."""
    first, second = (make_app(sandbox, ADA, BOB, clock=clock, ANAM_CACHE=cache) for _ in range(2))
    sandbox.fail_next(400)
    assert (ask(first).code, ask(second, BOB).status, ask(first).code) == (
        "anam_rejected",
        200,
        "anam_rejected",
    )
    assert mints_of(sandbox) == 2


def test_row_60_a_rotated_key_is_used_at_once_and_old_tokens_are_not_served(
    sandbox: Sandbox, clock: ManualClock, cache: str
) -> None:
    """Tokens of the old account stay stored; nobody gets them with the new key."""
    with Sandbox(api_key="another-account") as other:
        keys = {"now": sandbox.api_key}
        settings: dict[str, Any] = {"ANAM_API_KEY": lambda: keys["now"], "ANAM_CACHE": cache}
        app = make_app(sandbox, clock=clock, **settings)
        first = ask(app, slot="tab").body["sessionToken"]
        assert ask(app, slot="tab").body["sessionToken"] == first
        keys["now"] = other.api_key
        assert (ask(app, slot="tab").code, mints_of(sandbox)) == ("anam_auth", 2)
        sent = [record.headers["authorization"] for record in sandbox.ledger.requests]
        assert sent == [f"Bearer {sandbox.api_key}", "Bearer another-account"]
        keys["now"] = sandbox.api_key
        assert ask(app, slot="tab").body["sessionToken"] == first
        assert mints_of(sandbox) == 2
