"""The sandbox itself: its life, its settings, and the trouble it can be told to make."""

import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, get_args

from flask_anam.sandbox.api import catalog, jwt
from flask_anam.sandbox.api.account import Account, AccountSettings, RefusalKind, RefusalPlace
from flask_anam.sandbox.http.connection import ConnectionHandler
from flask_anam.sandbox.http.faults import (
    LONGEST_PAUSE,
    Fault,
    FaultQueue,
    canned_response,
    check_number,
    header_pairs,
)
from flask_anam.sandbox.http.tcp_server import TcpServer
from flask_anam.sandbox.ledger import Ledger
from flask_anam.sandbox.routes import Router
from flask_anam.sandbox.streaming.media_session import CallTiming
from flask_anam.sandbox.streaming.session_engine import SessionEngine
from flask_anam.sandbox.streaming.signalling import Signalling


class Sandbox:
    """A local HTTP stand-in for the Anam API: mints tokens, starts sessions, keeps a ledger.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. The socket is bound from
    construction on, so :attr:`url` is valid at once; connections made before the start wait.
    The server lives as long as this object is referenced. All methods are thread-safe.

    After ``os.fork`` the child shares the port and copies of the ledger and the sessions so far;
    it answers once :meth:`ensure_running` is called there, and then either process may get a
    request. Tokens are good in both.

    Args:
        api_key: The key that callers must send; printable ASCII. A random ``sandbox-...`` if None.
        token_secret: Text that, with `api_key`, signs the tokens; random if None. Sandboxes with
            the same pair accept each other's tokens.
        host: Address to listen on.
        port: Port to listen on, 0 to 65535; 0 takes any free one.
        single_use: Whether a token may start only one session (then 401).
        concurrency_limit: Sessions that may run at once (then 429), 0 or more; None is 10,000.
        token_lifetime: Seconds from a token's `iat` to its `exp`, 1 or more.
        latency: Seconds to wait before every answer, 0 to 86,400.
        clock: Gives the time in Unix seconds.
        strict_ids: Whether ids must be in the catalog: an unknown `personaId` is a 404 then,
            unknown avatars, voices and models are a 400.
        media: Whether sessions are streamed; if not, they end when a client connects.
        start_delay: Seconds before a client that connects is answered, 0 to 86,400.
        reply_delay: Seconds that the persona thinks before it answers the user, 0 to 86,400.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        token_secret: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        single_use: bool = False,
        concurrency_limit: int | None = None,
        token_lifetime: int = 3600,
        latency: float = 0.0,
        clock: Callable[[], float] = time.time,
        strict_ids: bool = False,
        media: bool = True,
        start_delay: float = 0.0,
        reply_delay: float = 0.2,
    ) -> None:
        _check_text("api_key", api_key)
        _check_text("token_secret", token_secret)
        check_number("port", port, 0, 65535, whole=True)
        check_number("token_lifetime", token_lifetime, 1, whole=True)
        pauses = {"latency": latency, "start_delay": start_delay, "reply_delay": reply_delay}
        for name, seconds in pauses.items():
            check_number(name, seconds, 0, LONGEST_PAUSE)
        if concurrency_limit is not None:
            check_number("concurrency_limit", concurrency_limit, 0, whole=True)
        self.api_key = api_key or f"sandbox-{secrets.token_urlsafe(24)}"
        self.ledger = Ledger()
        self._faults = FaultQueue()
        self._account = Account(
            self.api_key,
            jwt.derive_secret(token_secret, self.api_key),
            AccountSettings(single_use, concurrency_limit, token_lifetime, strict_ids),
            self.ledger,
            clock=clock,
        )
        sessions = self._account.sessions
        timing = CallTiming(media=media, start_delay=start_delay, reply_delay=reply_delay)
        self._engine = SessionEngine(sessions, timing)
        self._host = host
        self._listener = self._listen(port)
        self._port = self._listener.port
        address = f"{_reachable(host)}:{self._port}"
        self.url = f"http://{address}"
        router = Router(self._account, Signalling(sessions, self._engine), address)
        self._conversations = ConnectionHandler(
            router, self.ledger, self._faults, latency=latency, clock=clock
        )
        self._renew_own_locks()
        _living.add(self)

    def _listen(self, port: int) -> TcpServer:
        listener = TcpServer(self._host, port)
        # Also runs when this object is dropped, or the interpreter ends, without stop().
        self._close = weakref.finalize(self, _close, self._engine, listener)
        return listener

    def _renew_own_locks(self) -> None:
        self._lock = threading.RLock()
        self._stopped = threading.Event()

    def _after_fork(self) -> None:
        self._renew_own_locks()
        for part in (self.ledger, self._faults, self._account):
            part.renew_locks()
        self._engine.after_fork()
        self._listener.after_fork()

    def ensure_running(self) -> Self:
        """Serve in this process, if it does not yet; cheap, and works after ``os.fork`` too.

        Raises:
            OSError: The sandbox had been stopped and its port has been taken since.

        """
        if self._listener.running:
            return self
        with self._lock:
            if self._listener.closed:
                self._listener = self._listen(self._port)
            self._stopped.clear()
            self._engine.open()
            self._listener.start(self._conversations.serve)
        return self

    def start(self) -> Self:
        """Serve in a daemon thread; the same as :meth:`ensure_running`.

        Raises:
            OSError: The sandbox had been stopped and its port has been taken since.

        """
        return self.ensure_running()

    def warm_up(self) -> None:
        """Load the libraries for video now, in a thread, and not when the first client connects.

        For whoever expects one; :meth:`serve_forever` does it by itself. Without the libraries
        nothing happens.
        """
        self._engine.warm_up()

    def stop(self) -> None:
        """End all sessions' streams, connections and sockets, within some 3 s; idempotent.

        A stopped sandbox can be started again, on the same port.
        """
        with self._lock:
            self._close()
            self._stopped.set()

    def serve_forever(self) -> None:
        """Serve until :meth:`stop` or ctrl-C, then be stopped.

        Raises:
            OSError: The sandbox had been stopped and its port has been taken since.

        """
        try:
            self.ensure_running()
            self.warm_up()
            # In turns: a ctrl-C that comes just before a wait without end would not wake it.
            while not self._stopped.wait(0.5):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def fail_next(
        self,
        status: int = 500,
        *,
        times: int = 1,
        path: str = "/v1/auth/session-token",
        json: object = ...,
        body: bytes | str | None = None,
        headers: Mapping[str, str | list[str]] | None = None,
        delay: float = 0.0,
        cut_after: int | None = None,
        drip: float | None = None,
        drip_headers: float | None = None,
        silent: bool = False,
        reset: bool = False,
        content_length: bool = True,
    ) -> None:
        """Make the next request for `path` go wrong; calls queue up, preflights are spared.

        Args:
            status: Status to answer, 100 to 999. With 200 and neither `json` nor `body`, the real
                work is done and its answer goes out in the manner of the other arguments.
            times: How many requests, 1 or more.
            path: Which requests; ``"*"`` is any path.
            json: Value to answer as JSON; the vendor's ``{"error", "message"}`` by default.
            body: Text or bytes to answer instead.
            headers: Headers to send in addition, or in the place of the server's own; a list
                repeats a header.
            delay: Seconds before anything is done or sent, 0 to 86,400.
            cut_after: Bytes of the body after which the connection is closed, 0 or more.
            drip: Seconds before each byte of the body, 0 to 86,400.
            drip_headers: Seconds before each byte of the status line and headers, 0 to 86,400.
            silent: Never answer, until the client hangs up or the sandbox stops.
            reset: Break the connection (RST) instead of answering. With a plain 200, for this and
                `silent`, the real work is done first and its answer is lost.
            content_length: Whether to send a Content-Length; without, the connection is closed.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of range, or two of them exclude each other.

        """
        check_number("times", times, 1, whole=True)
        check_number("delay", delay, 0, LONGEST_PAUSE)
        for name, seconds in (("drip", drip), ("drip_headers", drip_headers)):
            if seconds is not None:
                check_number(name, seconds, 0, LONGEST_PAUSE)
        if cut_after is not None:
            check_number("cut_after", cut_after, 0, whole=True)
        if silent and reset:
            raise ValueError("A connection cannot be both silent and reset.")
        if not isinstance(path, str) or (path != "*" and not path.startswith("/")):
            raise ValueError(f'path must be "*" or start with "/", not {path!r}.')
        fault = Fault(
            path=path,
            answer=canned_response(status, json, body),
            headers=header_pairs(headers),
            delay=delay,
            cut_after=cut_after,
            drip=drip,
            drip_headers=drip_headers,
            silent=silent,
            reset=reset,
            content_length=content_length,
        )
        self._faults.put(fault, times)

    def clear_failures(self) -> None:
        """Forget what :meth:`fail_next` ordered and has not happened yet."""
        self._faults.clear()

    def refuse_sessions(self, kind: RefusalKind | None, *, at: RefusalPlace = "session") -> None:
        """Answer 429 from now on; None ends that everywhere.

        Args:
            kind: ``concurrency``, ``spend``, ``usage`` or ``rate``; the last has ``Retry-After``
                and ``RateLimit-*`` headers, in seconds. Texts as in the vendor's SDKs, July 2026.
            at: Where: at the start of a ``session``, at the ``mint``, or ``both``.

        Raises:
            ValueError: `kind` or `at` is another text, or `concurrency` is wanted at the mint,
                where the vendor does not check it.

        """
        if kind is not None and kind not in get_args(RefusalKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(RefusalKind))}, or None.")
        if at not in get_args(RefusalPlace):
            raise ValueError(f"at must be one of {', '.join(get_args(RefusalPlace))}.")
        if kind == "concurrency" and at != "session":
            raise ValueError("Concurrency is checked at the start of a session, not at the mint.")
        self._account.refuse(kind, at)

    def warn(self, text: str) -> None:
        """Send a warning to all connected clients, as the vendor does before it ends sessions."""
        self._engine.warn(text)

    def issue_token(
        self,
        persona_config: Mapping[str, object] | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the claim's name
        issued_at: float | None = None,
        lifetime: int | None = None,
    ) -> str:
        """Mint without HTTP or validation; the token goes into the ledger like any other.

        Args:
            persona_config: What to mint for; a runtime persona of the catalog if None.
            type: The `type` claim; decided from the config as at a mint if None.
            issued_at: The `iat` claim in Unix seconds; now if None.
            lifetime: Seconds from `iat` to `exp`, also negative; the sandbox's own if None.

        """
        config = dict(catalog.EXAMPLE_PERSONA if persona_config is None else persona_config)
        return self._account.issue(
            {"personaConfig": config}, type_=type, issued_at=issued_at, lifetime=lifetime
        )

    def __repr__(self) -> str:
        state = "running" if self._listener.running else "not running"
        return f"<Sandbox {self.url} {state}>"


def _close(engine: SessionEngine, listener: TcpServer) -> None:
    engine.stop()
    listener.stop()


_living: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def _after_fork() -> None:
    for sandbox in list(_living):
        sandbox._after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _reachable(host: str) -> str:
    """Return the host part of a URL that leads to a socket bound to `host`."""
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only names
    name = everywhere.get(host, host)
    return f"[{name}]" if ":" in name else name


def _check_text(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, not {type(value).__name__}.")
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError(f"{name} must be printable ASCII without spaces around it, not empty.")
