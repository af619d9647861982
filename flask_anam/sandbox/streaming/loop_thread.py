"""Event loop thread: one daemon thread with one asyncio loop, started when it is first needed."""

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

#: Rounds, and seconds each, in which cancelled tasks may end before the loop is closed.
_CANCEL_ROUNDS = 5
_CANCEL_TIMEOUT = 0.3

#: A parent process's loops and what runs in them. A forked child must neither run nor close them,
#: because they share the parent's epoll and sockets, nor drop them: a dropped loop closes itself.
_parent_loops: list[object] = []


class LoopThread:
    """Event loop in its own thread; thread-safe, except for :meth:`reinit_after_fork`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open = True
        self._reset()

    def _reset(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pending: set[concurrent.futures.Future[None]] = set()
        self._lock = threading.RLock()

    @property
    def started(self) -> bool:
        """Whether the thread exists and is not the calling one."""
        return self._thread not in (None, threading.current_thread())

    def open(self) -> None:
        """Accept work, also after a stop."""
        with self._lock:
            self._open = True

    def run(self, work: Callable[[], Coroutine[Any, Any, None]], timeout: float = 10.0) -> bool:
        """Run the coroutine that `work` makes and wait for its end; start the thread if needed.

        Return False when it did not end within `timeout` seconds, or the thread is stopped.
        """
        with self._lock:
            if not self._open:
                return False
            future = asyncio.run_coroutine_threadsafe(work(), self._running_loop())
            self._pending.add(future)
        try:
            future.result(timeout)
        except (concurrent.futures.CancelledError, TimeoutError):
            future.cancel()
            return False
        finally:
            with self._lock:
                self._pending.discard(future)
        return True

    def call_soon(self, work: Callable[[], object]) -> None:
        """Call `work` in the thread, without waiting; do nothing if there is no thread."""
        with self._lock:
            if self._open and self._loop is not None:
                self._loop.call_soon_threadsafe(work)

    def stop(self, timeout: float) -> None:
        """Cancel everything, end the thread and close its loop, within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._open = False
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            if loop is not None:
                loop.call_soon_threadsafe(loop.stop)
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            for future in self._pending:
                future.cancel()

    def reinit_after_fork(self, work: object) -> None:
        """Detach, in a forked child, from the parent's thread and its `work`."""
        if self._loop is not None:
            _parent_loops.append((self._loop, work))
        self._reset()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_run, args=(self._loop,), name=self._name, daemon=True
            )
            self._thread.start()
        return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        _cancel_all(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    # Tasks that end may start others (libraries close themselves in tasks), so several rounds.
    for _ in range(_CANCEL_ROUNDS):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT))
