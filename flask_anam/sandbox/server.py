"""Sandbox server: starts and stops it, and the methods by which a test makes it fail."""

import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from flask_anam.sandbox.api import catalog, jwt
from flask_anam.sandbox.api.account import Account, AccountSettings, RefusalKind, RefusalPlace
from flask_anam.sandbox.arguments import check_number, check_seconds, check_text
from flask_anam.sandbox.http.connection import ConnectionHandler
from flask_anam.sandbox.http.faults import Fault, FaultQueue, canned_response, header_pairs
from flask_anam.sandbox.http.tcp_server import TcpServer
from flask_anam.sandbox.ledger import Ledger
from flask_anam.sandbox.routes import Router
from flask_anam.sandbox.streaming.media_session import CallTiming
from flask_anam.sandbox.streaming.session_engine import SessionEngine
from flask_anam.sandbox.streaming.signalling import Signalling


class Sandbox:
    """Local HTTP stand-in for the Anam API: mints tokens, starts sessions, records both.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. The constructor binds the
    socket, so :attr:`url` is valid at once; connections made before the start wait. The server
    stops when this object is garbage-collected. All methods are thread-safe.

    After ``os.fork`` the child shares the port, and has copies of the ledger and the sessions. It
    answers once :meth:`ensure_running` is called there; from then on, either process may get a
    request. Tokens are valid in both.

    Args:
        api_key: The key that callers must send; printable ASCII. A random ``sandbox-...`` if None.
        token_secret: Text from which, with `api_key`, the signing key of the tokens is derived;
            random if None. Sandboxes with the same pair accept each other's tokens.
        host: Address to listen on.
        port: Port to listen on, 0 to 65535; 0 takes any free port.
        single_use: Whether a token may start only one session (then 401).
        concurrency_limit: Sessions that may run at once (then 429), 0 or more; None is 10,000.
        token_lifetime: Seconds from a token's `iat` to its `exp`, 1 or more.
        latency: Seconds to wait before every response, 0 to 86,400.
        clock: Returns the time in Unix seconds.
        strict_ids: Whether ids must be in the catalog: an unknown `personaId` is a 404 then,
            unknown avatars, voices and models are a 400.
        media: Whether sessions are streamed; if not, they end when a client offers a connection.
        start_delay: Seconds before the offer of a client is answered, 0 to 86,400.
        reply_delay: Seconds before the persona replies to the user, 0 to 86,400.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> with Sandbox(token_lifetime=600) as sandbox:
        ...     app.config.update(ANAM_BASE_URL=sandbox.url, ANAM_API_KEY=sandbox.api_key)

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
        check_text("api_key", api_key)
        check_text("token_secret", token_secret)
        check_number("port", port, 0, 65535, whole=True)
        check_number("token_lifetime", token_lifetime, 1, whole=True)
        check_seconds(latency=latency, start_delay=start_delay, reply_delay=reply_delay)
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
        timing = CallTiming(start_delay=start_delay, reply_delay=reply_delay)
        self._engine = SessionEngine(sessions, timing, media=media)
        self._host = host
        self._server = self._listen(port)
        self._port = self._server.port
        address = f"{_client_host(host)}:{self._port}"
        self.url = f"http://{address}"
        router = Router(self._account, Signalling(sessions, self._engine), address)
        self._handler = ConnectionHandler(
            router, self.ledger, self._faults, latency=latency, clock=clock
        )
        self._reset_locks()
        _sandboxes.add(self)

    def _listen(self, port: int) -> TcpServer:
        server = TcpServer(self._host, port)
        # Also runs when this object is dropped, or the interpreter ends, without stop().
        self._close = weakref.finalize(self, _close, self._engine, server)
        return server

    def _reset_locks(self) -> None:
        self._lock = threading.RLock()
        self._stopped = threading.Event()

    def _reinit_after_fork(self) -> None:
        self._reset_locks()
        for part in (self.ledger, self._faults, self._account, self._engine, self._server):
            part.reinit_after_fork()

    def ensure_running(self) -> Self:
        """Serve in a daemon thread of this process; idempotent, cheap, and safe after ``os.fork``.

        Raises:
            OSError: The sandbox was stopped, and its port has been taken since.

        Example:
            >>> sandbox.ensure_running().url == sandbox.url
            True

        """
        if self._server.running:
            return self
        with self._lock:
            if self._server.closed:
                self._server = self._listen(self._port)
            self._stopped.clear()
            self._engine.open()
            self._server.start(self._handler.serve)
        return self

    def start(self) -> Self:
        """Serve in a daemon thread; the same as :meth:`ensure_running`.

        Raises:
            OSError: The sandbox was stopped, and its port has been taken since.

        Example:
            >>> sandbox.start()
            <Sandbox http://127.0.0.1:... running>

        """
        return self.ensure_running()

    def warm_up(self) -> None:
        """Import the libraries for video now, in a thread, not when the first client connects.

        :meth:`serve_forever` does it too. Without the libraries nothing happens.

        Example:
            >>> sandbox.warm_up()

        """
        self._engine.warm_up()

    def stop(self) -> None:
        """End all streams and close all connections and sockets, within about 3 s; idempotent.

        A stopped sandbox can be started again, on the same port.

        Example:
            >>> sandbox.stop()
            >>> sandbox
            <Sandbox http://127.0.0.1:... not running>

        """
        with self._lock:
            self._close()
            self._stopped.set()

    def serve_forever(self) -> None:
        """Serve until :meth:`stop` or Ctrl+C, then stop.

        Raises:
            OSError: The sandbox was stopped, and its port has been taken since.

        Example:
            >>> Sandbox(port=8090).serve_forever()  # doctest: +SKIP

        """
        try:
            self.ensure_running()
            self.warm_up()
            # Polling, because a Ctrl+C just before a wait without a timeout would not end it.
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
        """Inject a fault into the next request for `path`; calls queue up, preflights are spared.

        Args:
            status: Status of the response, 100 to 999. With 200 and neither `json` nor `body`, the
                request is handled as usual, and the other arguments apply to its response.
            times: Number of requests, 1 or more.
            path: Path of the requests; ``"*"`` is any path.
            json: Value to send as JSON; the vendor's ``{"error", "message"}`` by default.
            body: Text or bytes to send instead.
            headers: Headers to add, or to replace the server's own; a list repeats a header.
            delay: Seconds before anything is done or sent, 0 to 86,400.
            cut_after: Bytes of the body after which the connection is closed, 0 or more.
            drip: Seconds before each byte of the body, 0 to 86,400.
            drip_headers: Seconds before each byte of the status line and headers, 0 to 86,400.
            silent: Send nothing, until the client closes the connection or the sandbox stops.
            reset: Reset the connection (RST) instead of sending. With a plain 200, for this and
                `silent`, the request is handled first and its response is lost.
            content_length: Whether to send a Content-Length; if not, the connection is closed.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of range, or two of them exclude each other.

        Example:
            >>> sandbox.fail_next(503, headers={"Retry-After": "1"})
            >>> requests.post(f"{sandbox.url}/v1/auth/session-token").status_code
            503

        """
        check_number("times", times, 1, whole=True)
        check_seconds(
            delay=delay,
            drip=0 if drip is None else drip,
            drip_headers=0 if drip_headers is None else drip_headers,
        )
        if cut_after is not None:
            check_number("cut_after", cut_after, 0, whole=True)
        if silent and reset:
            raise ValueError("A connection cannot be both silent and reset.")
        if not isinstance(path, str) or (path != "*" and not path.startswith("/")):
            raise ValueError(f'path must be "*" or start with "/", not {path!r}.')
        fault = Fault(
            path=path,
            response=canned_response(status, json, body),
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
        """Remove the faults that :meth:`fail_next` has queued.

        Example:
            >>> sandbox.clear_failures()

        """
        self._faults.clear()

    def refuse_sessions(self, kind: RefusalKind | None, *, at: RefusalPlace = "session") -> None:
        """Answer 429 from now on; None ends that everywhere.

        Args:
            kind: ``concurrency``, ``spend``, ``usage`` or ``rate``; the last has ``Retry-After``
                and ``RateLimit-*`` headers, in seconds. Texts as in the vendor's SDKs, July 2026.
            at: Where: at the start of a ``session``, at the ``mint``, or ``both``.

        Raises:
            ValueError: `kind` or `at` is another text, or `concurrency` is to be refused at the
                mint, where the vendor does not check it.

        Example:
            >>> sandbox.refuse_sessions("spend", at="both")
            >>> sandbox.refuse_sessions(None)

        """
        self._account.refuse(kind, at)

    def warn(self, text: str) -> None:
        """Send a warning to all connected clients, as the vendor does before it ends sessions.

        Example:
            >>> sandbox.warn("We close in a minute.")

        """
        self._engine.warn(text)

    def issue_token(
        self,
        persona_config: Mapping[str, object] | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the claim's name
        issued_at: float | None = None,
        lifetime: int | None = None,
    ) -> str:
        """Mint a token without HTTP and validation; it is recorded in the ledger like any other.

        Args:
            persona_config: Persona of the token; a runtime persona of the catalog if None.
            type: The `type` claim; derived from the config, as at a mint, if None.
            issued_at: The `iat` claim in Unix seconds; now if None.
            lifetime: Seconds from `iat` to `exp`, also negative; the sandbox's own if None.

        Example:
            >>> expired = sandbox.issue_token(lifetime=-1)

        """
        config = dict(catalog.EXAMPLE_PERSONA if persona_config is None else persona_config)
        return self._account.issue(
            {"personaConfig": config}, type_=type, issued_at=issued_at, lifetime=lifetime
        )

    def __repr__(self) -> str:
        state = "running" if self._server.running else "not running"
        return f"<Sandbox {self.url} {state}>"


def _close(engine: SessionEngine, server: TcpServer) -> None:
    engine.stop()
    server.stop()


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def _reinit_after_fork() -> None:
    for sandbox in list(_sandboxes):
        sandbox._reinit_after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reinit_after_fork)


def _client_host(host: str) -> str:
    """Return the host part of a URL for a client of a socket that is bound to `host`."""
    wildcards = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only names
    name = wildcards.get(host, host)
    return f"[{name}]" if ":" in name else name
