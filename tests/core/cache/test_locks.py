"""Leases: none, on a cache with an atomic add, and by file locks."""

from __future__ import annotations

from pathlib import Path

import pytest
from cachelib import SimpleCache
from core.forking import child_says

from flask_anam.core.cache.locks import LEASE_MARGIN, STRIPES, AddLease, FileLease, NoLease
from flask_anam.testing import ManualClock


def test_without_a_lease_everybody_acts() -> None:
    """Nobody is told to wait, and nothing is given back."""
    lease = NoLease()
    assert [lease.acquire("k", 8), lease.acquire("k", 8)] == ["", ""]
    lease.release("k", "")
    assert lease.shared is False


class Eternal(SimpleCache):
    """A cache that lost the expiry of its keys."""

    def add(self, key: str, value: object, timeout: object = None) -> bool:
        """Keep it for ever."""
        return super().add(key, value, timeout=0)


class Bytes(SimpleCache):
    """A cache that gives bytes back, as memcached does."""

    def get(self, key: str) -> object:
        """Return bytes."""
        value = super().get(key)
        return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize("kind", [SimpleCache, Eternal, Bytes], ids=lambda kind: kind.__name__)
def test_an_add_has_one_winner_until_its_end(kind: type[SimpleCache], clock: ManualClock) -> None:
    """Two seconds more than asked for by our clock, also when the cache forgot the expiry."""
    cache = kind()
    first, second = AddLease(cache, clock), AddLease(cache, clock)
    assert first.acquire("k", 8)
    assert [first.acquire("k", 8), second.acquire("k", 8)] == [None, None]
    assert second.acquire("other", 8)
    clock.move(9.9)
    assert second.acquire("k", 8) is None
    clock.move(0.2)
    assert second.acquire("k", 8)
    assert first.acquire("k", 8) is None


class Recording(SimpleCache):
    """A cache that remembers the expiry it was given."""

    def add(self, key: str, value: object, timeout: object = None) -> bool:
        """Remember it, and keep the value for ever."""
        self.timeout = timeout
        return super().add(key, value, timeout=0)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.5, 60.0])
def test_a_lease_outlives_what_its_holder_may_need(clock: ManualClock, seconds: float) -> None:
    """Whatever the deadline of the holder's request is; in the cache too, in whole seconds."""
    cache = Recording()
    lease = AddLease(cache, clock)
    assert lease.acquire("k", seconds)
    assert isinstance(cache.timeout, int)
    assert cache.timeout >= seconds + LEASE_MARGIN
    clock.move(seconds + LEASE_MARGIN - 0.1)
    assert lease.acquire("k", seconds) is None
    clock.move(0.2)
    assert lease.acquire("k", seconds)


def test_a_lease_given_back_is_free(clock: ManualClock) -> None:
    """At once, as the contract tests show on real servers too; this test needs none."""
    lease = AddLease(SimpleCache(), clock)
    for _ in range(3):
        owner = lease.acquire("k", 8)
        assert owner
        lease.release("k", owner)


@pytest.mark.parametrize("late", [9.0, 9.9, 10.1, 60.0])
def test_a_late_holder_does_not_take_it_from_the_next(clock: ManualClock, late: float) -> None:
    """From the last second on the lease is left to run out: it may be another one's already."""
    cache = SimpleCache()
    lease = AddLease(cache, clock)
    owner = lease.acquire("k", 8)
    assert owner
    clock.move(late)
    cache.set("k", "of the next one", timeout=0)
    lease.release("k", owner)
    assert cache.get("k") == "of the next one"


@pytest.mark.parametrize("junk", ["", "x", "[]", "{}", "null", '["x"]', b"\xff", 5, [1]], ids=repr)
def test_a_value_that_is_no_lease_does_not_block(clock: ManualClock, junk: object) -> None:
    """It is replaced."""
    cache = SimpleCache()
    cache.set("k", junk, timeout=0)
    lease = AddLease(cache, clock)
    assert lease.acquire("k", 8)
    assert lease.acquire("k", 8) is None
    lease.release("k", "nonsense")


class Raced(SimpleCache):
    """A cache in which somebody else always writes last."""

    def set(self, key: str, value: object, timeout: object = None) -> bool:
        """Let the other one win."""
        return bool(super().set(key, "[9e12, 'theirs']", timeout=0))


def test_of_two_that_replace_a_dead_lease_the_last_wins(clock: ManualClock) -> None:
    """Each looks whether the value is its own."""
    cache = Raced()
    cache._cache["k"] = (0, SimpleCache().serializer.dumps("x"))
    assert AddLease(cache, clock).acquire("k", 8) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the lock files."""
    return tmp_path


def test_a_file_lease_has_one_holder(folder: Path) -> None:
    """Two objects stand for two processes: the lock belongs to the open file."""
    first, second = FileLease(folder), FileLease(folder)
    owner = first.acquire("k", 8)
    assert owner
    assert [first.acquire("k", 8), second.acquire("k", 8)] == [None, None]
    first.release("k", owner)
    again = second.acquire("k", 8)
    assert again
    first.release("k", owner)
    assert first.acquire("k", 8) is None
    second.release("k", again)


def test_lock_files_are_few_and_closed_to_others(folder: Path) -> None:
    """Their names tell nothing; a thousand keys share at most 65,536 files."""
    lease = FileLease(folder)
    for number in range(1000):
        owner = lease.acquire(f"key {number}", 8)
        if owner:
            lease.release(f"key {number}", owner)
    files = list(folder.iterdir())
    assert len(files) <= STRIPES
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert not any("key" in file.name for file in files)


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open(folder: Path) -> None:
    """Neither when it was taken nor when it was refused."""
    before = open_files()
    lease = FileLease(folder)
    owner = lease.acquire("k", 8)
    assert owner
    for _ in range(20):
        assert lease.acquire("k", 8) is None
    lease.release("k", owner)
    assert open_files() == before


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_the_kernel_frees_the_lease_of_a_dead_process(folder: Path) -> None:
    """A child takes it and is gone without giving it back."""
    lease = FileLease(folder)
    assert child_says(lambda: lease.acquire("k", 8) is not None)
    assert lease.acquire("k", 8)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_neither_holds_nor_frees_the_lease_of_its_parent(folder: Path) -> None:
    """Its copy of the file is closed, and that does not unlock it for the parent."""
    lease = FileLease(folder)
    owner = lease.acquire("k", 8)
    assert owner

    def child() -> bool:
        lease.release("k", owner)
        return lease._held == {} and lease.acquire("k", 8) is None

    assert child_says(child)
    assert FileLease(folder).acquire("k", 8) is None
    lease.release("k", owner)
    assert FileLease(folder).acquire("k", 8)
