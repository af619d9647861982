"""Mint lock: which process mints, and what those that wait for it learn."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from cachelib import SimpleCache
from core.conftest import SECRET

from flask_anam import errors
from flask_anam.core.cache.backends import Backend
from flask_anam.core.cache.locks import AddLease, Lease, NoLease
from flask_anam.core.clock import Deadline
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.minting.error_codec import encode_error
from flask_anam.core.minting.mint_lock import MintLock
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy
from flask_anam.core.tokens.store import TokenStore
from flask_anam.testing import ManualClock

KEY = KeyHasher(SECRET)("token", "turn")
ENTRY = CacheEntryPolicy(key=KEY, seconds=3000, serve_stale=True, invalidation_keys=())
LockMaker = Callable[..., MintLock]


class DeadLease(AddLease):
    """A lease on a server that is gone."""

    def acquire(self, key: str, seconds: float) -> str | None:
        raise ConnectionError


@pytest.fixture
def cache() -> SimpleCache:
    """Return the cache that all processes of a test share."""
    return SimpleCache()


@pytest.fixture
def make_lock(cache: SimpleCache, clock: ManualClock) -> LockMaker:
    """Return a maker of locks, each of a process of its own."""

    def make(
        entry: CacheEntryPolicy = ENTRY, lease: Lease | None = None, seconds: float = 8.0
    ) -> MintLock:
        backend = Backend(cache, lease or AddLease(cache, clock))
        store = TokenStore(backend, SECRET, clock)
        return MintLock(store, entry, clock, Deadline.after(clock, seconds))

    return make


def test_one_has_the_turn_and_the_others_wait(make_lock: LockMaker) -> None:
    """When it is given back the next one has it."""
    first, second, third = make_lock(), make_lock(), make_lock()
    assert [first.try_acquire(), second.try_acquire(), third.try_acquire()] == [True, False, False]
    first.release()
    assert [second.try_acquire(), third.try_acquire()] == [True, False]
    first.release()
    assert third.try_acquire() is False


def test_the_longest_mint_is_waited_for(make_lock: LockMaker, clock: ManualClock) -> None:
    """The lease of a holder outlives its deadline, of which the longest is a minute."""
    assert make_lock(seconds=60.0).try_acquire()
    clock.move(59.9)
    assert not make_lock().try_acquire()


def test_other_places_do_not_wait(make_lock: LockMaker) -> None:
    """Each token has locks of its own."""
    assert make_lock().try_acquire()
    assert make_lock(
        CacheEntryPolicy(key=KEY + "x", seconds=3000, serve_stale=True, invalidation_keys=())
    ).try_acquire()


@pytest.mark.parametrize(
    ("seconds", "lease"), [(0, None), (3000, NoLease())], ids=["not kept", "no lease"]
)
def test_where_nothing_can_be_shared_it_is_everybodys_turn(
    make_lock: LockMaker, seconds: float, lease: Lease | None
) -> None:
    """A token that is not kept, or processes that cannot agree."""
    entry = CacheEntryPolicy(key=KEY, seconds=seconds, serve_stale=False, invalidation_keys=())
    assert make_lock(entry, lease).try_acquire()
    assert make_lock(entry, lease).try_acquire()


def test_a_dead_store_makes_nobody_wait(
    make_lock: LockMaker, cache: SimpleCache, clock: ManualClock
) -> None:
    """The failure is noticed, and everybody mints."""
    dead = make_lock(lease=DeadLease(cache, clock))
    assert dead.try_acquire()
    dead.release()
    assert clock.slept == []


def test_a_killed_holder_delays_the_others_by_three_seconds(
    make_lock: LockMaker, clock: ManualClock
) -> None:
    """Then whoever waited mints; looks come quickly at first, then four times a second."""
    assert make_lock().try_acquire()
    waiting = make_lock()
    while not waiting.try_acquire():
        waiting.wait()
    assert sum(clock.slept) == pytest.approx(3.0)
    assert clock.slept[0] == 0.02
    assert max(clock.slept) == 0.25
    assert len(clock.slept) < 20


@pytest.mark.parametrize("seconds", [1.0, 0.0, -1.0])
def test_nobody_waits_past_a_deadline(
    make_lock: LockMaker, clock: ManualClock, seconds: float
) -> None:
    """A shorter request has less patience."""
    assert make_lock().try_acquire()
    waiting = make_lock(seconds=seconds)
    while not waiting.try_acquire():
        waiting.wait()
    assert sum(clock.slept) == pytest.approx(max(0.0, seconds))


def test_those_who_wait_share_the_error(make_lock: LockMaker) -> None:
    """The very one of the mint, and nobody tries again."""
    first, second = make_lock(), make_lock()
    assert first.try_acquire()
    assert not second.try_acquire()
    second.wait()
    first.publish_error(errors.AnamUnavailable("Down.", hinted_wait=9))
    first.release()
    with pytest.raises(errors.AnamUnavailable, match=r"^Down\.$") as caught:
        second.wait()
    assert caught.value.retry_after == 9


def test_an_error_from_before_is_not_shared(make_lock: LockMaker, clock: ManualClock) -> None:
    """Who comes after a failure waits for the mint that is under way now."""
    first = make_lock()
    assert first.try_acquire()
    first.publish_error(errors.AnamUnavailable("Old."))
    first.release()
    second, third = make_lock(), make_lock()
    assert second.try_acquire()
    assert not third.try_acquire()
    third.wait()
    third.wait()
    second.publish_error(errors.AnamUnavailable("Old."))
    with pytest.raises(errors.AnamUnavailable, match="Old"):
        third.wait()


def test_an_error_is_told_for_a_second(make_lock: LockMaker, clock: ManualClock) -> None:
    """Later it is nobody's any more: no error, just another look."""
    first, second = make_lock(), make_lock()
    assert first.try_acquire()
    first.publish_error(errors.AnamTimeout())
    clock.move(1.1)
    second.wait()


