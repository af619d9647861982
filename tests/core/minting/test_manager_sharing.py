"""The token manager under load, with a broken cache, and what it tells of its work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from core.conftest import Broken, ManagerHarness

from flask_anam.errors import AnamError, AnamUnavailable


@pytest.mark.parametrize("mode", ["until_used", "until_expiry", "never"])
@pytest.mark.parametrize("status", [200, 402])
def test_thirty_equal_requests_at_once_are_one_call(
    harness: ManagerHarness, mode: str, status: int
) -> None:
    """They share the token, or the error; the limit is entered once."""
    harness.manager(ANAM_TOKEN_REUSE=mode)
    harness.sandbox.fail_next(status, delay=0.5)
    entered: list[int] = []
    together = threading.Barrier(30)

    @contextmanager
    def limit() -> Iterator[None]:
        entered.append(1)
        yield

    def ask(_number: int) -> str:
        together.wait(10)
        try:
            return harness.ask(slot="s", limit=limit).token_id
        except AnamError as error:
            return error.code

    with ThreadPoolExecutor(30) as pool:
        outcomes = set(pool.map(ask, range(30)))
    assert len(outcomes) == 1
    assert (outcomes == {"anam_quota"}) is (status == 402)
    assert (harness.mints, len(entered)) == (1, 1)
    first, then = ("failed", "failed") if status == 402 else ("minted", "again")
    again = {"replayed": "again", "reused": "again"}  # waited for it, or came just after
    heard = sorted(again.get(what, what) for what, _ in harness.events.log)
    assert heard == sorted([first] + [then] * 29)


def test_the_observer_hears_of_everything(harness: ManagerHarness) -> None:
    """Minted, reused, failed, with the token id or the code."""
    token = harness.ask(slot="s")
    harness.ask(slot="s")
    harness.sandbox.fail_next(401)
    with pytest.raises(AnamError):
        harness.ask(slot="other")
    heard = [("minted", token.token_id), ("reused", token.token_id), ("failed", "anam_auth")]
    assert harness.events.log == heard


def test_a_failed_mint_stores_nothing(harness: ManagerHarness) -> None:
    """The next caller gets a token."""
    harness.sandbox.fail_next(503, times=3)
    with pytest.raises(AnamUnavailable):
        harness.ask(slot="s")
    assert harness.ask(slot="s").reused is False


def test_without_the_cache_tokens_are_minted(harness: ManagerHarness) -> None:
    """Fail open: every caller gets a token, none is reused, a report finds nothing."""
    harness.cache = Broken()
    harness.manager()
    first, second = harness.ask(slot="s"), harness.ask(slot="s")
    assert first.token_id != second.token_id
    assert harness.started("1", first.token_id) is False


@pytest.mark.parametrize("jump", [7200, -7200, -31_536_000])
def test_a_clock_that_jumps_costs_mints_only(harness: ManagerHarness, jump: float) -> None:
    """No token lives for ever, and nobody is locked out."""
    first = harness.ask(slot="s")
    harness.clock.jump(jump)
    second = harness.ask(slot="s")
    assert second.token_id != first.token_id
    assert harness.ask(slot="s").token_id == second.token_id


def test_a_good_token_is_served_when_a_refresh_fails(harness: ManagerHarness) -> None:
    """For half a minute without another attempt, and until 120 s before its end."""
    first = harness.ask(slot="s")
    harness.clock.move(3001)
    harness.sandbox.fail_next(503, times=3)
    mints = harness.mints
    for _ in range(3):
        assert harness.ask(slot="s").token_id == first.token_id
    assert harness.mints == mints + 3
    assert [what for what, _ in harness.events.log] == ["minted"] + 3 * ["stale"]
    harness.clock.move(30)
    assert harness.ask(slot="s").token_id != first.token_id


def test_a_token_near_its_end_is_not_served_for_want_of_a_new_one(harness: ManagerHarness) -> None:
    """It would end while somebody talks."""
    harness.ask(slot="s")
    harness.clock.move(3481)
    harness.sandbox.fail_next(503, times=3)
    with pytest.raises(AnamUnavailable):
        harness.ask(slot="s")


def test_a_refusal_of_the_account_is_not_asked_for_again(harness: ManagerHarness) -> None:
    """Whoever asks, for its cool-down; the limit of nobody is touched."""
    harness.sandbox.fail_next(402)
    mints = harness.mints
    for user in ("1", "2", "3"):
        with pytest.raises(AnamError) as caught:
            harness.ask(user, slot="s")
        assert caught.value.code == "anam_quota"
    assert harness.mints == mints + 1
    harness.clock.move(301)
    assert harness.ask(slot="s").reused is False
