"""HTTP messages: requests, responses, and API errors in the vendor's JSON format."""

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, BinaryIO

Headers = tuple[tuple[str, str], ...]

#: The vendor's `error` texts by status. Source: Anam OpenAPI and SDKs, July 2026.
_ERRORS = {
    400: "Invalid request body",
    401: "Invalid API key",
    402: "No plan found",
    429: "Too many requests",
    503: "No engines available",
}


@dataclass(frozen=True)
class Request:
    """HTTP request. `headers` has lower-cased names; `path` is as sent, without the query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: dict[str, str] = field(repr=False)
    raw_body: bytes = field(repr=False)
    keep_alive: bool

    @property
    def bearer(self) -> str | None:
        """The credential of ``Authorization: Bearer``, or None when there is none."""
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        return credential.strip() or None if scheme.lower() == "bearer" else None


@dataclass(frozen=True)
class Response:
    """HTTP response. `headers` may repeat a name, and replace the server's own headers.

    `upgrade` is the handler of a 101 (Switching Protocols). It takes over the connection; the file
    may hold bytes that have been read from it already.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    upgrade: Callable[[socket.socket, BinaryIO], None] | None = field(default=None, repr=False)


class ApiError(Exception):
    """API error: a request is refused, with an error response in the vendor's format.

    `details` is a tree in which every node holds its messages under ``_errors``.
    """

    def __init__(
        self,
        status: int,
        error: str | None = None,
        message: str = "",
        *,
        details: Mapping[str, Any] | None = None,
        headers: Headers = (),
    ) -> None:
        self.status = status
        self.error = error or default_error(status)
        self.message = message or self.error
        self.details = details
        self.headers = headers
        super().__init__(f"{status} {self.error}")

    def response(self) -> Response:
        """Return the error as a JSON response."""
        content: dict[str, Any] = {"error": self.error, "message": self.message}
        if self.details is not None:
            content["details"] = self.details
        return json_response(self.status, content, self.headers)


def json_response(status: int, value: object, headers: Headers = ()) -> Response:
    """Return `value` as a JSON response."""
    body = json.dumps(value).encode()
    return Response(status, body, (("Content-Type", "application/json"), *headers))


def default_error(status: int) -> str:
    """Return the `error` text that belongs to `status`."""
    return _ERRORS.get(status) or reason_phrase(status, f"Status {status}")


def reason_phrase(status: int, default: str) -> str:
    """Return HTTP's reason phrase for `status`, `default` when HTTP does not define the status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return default


def is_bodiless(status: int) -> bool:
    """Return whether HTTP forbids a body with `status`."""
    return status < 200 or status in (204, 304)


def parse_json(raw: bytes) -> Any:
    """Return the JSON value in `raw`, None when it is empty.

    Raises:
        ValueError: `raw` is not JSON (nor are ``NaN`` and numbers beyond a float's range).

    """
    if not raw.strip():
        return None
    try:
        return json.loads(raw, parse_constant=_reject_constant, parse_float=_finite_float)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None


def parse_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object of a signalling or data channel message, None if it is not one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON.")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("A number is out of range.")
    return value
