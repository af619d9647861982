"""Counts on their way to a store: in batches, kept while they cannot be written, handed over."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping

import pytest

from flask_anam.core.usage import count_buffer as counting
from flask_anam.core.usage.count_buffer import CountBuffer
from flask_anam.core.usage.memory_store import MAX_BUCKETS, MemorySessionStore
from flask_anam.core.usage.records import COUNT_BUCKET, CountKey, UsageQuery
from flask_anam.testing import ManualClock


class Taker:
    """Takes counts, or not."""

    def __init__(self) -> None:
        self.takes = True
        self.asked = threading.Semaphore(0)
        self.taken: Counter[CountKey] = Counter()

    def write(self, counts: Mapping[CountKey, int]) -> bool:
        """Take them if it may."""
        if self.takes:
            self.taken.update(counts)
        self.asked.release()
        return self.takes


@pytest.fixture
def taker() -> Taker:
    """Return what takes counts."""
    return Taker()


def test_counts_are_gathered_by_stretch_persona_and_outcome(
    taker: Taker, clock: ManualClock
) -> None:
    """And handed over together."""
    buffer = CountBuffer(taker.write, clock, immediate=False)
    start = int(clock.now // 300 * 300)
    for _ in range(3):
        buffer.add("support", "minted")
    clock.move(300)
    buffer.add("support", "minted")
    assert not taker.taken
    buffer.close()
    expected = {(start, "support", "minted"): 3, (start + 300, "support", "minted"): 1}
    assert taker.taken == expected


def test_counts_are_written_by_themselves_and_tried_again(
    taker: Taker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread writes them a little later, and once more when that did not work."""
    monkeypatch.setattr(counting, "WRITE_AFTER", 0.001)
    taker.takes = False
    buffer = CountBuffer(taker.write, clock, immediate=False)
    buffer.add("support", "minted")
    assert taker.asked.acquire(timeout=60)
    assert taker.asked.acquire(timeout=60)
    taker.takes = True
    assert taker.asked.acquire(timeout=60)
    buffer.close()
    assert sum(taker.taken.values()) == 1


def test_nothing_is_under_way_once_it_is_closed(
    taker: Taker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the end of the wait and the end of the app fall together."""
    monkeypatch.setattr(counting, "WRITE_AFTER", 0.0)
    for _ in range(50):
        before = threading.active_count()
        buffer = CountBuffer(taker.write, clock, immediate=False)
        buffer.add("support", "minted")
        buffer.close()
        assert threading.active_count() <= before
    assert sum(taker.taken.values()) == 50


def test_a_forked_child_leaves_the_counts_to_its_parent(taker: Taker, clock: ManualClock) -> None:
    """Or they would be written twice."""
    buffer = CountBuffer(taker.write, clock, immediate=False)
    buffer.add("support", "minted")
    child = os.fork()
    if child == 0:
        buffer.flush()
        os._exit(1 if taker.taken else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    buffer.close()
    assert sum(taker.taken.values()) == 1


def test_a_store_that_costs_nothing_gets_them_at_once(taker: Taker, clock: ManualClock) -> None:
    """Without a thread."""
    buffer = CountBuffer(taker.write, clock, immediate=True)
    buffer.add("support", "minted")
    assert sum(taker.taken.values()) == 1


def test_memory_forgets_counts_after_a_month() -> None:
    """However many stretches of time and personas there have been."""
    store = MemorySessionStore()
    for start in (0, COUNT_BUCKET, (MAX_BUCKETS + 1) * COUNT_BUCKET):
        store.count({(start, "support", "minted"): 1, (start, "coach", "reused"): 2})
    kept = {count.start for count in store.counts(UsageQuery(), COUNT_BUCKET)}
    assert kept == {COUNT_BUCKET, (MAX_BUCKETS + 1) * COUNT_BUCKET}
