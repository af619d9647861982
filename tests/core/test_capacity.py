"""Anam's advisory status: asked seldom, once for everybody, and never in a mint's way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_anam.core.clock import Deadline
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.upstream.concurrency import REMEMBERED, Capacity
from flask_anam.errors import AnamAtCapacity, AnamAuthError, AnamUnavailable, UpstreamError
from flask_anam.sandbox import Sandbox

from .conftest import KEY, SECRET, ClientMaker, FrozenClock

PATH = "/v1/sessions/concurrency"
FULL = {"limit": 5, "active": 5, "canStartSession": False, "estimatedWaitSeconds": 40}
FREE = {"limit": 5, "active": 4, "canStartSession": True, "estimatedWaitSeconds": 0}

Saying = Callable[[], dict[str, Any]]


class Source:
    """Says what it is told to say."""

    def __init__(self, *said: dict[str, Any] | UpstreamError) -> None:
        self.said = list(said)
        self.keys: list[str] = []

    def concurrency(self, api_key: str, deadline: Deadline) -> dict[str, Any]:
        self.keys.append(api_key)
        said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(said, UpstreamError):
            raise said
        return said


def capacity_of(source: Source, clock: FrozenClock) -> Capacity:
    """Return what knows only this source."""
    return Capacity(source, KeyHasher(SECRET), clock)


def test_an_answer_is_told_for_five_seconds(
    make_client: ClientMaker, sandbox: Sandbox, clock: FrozenClock, deadline: Deadline
) -> None:
    """The sandbox is asked once; then again."""
    capacity = Capacity(make_client(), KeyHasher(SECRET), clock)
    first = capacity.occupancy(KEY, deadline)
    clock.move(4.9)
    second = capacity.occupancy(KEY, deadline)
    assert (first.can_start, first.stale, first.age) == (True, False, 0.0)
    assert second.age == pytest.approx(4.9)
    assert sandbox.ledger.count(PATH) == 1
    clock.move(0.1)
    capacity.occupancy(KEY, Deadline.after(clock, 8))
    assert sandbox.ledger.count(PATH) == 2


def test_a_crowd_asks_once(make_client: ClientMaker, sandbox: Sandbox, clock: FrozenClock) -> None:
    """Thirty threads wait for one call, and get its error when it fails."""
    capacity = Capacity(make_client(), KeyHasher(SECRET), clock)
    together = threading.Barrier(30)

    def ask(_number: int) -> str:
        together.wait(10)
        try:
            found = capacity.occupancy(KEY, Deadline.after(clock, 8))
        except UpstreamError as error:
            return error.code
        return "stale" if found.stale else "ok"

    for status, outcome in ((200, "ok"), (503, "anam_unavailable")):
        sandbox.fail_next(status, path=PATH, delay=0.5)
        before = sandbox.ledger.count(PATH)
        with ThreadPoolExecutor(30) as pool:
            assert set(pool.map(ask, range(30))) == {outcome}
        assert sandbox.ledger.count(PATH) == before + 1
        clock.move(100)


def test_accounts_are_told_apart(clock: FrozenClock, deadline: Deadline) -> None:
    """Each API key has its own answer, none is kept in clear, and not too many are kept."""
    source = Source(FREE, FULL)
    capacity = capacity_of(source, clock)
    assert capacity.occupancy("key-1", deadline).can_start is True
    assert capacity.occupancy("key-2", deadline).can_start is False
    assert capacity.occupancy("key-1", deadline).can_start is True
    assert source.keys == ["key-1", "key-2"]
    assert "key-1" not in repr(vars(capacity))
    for number in range(REMEMBERED + 5):
        capacity.occupancy(f"key {number}", deadline)
    assert len(capacity._known) == REMEMBERED


def test_the_wait_gets_shorter_while_it_is_told(clock: FrozenClock, deadline: Deadline) -> None:
    """Forty seconds are thirty-seven three seconds later."""
    capacity = capacity_of(Source(FULL), clock)
    assert capacity.occupancy(KEY, deadline).wait == 40
    clock.move(3)
    assert capacity.occupancy(KEY, deadline).wait == 37


def test_the_last_answer_is_told_for_a_minute(clock: FrozenClock, deadline: Deadline) -> None:
    """While Anam is down it is marked as stale, and then the error is told."""
    source = Source(FREE, AnamUnavailable())
    capacity = capacity_of(source, clock)
    capacity.occupancy(KEY, deadline)
    clock.move(30)
    for _ in range(3):
        stale = capacity.occupancy(KEY, deadline)
        assert (stale.active, stale.stale, stale.age) == (4, True, 30)
    assert len(source.keys) == 2  # a failure is told again too
    clock.move(31)
    with pytest.raises(AnamUnavailable):
        capacity.occupancy(KEY, deadline)
    source.said = [FULL]
    clock.move(5)
    assert capacity.occupancy(KEY, deadline).stale is False


def test_nothing_known_is_the_error(clock: FrozenClock, deadline: Deadline) -> None:
    """Without an earlier answer, each caller gets an error of its own."""
    capacity = capacity_of(Source(AnamAuthError()), clock)
    seen = []
    for _ in range(2):
        with pytest.raises(AnamAuthError) as caught:
            capacity.occupancy(KEY, deadline)
        seen.append(caught.value)
    assert seen[0] is not seen[1]


@pytest.mark.parametrize(
    ("said", "wait"),
    [(FULL, 40), ({"canStartSession": False}, 5), ({**FULL, "estimatedWaitSeconds": 9000}, 300)],
)
def test_a_full_account_refuses(
    clock: FrozenClock, deadline: Deadline, said: dict[str, Any], wait: float
) -> None:
    """With Anam's own estimate, within bounds, or five seconds."""
    with pytest.raises(AnamAtCapacity) as caught:
        capacity_of(Source(said), clock).refuse_if_full(KEY, deadline)
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    "said",
    [FREE, {}, {"canStartSession": "no", "limit": True}, AnamUnavailable(), AnamAuthError()],
)
def test_anything_else_lets_the_mint_go_on(
    clock: FrozenClock, deadline: Deadline, said: dict[str, Any] | UpstreamError
) -> None:
    """There is room, nothing was told, or nobody could be asked."""
    capacity_of(Source(said), clock).refuse_if_full(KEY, deadline)


def test_an_old_answer_refuses_nobody(clock: FrozenClock, deadline: Deadline) -> None:
    """It was full a while ago, and now nobody knows."""
    capacity = capacity_of(Source(FULL, AnamUnavailable()), clock)
    with pytest.raises(AnamAtCapacity):
        capacity.refuse_if_full(KEY, deadline)
    clock.move(6)
    capacity.refuse_if_full(KEY, deadline)


def test_odd_numbers_count_as_not_told(clock: FrozenClock, deadline: Deadline) -> None:
    """Of the right kind or None, whatever comes back."""
    odd = {"limit": -1, "active": float("inf"), "canStartSession": 1, "estimatedWaitSeconds": 2.2}
    found = capacity_of(Source(odd), clock).occupancy(KEY, deadline)
    assert (found.limit, found.active, found.can_start, found.wait) == (None, None, None, 3)


def test_advice_that_fails_never_stops_a_mint(
    make_client: ClientMaker, sandbox: Sandbox, clock: FrozenClock
) -> None:
    """Ten failures of this one path in a row do not open the breaker."""
    client = make_client()
    sandbox.fail_next(500, path=PATH, times=10)
    for _ in range(10):
        with pytest.raises(AnamUnavailable):
            client.concurrency(KEY, Deadline.after(clock, 8))
    assert client.get("/v1/avatars", KEY, Deadline.after(clock, 8))
