"""Turns: which process mints, and what those that wait for it learn."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from cachelib import SimpleCache

from flask_anam import errors
from flask_anam.core.cache.backends import Backend
from flask_anam.core.cache.locks import AddLease, Lease, NoLease
from flask_anam.core.clock import Deadline
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.minting.error_codec import to_facts
from flask_anam.core.minting.mint_lock import MintLock
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy
from flask_anam.core.tokens.store import TokenStore

from .conftest import SECRET, FrozenClock

KEY = KeyHasher(SECRET)("token", "turn")
PLACE = CacheEntryPolicy(key=KEY, seconds=3000, outlives=True, marks=())
TurnMaker = Callable[..., MintLock]


class DeadLease(AddLease):
    """A lease on a server that is gone."""

    def acquire(self, key: str, seconds: float) -> str | None:
        raise ConnectionError


@pytest.fixture
def cache() -> SimpleCache:
    """Return the cache that all processes of a test share."""
    return SimpleCache()


@pytest.fixture
def turn(cache: SimpleCache, clock: FrozenClock) -> TurnMaker:
    """Return a maker of turns, each of a process of its own."""

    def make(
        place: CacheEntryPolicy = PLACE, lease: Lease | None = None, seconds: float = 8.0
    ) -> MintLock:
        backend = Backend(cache, lease or AddLease(cache, clock))
        store = TokenStore(backend, SECRET, clock)
        return MintLock(store, place, clock, Deadline.after(clock, seconds))

    return make


def test_one_has_the_turn_and_the_others_wait(turn: TurnMaker) -> None:
    """When it is given back the next one has it."""
    first, second, third = turn(), turn(), turn()
    assert [first.take(), second.take(), third.take()] == [True, False, False]
    first.give_back()
    assert [second.take(), third.take()] == [True, False]
    first.give_back()
    assert third.take() is False


def test_the_longest_mint_is_waited_for(turn: TurnMaker, clock: FrozenClock) -> None:
    """The lease of a holder outlives its deadline, of which the longest is a minute."""
    assert turn(seconds=60.0).take()
    clock.move(59.9)
    assert not turn().take()


def test_other_places_do_not_wait(turn: TurnMaker) -> None:
    """Each token has turns of its own."""
    assert turn().take()
    assert turn(CacheEntryPolicy(key=KEY + "x", seconds=3000, outlives=True, marks=())).take()


@pytest.mark.parametrize(
    ("seconds", "lease"), [(0, None), (3000, NoLease())], ids=["not kept", "no lease"]
)
def test_where_nothing_can_be_shared_it_is_everybodys_turn(
    turn: TurnMaker, seconds: float, lease: Lease | None
) -> None:
    """A token that is not kept, or processes that cannot agree."""
    place = CacheEntryPolicy(key=KEY, seconds=seconds, outlives=False, marks=())
    assert turn(place, lease).take()
    assert turn(place, lease).take()


def test_a_dead_store_makes_nobody_wait(
    turn: TurnMaker, cache: SimpleCache, clock: FrozenClock
) -> None:
    """The failure is noticed, and everybody mints."""
    dead = turn(lease=DeadLease(cache, clock))
    assert dead.take()
    dead.give_back()
    assert clock.slept == []


def test_a_killed_holder_delays_the_others_by_three_seconds(
    turn: TurnMaker, clock: FrozenClock
) -> None:
    """Then whoever waited mints; looks come quickly at first, then four times a second."""
    assert turn().take()
    waiting = turn()
    while not waiting.take():
        waiting.wait()
    assert sum(clock.slept) == pytest.approx(3.0)
    assert clock.slept[0] == 0.02
    assert max(clock.slept) == 0.25
    assert len(clock.slept) < 20


@pytest.mark.parametrize("seconds", [1.0, 0.0, -1.0])
def test_nobody_waits_past_a_deadline(turn: TurnMaker, clock: FrozenClock, seconds: float) -> None:
    """A shorter request has less patience."""
    assert turn().take()
    waiting = turn(seconds=seconds)
    while not waiting.take():
        waiting.wait()
    assert sum(clock.slept) == pytest.approx(max(0.0, seconds))


def test_those_who_wait_share_the_error(turn: TurnMaker) -> None:
    """The very one of the mint, and nobody tries again."""
    first, second = turn(), turn()
    assert first.take()
    assert not second.take()
    second.wait()
    first.tell(errors.AnamUnavailable("Down.", hinted_wait=9))
    first.give_back()
    with pytest.raises(errors.AnamUnavailable, match=r"^Down\.$") as caught:
        second.wait()
    assert caught.value.retry_after == 9


def test_an_error_from_before_is_not_shared(turn: TurnMaker, clock: FrozenClock) -> None:
    """Who comes after a failure waits for the mint that is under way now."""
    first = turn()
    assert first.take()
    first.tell(errors.AnamUnavailable("Old."))
    first.give_back()
    second, third = turn(), turn()
    assert second.take()
    assert not third.take()
    third.wait()
    third.wait()
    second.tell(errors.AnamUnavailable("Old."))
    with pytest.raises(errors.AnamUnavailable, match="Old"):
        third.wait()


def test_an_error_is_told_for_a_second(turn: TurnMaker, clock: FrozenClock) -> None:
    """Later it is nobody's any more: no error, just another look."""
    first, second = turn(), turn()
    assert first.take()
    first.tell(errors.AnamTimeout())
    clock.move(1.1)
    second.wait()


