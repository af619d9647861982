"""Event loop thread: results, time-outs, and a stop in the middle of work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from flask_anam.sandbox.streaming.loop_thread import LoopThread


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    """Give an event loop thread that is stopped after the test."""
    thread = LoopThread("test-loop")
    yield thread
    thread.stop(10)


async def _nothing() -> None:
    pass


def test_the_thread_starts_with_the_first_work(loop_thread: LoopThread) -> None:
    """One thread for all work; `call_soon` does not start it."""
    threads: list[threading.Thread] = []

    async def work() -> None:
        threads.append(threading.current_thread())

    loop_thread.call_soon(lambda: threads.append(threading.current_thread()))
    assert not loop_thread.started
    assert loop_thread.run(work)
    assert loop_thread.run(work)
    assert loop_thread.started
    first, second = threads
    assert first is second is not threading.current_thread()
    assert (first.name, first.daemon) == ("test-loop", True)


def test_call_soon_does_not_wait(loop_thread: LoopThread) -> None:
    """The call happens in the thread."""
    called = threading.Event()
    loop_thread.run(_nothing)
    loop_thread.call_soon(called.set)
    assert called.wait(10)


def test_work_that_takes_too_long_is_cancelled(loop_thread: LoopThread) -> None:
    """The caller gets False, the coroutine a cancellation."""
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert not loop_thread.run(work, timeout=0.01)
    assert cancelled.wait(10)


def test_an_exception_reaches_the_caller(loop_thread: LoopThread) -> None:
    """It is the caller's to handle."""

    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        loop_thread.run(work)


def test_stop_ends_waiting_work_and_the_thread(loop_thread: LoopThread) -> None:
    """A caller that waits gets False; work is accepted again after `open`."""
    running = threading.Event()
    results: list[bool] = []

    async def work() -> None:
        running.set()
        await asyncio.Event().wait()

    caller = threading.Thread(target=lambda: results.append(loop_thread.run(work, 60)))
    caller.start()
    assert running.wait(10)
    loop_thread.stop(10)
    caller.join(10)
    assert (results, loop_thread.started) == ([False], False)
    assert not loop_thread.run(_nothing)
    loop_thread.open()
    assert loop_thread.run(_nothing)
