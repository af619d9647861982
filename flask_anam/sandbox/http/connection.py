"""HTTP connections: reads requests, sends the API's responses, and applies the ordered faults."""

import functools
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

_NO_FAULT = Fault("*", None)


class ConnectionHandler:
    """Connection handler: serves every HTTP connection of a sandbox; thread-safe.

    `route` turns a request into a response; `latency`, in seconds, precedes every response except
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
        """Answer requests on `connection` until either side closes it.

        Raises:
            OSError: The client closed the connection, or it was shut down.

        """
        with connection.makefile("rb") as source:
            while not stopping.is_set() and self._exchange(connection, source, number, stopping):
                pass

    def _exchange(
        self, connection: socket.socket, source: BinaryIO, number: int, stopping: threading.Event
    ) -> bool:
        """Serve one request; return whether the connection stays open."""
        send = functools.partial(http1.send_response, connection, stopping=stopping)
        try:
            request = http1.read_request(source, connection)
        except ApiError as exc:
            send(None, exc.response(), _NO_FAULT, now=self._clock())
            http1.lingering_close(connection)
            return False
        if request is None:
            return False
        entry = self._record(request, number)
        # A browser's preflight must not use up a fault that was meant for the request itself.
        is_preflight = request.method == "OPTIONS"
        fault = (None if is_preflight else self._faults.take(request.path)) or _NO_FAULT
        if stopping.wait(fault.delay + (0 if is_preflight else self._latency)):
            return False
        response = fault.response or self._respond(request)
        if fault.reset:
            http1.reset_on_close(connection)
            return False
        if fault.silent:
            http1.stay_silent(connection)
            return False
        self._ledger.set_status(entry, response.status)
        logger.debug("%s %s -> %d", request.method, request.path, response.status)
        stays_open = send(request, response, fault, now=self._clock())
        if response.upgrade is None:
            return stays_open
        try:
            response.upgrade(connection, source)
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

    def _respond(self, request: Request) -> Response:
        try:
            return self._route(request)
        except ApiError as exc:
            return exc.response()
        except Exception:
            logger.exception("The sandbox failed at %s %s", request.method, request.path)
            return ApiError(500).response()