def test_who_minted_without_the_turn_tells_nobody_that_waits(turn: TurnMaker) -> None:
    """Only the holder speaks for the others."""
    first, second, third = turn(), turn(seconds=0), turn()
    assert first.take()
    third.wait()
    assert second.take()
    second.tell(errors.AnamTimeout())
    third.wait()


def test_a_failed_refresh_is_remembered_for_half_a_minute(
    turn: TurnMaker, clock: FrozenClock
) -> None:
    """So that a token that is still good is handed out without an attempt each time."""
    first = turn()
    assert not first.was_tried_lately()
    first.take()
    first.tell(errors.AnamTimeout())
    assert turn().was_tried_lately()
    clock.move(29.9)
    assert turn().was_tried_lately()
    clock.move(0.2)
    assert not turn().was_tried_lately()


def test_what_is_not_kept_leaves_no_trace(turn: TurnMaker, cache: SimpleCache) -> None:
    """A place without time tells nothing to anybody."""
    one = turn(CacheEntryPolicy(key=KEY, seconds=0, outlives=False, marks=()))
    assert one.take()
    one.tell(errors.AnamTimeout())
    one.give_back()
    assert cache._cache == {}


@pytest.mark.parametrize(
    "told", ["x", "[]", '["a"]', '["a", {}]', '["a", {"code": "unauthenticated"}]', "1"]
)
def test_an_error_that_makes_no_sense_is_an_outage(
    turn: TurnMaker, cache: SimpleCache, clock: FrozenClock, told: str
) -> None:
    """Of another version of this package, for instance: told as not available."""
    waiting = turn()
    waiting.wait()
    store = TokenStore(Backend(cache, NoLease()), SECRET, clock)
    store.note(f"{KEY}:failure", told, 1)
    with pytest.raises(errors.AnamUnavailable):
        waiting.wait()


def test_notes_tell_no_secret(turn: TurnMaker, cache: SimpleCache) -> None:
    """Code, text and wait; the text is one of ours."""
    first = turn()
    first.take()
    error = errors.AnamRateLimited(hinted_wait=3)
    first.tell(error)
    kept = cache.get(f"{KEY}:failure")
    noted = json.loads(kept[: kept.rindex(".")])["n"]
    assert json.loads(noted)[1] == to_facts(error)


def test_of_many_threads_one_has_the_turn(turn: TurnMaker, cache: SimpleCache) -> None:
    """As many as there are processes; `add` has one winner."""
    lock = threading.Lock()
    real = cache.add

    def atomic(*args: object, **kwargs: object) -> bool:
        with lock:
            return real(*args, **kwargs)  # type: ignore[arg-type]

    cache.add = atomic  # type: ignore[method-assign]
    turns = [turn() for _ in range(20)]
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda t=t: taken.append(t.take())) for t in turns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1
