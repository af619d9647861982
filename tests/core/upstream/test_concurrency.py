"""Anam's advisory status: asked seldom, once for everybody, and never in a mint's way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from core.conftest import SECRET, ClientMaker
from hosts import KEY

from flask_anam.core.clock import Deadline
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.concurrency import CACHE_SIZE, FRESH_TIME, ConcurrencyMonitor
from flask_anam.errors import AnamAtCapacity, AnamAuthError, AnamUnavailable, UpstreamError
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

PATH = "/v1/sessions/concurrency"
FULL = {"limit": 5, "active": 5, "canStartSession": False, "estimatedWaitSeconds": 40}
FREE = {"limit": 5, "active": 4, "canStartSession": True, "estimatedWaitSeconds": 0}

Saying = Callable[[], dict[str, Any]]


class FakeClient(AnamClient):
    """A client that gives one answer after another, and the last one again and again."""

    def __init__(self, *answers: dict[str, Any] | UpstreamError) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []

    def concurrency(self, api_key: str, deadline: Deadline) -> dict[str, Any]:
        self.keys.append(api_key)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, UpstreamError):
            raise answer
        return answer


def monitor_of(client: FakeClient, clock: ManualClock) -> ConcurrencyMonitor:
    """Return a monitor on this client."""
    return ConcurrencyMonitor(client, KeyHasher(SECRET), clock)


def test_an_answer_is_told_for_five_seconds(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock, deadline: Deadline
) -> None:
    """The sandbox is asked once; then again."""
    monitor = ConcurrencyMonitor(make_client(), KeyHasher(SECRET), clock)
    first = monitor.status(KEY, deadline)
    clock.move(4.9)
    second = monitor.status(KEY, deadline)
    assert (first.can_start, first.stale, first.age) == (True, False, 0.0)
    assert second.age == pytest.approx(4.9)
    assert sandbox.ledger.count(PATH) == 1
    clock.move(0.1)
    monitor.status(KEY, Deadline.after(clock, 8))
    assert sandbox.ledger.count(PATH) == 2


def test_a_crowd_asks_once(make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock) -> None:
    """Thirty threads wait for one call, and get its error when it fails."""
    monitor = ConcurrencyMonitor(make_client(), KeyHasher(SECRET), clock)
    together = threading.Barrier(30)

    def ask(_number: int) -> str:
        together.wait(10)
        try:
            status = monitor.status(KEY, Deadline.after(clock, 8))
        except UpstreamError as error:
            return error.code
        return "stale" if status.stale else "ok"

    for status, outcome in ((200, "ok"), (503, "anam_unavailable")):
        sandbox.fail_next(status, path=PATH, delay=0.5)
        before = sandbox.ledger.count(PATH)
        with ThreadPoolExecutor(30) as pool:
            assert set(pool.map(ask, range(30))) == {outcome}
        assert sandbox.ledger.count(PATH) == before + 1
        clock.move(100)


def test_accounts_are_told_apart(clock: ManualClock, deadline: Deadline) -> None:
    """Each API key has its own answer, none is kept in clear, and not too many are kept."""
    client = FakeClient(FREE, FULL)
    monitor = monitor_of(client, clock)
    assert monitor.status("key-1", deadline).can_start is True
    assert monitor.status("key-2", deadline).can_start is False
    assert monitor.status("key-1", deadline).can_start is True
    assert client.keys == ["key-1", "key-2"]
    assert "key-1" not in repr(vars(monitor))
    for number in range(CACHE_SIZE + 5):
        monitor.status(f"key {number}", deadline)
    assert len(monitor._cache) == CACHE_SIZE


def test_the_wait_gets_shorter_while_it_is_told(clock: ManualClock, deadline: Deadline) -> None:
    """Forty seconds are thirty-seven three seconds later."""
    monitor = monitor_of(FakeClient(FULL), clock)
    assert monitor.status(KEY, deadline).wait == 40
    clock.move(3)
    assert monitor.status(KEY, deadline).wait == 37


def test_the_last_answer_is_told_for_a_minute(clock: ManualClock, deadline: Deadline) -> None:
    """While Anam is down it is marked as stale, and then the error is told."""
    client = FakeClient(FREE, AnamUnavailable())
    monitor = monitor_of(client, clock)
    monitor.status(KEY, deadline)
    clock.move(30)
    for _ in range(3):
        stale = monitor.status(KEY, deadline)
        assert (stale.active, stale.stale, stale.age) == (4, True, 30)
    assert len(client.keys) == 2  # a failure is told again too
    clock.move(31)
    with pytest.raises(AnamUnavailable):
        monitor.status(KEY, deadline)
    client.answers = [FULL]
    clock.move(5)
    assert monitor.status(KEY, deadline).stale is False


def test_nothing_known_is_the_error(clock: ManualClock, deadline: Deadline) -> None:
    """Without an earlier answer, each caller gets an error of its own."""
    monitor = monitor_of(FakeClient(AnamAuthError()), clock)
    seen = []
    for _ in range(2):
        with pytest.raises(AnamAuthError) as caught:
            monitor.status(KEY, deadline)
        seen.append(caught.value)
    assert seen[0] is not seen[1]


@pytest.mark.parametrize(
    ("answer", "wait"),
    [(FULL, 40), ({"canStartSession": False}, 5), ({**FULL, "estimatedWaitSeconds": 9000}, 300)],
)
def test_a_full_account_refuses(
    clock: ManualClock, deadline: Deadline, answer: dict[str, Any], wait: float
) -> None:
    """With Anam's own estimate, within bounds, or five seconds."""
    with pytest.raises(AnamAtCapacity) as caught:
        monitor_of(FakeClient(answer), clock).raise_if_full(KEY, deadline)
    assert caught.value.retry_after == wait