def test_who_minted_without_the_turn_tells_nobody_that_waits(make_lock: LockMaker) -> None:
    """Only the holder speaks for the others."""
    first, second, third = make_lock(), make_lock(seconds=0), make_lock()
    assert first.try_acquire()
    third.wait()
    assert second.try_acquire()
    second.publish_error(errors.AnamTimeout())
    third.wait()


def test_a_failed_refresh_is_remembered_for_half_a_minute(
    make_lock: LockMaker, clock: ManualClock
) -> None:
    """So that a token that is still good is handed out without an attempt each time."""
    first = make_lock()
    assert not first.refresh_failed_recently()
    first.try_acquire()
    first.publish_error(errors.AnamTimeout())
    assert make_lock().refresh_failed_recently()
    clock.move(29.9)
    assert make_lock().refresh_failed_recently()
    clock.move(0.2)
    assert not make_lock().refresh_failed_recently()


def test_what_is_not_kept_leaves_no_trace(make_lock: LockMaker, cache: SimpleCache) -> None:
    """A entry without time tells nothing to anybody."""
    lock = make_lock(CacheEntryPolicy(key=KEY, seconds=0, serve_stale=False, invalidation_keys=()))
    assert lock.try_acquire()
    lock.publish_error(errors.AnamTimeout())
    lock.release()
    assert cache._cache == {}


@pytest.mark.parametrize(
    "text", ["x", "[]", '["a"]', '["a", {}]', '["a", {"code": "unauthenticated"}]', "1"]
)
def test_an_error_that_makes_no_sense_is_an_outage(
    make_lock: LockMaker, cache: SimpleCache, clock: ManualClock, text: str
) -> None:
    """Of another version of this package, for instance: told as not available."""
    waiting = make_lock()
    waiting.wait()
    store = TokenStore(Backend(cache, NoLease()), SECRET, clock)
    store.put_text(f"{KEY}:failure", text, 1)
    with pytest.raises(errors.AnamUnavailable):
        waiting.wait()


def test_notes_tell_no_secret(make_lock: LockMaker, cache: SimpleCache) -> None:
    """Code, text and wait; the text is one of ours."""
    first = make_lock()
    first.try_acquire()
    error = errors.AnamRateLimited(hinted_wait=3)
    first.publish_error(error)
    stored = cache.get(f"{KEY}:failure")
    noted = json.loads(stored[: stored.rindex(".")])["n"]
    assert json.loads(noted)[1] == encode_error(error)


def test_of_many_threads_one_has_the_turn(make_lock: LockMaker, cache: SimpleCache) -> None:
    """As many as there are processes; `add` has one winner."""
    lock = threading.Lock()
    real = cache.add

    def atomic(*args: object, **kwargs: object) -> bool:
        with lock:
            return real(*args, **kwargs)  # type: ignore[arg-type]

    cache.add = atomic  # type: ignore[method-assign]
    locks = [make_lock() for _ in range(20)]
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda t=t: taken.append(t.try_acquire())) for t in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1
