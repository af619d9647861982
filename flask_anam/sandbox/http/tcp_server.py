"""TCP server: a listening socket, one thread that accepts, and one for each connection."""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable

#: Seconds that stop() waits for all threads together.
_STOP_TIMEOUT = 1.5
#: Seconds before accept() is tried again when the process has no file descriptor left.
_ACCEPT_RETRY = 0.05
#: Connections that the kernel queues before they are accepted.
_BACKLOG = 512

Serve = Callable[[socket.socket, int, threading.Event], None]


class TcpServer:
    """Threaded TCP server; thread-safe, except for :meth:`reinit_after_fork`.

    Raises:
        OSError: The address is taken or is not one of this machine's.

    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = _bind(host, port)
        self._count = 0
        self._connections: dict[int, tuple[socket.socket, threading.Thread]] = {}
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._reset_threads()

    def _reset_threads(self) -> None:
        # Reentrant, because stop() may be run by the garbage collector in any thread.
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that was bound; never 0."""
        number: int = self._socket.getsockname()[1]
        return number

    @property
    def closed(self) -> bool:
        """Whether stop() was called. A closed server cannot be started again."""
        return self._socket.fileno() < 0

    @property
    def running(self) -> bool:
        """Whether this process accepts connections."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self, serve: Serve) -> None:
        """Accept connections in a daemon thread; idempotent.

        `serve` is called in a new thread for each connection, with the socket, the connection's
        number (from 1) and an event that is set when it must end.
        """
        with self._lock:
            if self.running or self.closed:
                return
            self._wake = socket.socketpair()
            self._thread = threading.Thread(
                target=self._accept, args=(self._wake[0], serve), name="anam-sandbox", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End all threads and close all sockets, within about 1.5 s; idempotent."""
        deadline = time.monotonic() + _STOP_TIMEOUT
        with self._lock:
            self._stopping.set()
            if self._wake:
                self._wake[1].send(b"\0")
        _join(self._thread, deadline)
        with self._lock:
            connections = list(self._connections.values())
            for connection, _ in connections:
                # Wakes a thread that reads or writes: close() alone would not.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for _, thread in connections:
            _join(thread, deadline)
        with self._lock:
            self._socket.close()
            self._close_wake()

    def _close_wake(self) -> None:
        for end in self._wake or ():
            end.close()
        self._wake = None

    def reinit_after_fork(self) -> None:
        """Drop, in a forked child, everything that belongs to the parent's threads.

        Closes only this process's copies, so the parent goes on; the listening socket is shared.
        """
        for connection, _ in self._connections.values():
            with contextlib.suppress(OSError):
                os.close(connection.detach())
        self._connections = {}
        self._close_wake()
        self._reset_threads()

    def _accept(self, wake: socket.socket, serve: Serve) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                self._accept_one(serve)

    def _accept_one(self, serve: Serve) -> None:
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return  # woken by stop(), or a forked sibling was faster
        except OSError:
            self._stopping.wait(_ACCEPT_RETRY)
            return
        with self._lock:
            self._count += 1
            number = self._count
            thread = threading.Thread(
                target=self._run,
                args=(connection, number, serve),
                name=f"anam-{number}",
                daemon=True,
            )
            self._connections[number] = connection, thread
        thread.start()

    def _run(self, connection: socket.socket, number: int, serve: Serve) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(connection, number, self._stopping)
        except OSError:
            pass  # the client closed the connection, or stop() shut it down
        finally:
            with self._lock:
                connection.close()
                self._connections.pop(number, None)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        text = f"The sandbox cannot listen on {host} port {port}: {reason}. Use port=0 for any."
        raise OSError(exc.errno, text) from exc
    # Several processes may accept from one socket after a fork, so accept() must never block.
    listening.setblocking(False)
    return listening


def _join(thread: threading.Thread | None, deadline: float) -> None:
    if thread is not None and thread is not threading.current_thread() and thread.ident:
        thread.join(max(0.0, deadline - time.monotonic()))