@pytest.mark.parametrize("estimate", [0, 1, 3, 40])
def test_who_waits_as_asked_gets_a_new_answer(clock: ManualClock, estimate: int) -> None:
    """Retry-After never ends before the status is asked again, however short the estimate is."""
    client = FakeClient({**FULL, "estimatedWaitSeconds": estimate}, FREE)
    monitor = monitor_of(client, clock)
    monitor.status(KEY, Deadline.after(clock, 8))
    clock.move(2)
    with pytest.raises(AnamAtCapacity) as caught:
        monitor.raise_if_full(KEY, Deadline.after(clock, 8))
    assert caught.value.retry_after is not None
    clock.move(caught.value.retry_after)
    monitor.raise_if_full(KEY, Deadline.after(clock, 8))
    assert len(client.keys) == 2


def test_the_default_wait_outlasts_the_cache() -> None:
    """Where Anam gives no estimate, too, the status is asked again by then."""
    assert AnamAtCapacity.default_retry_after is not None
    assert AnamAtCapacity.default_retry_after >= FRESH_TIME


@pytest.mark.parametrize(
    "answer",
    [FREE, {}, {"canStartSession": "no", "limit": True}, AnamUnavailable(), AnamAuthError()],
)
def test_anything_else_lets_the_mint_go_on(
    clock: ManualClock, deadline: Deadline, answer: dict[str, Any] | UpstreamError
) -> None:
    """There is room, nothing was told, or nobody could be asked."""
    monitor_of(FakeClient(answer), clock).raise_if_full(KEY, deadline)


def test_an_old_answer_refuses_nobody(clock: ManualClock, deadline: Deadline) -> None:
    """It was full a while ago, and now nobody knows."""
    monitor = monitor_of(FakeClient(FULL, AnamUnavailable()), clock)
    with pytest.raises(AnamAtCapacity):
        monitor.raise_if_full(KEY, deadline)
    clock.move(6)
    monitor.raise_if_full(KEY, deadline)


def test_odd_numbers_count_as_not_told(clock: ManualClock, deadline: Deadline) -> None:
    """Of the right kind or None, whatever comes back."""
    odd = {"limit": -1, "active": float("inf"), "canStartSession": 1, "estimatedWaitSeconds": 2.2}
    status = monitor_of(FakeClient(odd), clock).status(KEY, deadline)
    assert (status.limit, status.active, status.can_start, status.wait) == (None, None, None, 3)


def test_advice_that_fails_never_stops_a_mint(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock
) -> None:
    """Ten failures of this one path in a row do not open the breaker."""
    client = make_client()
    sandbox.fail_next(500, path=PATH, times=10)
    for _ in range(10):
        with pytest.raises(AnamUnavailable):
            client.concurrency(KEY, Deadline.after(clock, 8))
    assert client.get("/v1/avatars", KEY, Deadline.after(clock, 8))
