"""The count buffer: writes in batches, keeps what cannot be written, writes the rest at the end."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping

import pytest

from flask_anam.core.outage import OUTAGE_PAUSE
from flask_anam.core.usage import count_buffer
from flask_anam.core.usage.count_buffer import CountBuffer
from flask_anam.core.usage.memory_store import KEEP_COUNTS_FOR, MemorySessionStore
from flask_anam.core.usage.recorder import StoreGuard
from flask_anam.core.usage.records import COUNT_BUCKET, CountKey, UsageQuery
from flask_anam.testing import ManualClock


class Store(MemorySessionStore):
    """A store that seems to be shared, and takes counts or not."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.takes = True
        self.asked = threading.Semaphore(0)
        self.taken: Counter[CountKey] = Counter()

    def count(self, counts: Mapping[CountKey, int]) -> None:
        """Take them if it may."""
        self.asked.release()
        if not self.takes:
            raise ConnectionError
        self.taken.update(counts)


@pytest.fixture
def store() -> Store:
    """Return a store that takes counts."""
    return Store()


@pytest.fixture
def buffer(store: Store, clock: ManualClock) -> CountBuffer:
    """Return a buffer before the store."""
    return CountBuffer(store, StoreGuard(clock), clock)


def wait_for_write(store: Store, clock: ManualClock) -> None:
    """Wait until the store was asked once more; a failing one is asked every five seconds."""
    while not store.asked.acquire(timeout=0.01):
        clock.move(OUTAGE_PAUSE)


def test_counts_are_gathered_by_interval_persona_and_outcome(
    buffer: CountBuffer, store: Store, clock: ManualClock
) -> None:
    """And written together."""
    start = int(clock.now // 300 * 300)
    for _ in range(3):
        buffer.add("support", "minted")
    clock.move(300)
    buffer.add("support", "minted")
    assert not store.taken
    buffer.close()
    expected = {(start, "support", "minted"): 3, (start + 300, "support", "minted"): 1}
    assert store.taken == expected


def test_counts_are_written_by_themselves_and_tried_again(
    buffer: CountBuffer, store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread writes them a little later, and again when that did not work."""
    monkeypatch.setattr(count_buffer, "WRITE_AFTER", 0.001)
    store.takes = False
    buffer.add("support", "minted")
    wait_for_write(store, clock)
    wait_for_write(store, clock)
    store.takes = True
    wait_for_write(store, clock)
    buffer.close()
    assert sum(store.taken.values()) == 1


def test_nothing_is_under_way_once_it_is_closed(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the end of the wait and the end of the app fall together."""
    monkeypatch.setattr(count_buffer, "WRITE_AFTER", 0.0)
    for _ in range(50):
        before = threading.active_count()
        buffer = CountBuffer(store, StoreGuard(clock), clock)
        buffer.add("support", "minted")
        buffer.close()
        assert threading.active_count() <= before
    assert sum(store.taken.values()) == 50


def test_a_full_buffer_takes_no_other_kind(
    buffer: CountBuffer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is bounded while the store is down; what it knows is counted on."""
    monkeypatch.setattr(count_buffer, "MAX_BUFFERED_COUNTS", 1)
    buffer.add("support", "minted")
    for outcome in ("minted", "reused"):
        buffer.add("support", outcome)
    buffer.close()
    assert {outcome: n for (_, _, outcome), n in store.taken.items()} == {"minted": 2}


def test_a_forked_child_leaves_the_counts_to_its_parent(buffer: CountBuffer, store: Store) -> None:
    """Or they would be written twice."""
    buffer.add("support", "minted")
    child = os.fork()
    if child == 0:
        buffer.flush()
        os._exit(1 if store.taken else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    buffer.close()
    assert sum(store.taken.values()) == 1


def test_a_store_in_memory_gets_them_at_once(store: Store, clock: ManualClock) -> None:
    """Without a thread."""
    store.shared = False
    CountBuffer(store, StoreGuard(clock), clock).add("support", "minted")
    assert sum(store.taken.values()) == 1


def test_memory_forgets_counts_after_a_month() -> None:
    """However many intervals and personas there have been."""
    store = MemorySessionStore()
    for start in (0, COUNT_BUCKET, KEEP_COUNTS_FOR + COUNT_BUCKET):
        store.count({(start, "support", "minted"): 1, (start, "coach", "reused"): 2})
    starts = {count.start for count in store.counts(UsageQuery(), COUNT_BUCKET)}
    assert starts == {COUNT_BUCKET, KEEP_COUNTS_FOR + COUNT_BUCKET}
