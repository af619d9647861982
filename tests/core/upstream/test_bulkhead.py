"""Bulkhead: a bounded number of calls at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from core.forking import child_says

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.upstream.bulkhead import Bulkhead
from flask_anam.errors import AnamUnavailable, Busy


def soon(seconds: float = 10.0) -> Deadline:
    """Return a deadline on the real clock: waits are real here."""
    return Deadline.after(Clock(), seconds)


class Killed(BaseException):
    """What ends a greenlet or a worker: no Exception."""


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_all_slots() -> None:
    """Slots held by threads of the parent are free in the child."""
    bulkhead = Bulkhead(1)

    def enter() -> bool:
        with bulkhead.acquire(soon(0.05)):
            return True

    with bulkhead.acquire(soon()):
        assert child_says(enter)


def test_a_full_bulkhead_is_busy() -> None:
    """No slot within the deadline: Busy. Given back, it is there again."""
    bulkhead = Bulkhead(2)
    with bulkhead.acquire(soon()), bulkhead.acquire(soon()):
        for seconds in (0.02, 0.0, -3.0):
            with pytest.raises(Busy), bulkhead.acquire(soon(seconds)):
                pass
    with bulkhead.acquire(soon(0.02)), bulkhead.acquire(soon(0.02)):
        pass


def test_a_failed_call_gives_its_slot_back() -> None:
    """Also when the call is killed."""
    bulkhead = Bulkhead(1)
    for error in (AnamUnavailable(), Killed()):
        with pytest.raises(type(error)), bulkhead.acquire(soon()):
            raise error
    with bulkhead.acquire(soon(0.02)):
        pass


def test_a_caller_waits_for_a_slot() -> None:
    """A slot that becomes free in time is taken."""
    bulkhead = Bulkhead(1)
    waiting = threading.Event()

    def enter() -> str:
        waiting.set()
        with bulkhead.acquire(soon()):
            return "in"

    with ThreadPoolExecutor(1) as pool:
        with bulkhead.acquire(soon()):
            entering = pool.submit(enter)
            assert waiting.wait(10)
            assert not entering.done()
        assert entering.result(10) == "in"
