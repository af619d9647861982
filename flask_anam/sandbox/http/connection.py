"""One TCP connection: requests in, the account's answers out, with the faults that were ordered."""

import logging
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO

from flask_anam.sandbox.http import http1
from flask_anam.sandbox.http.faults import Fault, FaultQueue
from flask_anam.sandbox.http.messages import ApiError, Request, Response, parse_json
from flask_anam.sandbox.ledger import Ledger, RequestRecord

logger = logging.getLogger("flask_anam.sandbox")

#: What happens when nothing is to go wrong.
_NO_FAULT = Fault("*", None)


class ConnectionHandler:
    """Serves every connection of a sandbox; thread-safe.

    `route` turns a request into an answer; `latency` is in seconds and precedes every answer but
    those to preflights; `clock` gives Unix seconds.
    """

    def __init__(
        self,
        route: Callable[[Request], Response],
        ledger: Ledger,
        faults: FaultQueue,
        *,
        latency: float,
        clock: Callable[[], float],
    ) -> None:
        self._route = route
        self._ledger = ledger
        self._faults = faults
        self._latency = latency
        self._clock = clock

    def serve(self, connection: socket.socket, number: int, stopping: threading.Event) -> None:
        """Answer requests on `connection` until either side has had enough.

        Raises:
            OSError: The client hung up, or the connection was shut down.

        """
        with connection.makefile("rb") as source:
            while not stopping.is_set() and self._exchange(connection, source, number, stopping):
                pass

    def _exchange(
        self, connection: socket.socket, source: BinaryIO, number: int, stopping: threading.Event
    ) -> bool:
        try:
            request = http1.read_request(source, connection)
        except ApiError as refused:
            now = self._clock()
            answer = refused.answer()
            http1.send(connection, None, answer, _NO_FAULT, now=now, stopping=stopping)
            http1.linger(connection)
            return False
        if request is None:
            return False
        entry = self._record(request, number)
        # A browser's preflight must not use up a fault that was meant for the request itself.
        preflight = request.method == "OPTIONS"
        fault = (None if preflight else self._faults.take(request.path)) or _NO_FAULT
        if stopping.wait(fault.delay + (0 if preflight else self._latency)):
            return False
        answer = fault.answer or self._work(request)
        if fault.reset:
            http1.reset(connection)
            return False
        if fault.silent:
            http1.stay_silent(connection)
            return False
        self._ledger.answered(entry, answer.status)
        logger.debug("%s %s -> %d", request.method, request.path, answer.status)
        now = self._clock()
        goes_on = http1.send(connection, request, answer, fault, now=now, stopping=stopping)
        if answer.upgrade is None:
            return goes_on
        try:
            answer.upgrade(connection, source)
        except OSError:
            raise
        except Exception:
            logger.exception("The sandbox failed at %s", request.path)
        return False

    def _record(self, request: Request, number: int) -> int:
        try:
            body = parse_json(request.raw_body)
        except ValueError:
            body = None
        record = RequestRecord(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=dict(request.headers),
            connection=number,
            body=body,
            raw_body=request.raw_body,
            status=None,
            at=self._clock(),
        )
        return self._ledger.add_request(record)

    def _work(self, request: Request) -> Response:
        try:
            return self._route(request)
        except ApiError as refused:
            return refused.answer()
        except Exception:
            logger.exception("The sandbox failed at %s %s", request.method, request.path)
            return ApiError(500).answer()
