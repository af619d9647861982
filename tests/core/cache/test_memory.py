"""The cache in this process: cachelib's rules, and quick when it is full."""

from __future__ import annotations

import threading

import pytest

from flask_anam.core.cache.memory import MemoryCache


@pytest.fixture
def cache() -> MemoryCache:
    """Return an empty cache for ten entries."""
    return MemoryCache(10)


def test_it_keeps_what_it_is_given(cache: MemoryCache) -> None:
    """The rules of every cachelib cache: set, add, get, has, delete and clear."""
    assert cache.set("a", {"x": 1}, timeout=60)
    assert (cache.get("a"), cache.has("a"), cache.get("b"), cache.has("b")) == (
        {"x": 1},
        True,
        None,
        False,
    )
    assert (cache.add("a", 2, timeout=60), cache.add("b", 2, timeout=60)) == (False, True)
    assert cache.get_many("b", "c", "a") == [2, None, {"x": 1}]
    assert (cache.delete("a"), cache.delete("a"), cache.get("a")) == (True, False, None)
    assert cache.clear()
    assert cache.get("b") is None


def test_an_entry_that_is_over_is_not_there(cache: MemoryCache) -> None:
    """A negative time is over at once, 0 lasts for ever, as in SimpleCache."""
    cache.set("gone", 1, timeout=-1)
    cache.set("for ever", 1, timeout=0)
    assert (cache.get("gone"), cache.has("gone")) == (None, False)
    assert cache.get("for ever") == 1
    assert cache.add("gone", 2, timeout=60)
    assert cache.get("gone") == 2


def test_a_full_cache_makes_room_for_several_at_once(cache: MemoryCache) -> None:
    """What is over goes first, then what ends soonest, until a tenth is free."""
    for number in range(8):
        cache.set(f"live {number}", number, timeout=100 + number)
    cache.set("over", 0, timeout=-1)
    cache.set("for ever", 0, timeout=0)
    cache.set("one more", 0, timeout=1000)
    assert cache.get("live 0") is None
    values = cache.get_many(*(f"live {n}" for n in range(1, 8)), "for ever", "one more")
    assert values == [1, 2, 3, 4, 5, 6, 7, 0, 0]
    assert not cache.has("over")


def test_threads_may_fill_it_together(cache: MemoryCache) -> None:
    """It never holds more than it may, and nothing is raised."""
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for number in range(500):
                cache.set(f"{name} {number}", number, timeout=60)
                cache.get_many(f"{name} {number}", f"{name} {number - 1}")
                cache.delete(f"{name} {number - 2}")
        except BaseException as failure:  # noqa: BLE001 - a thread must not swallow it
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(cache.has(f"{name} {n}") for name in range(4) for n in range(500)) <= 10
