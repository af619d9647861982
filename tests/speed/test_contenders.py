"""The benchmarks measure what they say: each contender does the whole work, and answers rightly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace

import pytest

from benchmarks import contenders, instant, load, scenarios
from benchmarks.apps import floor
from benchmarks.contenders import Contender
from benchmarks.driver import Driver, compare
from benchmarks.inprocess import profile
from benchmarks.stage import Stage
from benchmarks.upstream import TOKEN_LENGTH

pytestmark = pytest.mark.source

USERS = ["user-0", "user-1"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Yield Redis and the upstream."""
    with Stage() as running:
        yield running


def _one_of_each() -> list[Contender]:
    """Return each app on each of its servers once, with one process and Redis where it may."""
    chosen: dict[tuple[str, str], Contender] = {}
    for contender in contenders.reused(scenarios.FULL.servers):
        chosen[contender.app, contender.server] = replace(contender, workers=1, threads=4)
    return list(chosen.values())


@pytest.mark.slow
@pytest.mark.parametrize("contender", _one_of_each(), ids=lambda c: f"{c.app} on {c.server}")
def test_each_contender_hands_out_a_stored_token(stage: Stage, contender: Contender) -> None:
    """A user gets one token however often it asks, another user another, and nobody none."""
    if reason := contender.missing():
        pytest.skip(reason)
    stage.redis.flushdb()
    running = stage.start(contender, USERS)
    stage.upstream(0)
    first, again, other = (
        load.ask_once(running.port, ask)[1]["sessionToken"]
        for ask in running.asks([USERS[0], USERS[0], USERS[1]], "persona-7", "tab")
    )
    assert len(str(first)) == TOKEN_LENGTH
    assert first == again
    if contender.app != "floor":  # which has one constant answer, and no upstream
        assert other != first
        assert stage.upstream(0) == 2
    assert (stage.redis.dbsize() > 0) is (contender.limits == "redis")
    status, _ = load.ask_once(running.port, ("", json.dumps({"personaType": "persona-7"})))
    assert status == 401


@pytest.mark.slow
def test_loads_and_crowds_are_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, aside: Executor
) -> None:
    """The load of our own does what wrk does, and a crowd for one key costs one call."""
    contender = Contender(
        app="ours", server="gunicorn", cache="redis", limits="redis", workers=1, threads=16
    )
    running = stage.start(contender, USERS)
    asks = running.asks(USERS, "persona-0", "tab")
    monkeypatch.setenv("PATH", "/nowhere")
    answer = aside.submit(load.run, running.port, asks, 0.3, 4).result()
    assert answer.requests > 0
    assert answer.errors == 0
    assert 0 < answer.p50 <= answer.p99
    stage.upstream(0.2)
    herd = running.asks(USERS[:1] * 12, "persona-8", "herd")
    seen = aside.submit(load.crowd, running.port, herd).result()
    assert seen.answered == 12
    assert stage.upstream(0) == 1


@pytest.mark.slow
def test_the_floor_answers_what_we_answer() -> None:
    """Fields, and length but for a digit: so that both send as much."""
    base, anam = Driver(floor.make_app(5), users=5), Driver(instant.make_app(5, 2), users=5)
    floors, answers = json.loads(base.once()), json.loads(anam.once())
    assert sorted(floors) == sorted(answers)
    assert abs(len(str(floors)) - len(str(answers))) < 5
    assert all(len(rounds) == 2 for rounds in compare([base, anam], rounds=2))
    assert "function calls per request" in profile(anam, 5, 3)
