"""What passes between the socket and the account: requests, answers and refusals."""

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, BinaryIO

#: `error` texts by status, as the vendor words them where it does. Source: Anam OpenAPI and
#: SDKs, July 2026.
_ERRORS = {
    400: "Invalid request body",
    401: "Invalid API key",
    402: "No plan found",
    429: "Too many requests",
    503: "No engines available",
}


@dataclass(frozen=True)
class Request:
    """One HTTP request; `headers` has lower-cased names, `path` is as sent, without the query."""

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
    """One HTTP answer; `headers` may repeat a name and overrule what the server adds itself.

    `upgrade` belongs to a 101: it goes on talking on the connection, of which some may have been
    read into the file already.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    upgrade: Callable[[socket.socket, BinaryIO], None] | None = field(default=None, repr=False)


class ApiError(Exception):
    """A request that gets an error answer in the vendor's shape.

    `details` is a tree in which every node holds its messages under ``_errors``.
    """

    def __init__(
        self,
        status: int,
        error: str | None = None,
        message: str = "",
        *,
        details: Mapping[str, Any] | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.status = status
        self.error = error or default_error(status)
        self.message = message or self.error
        self.details = details
        self.headers = tuple(headers)
        super().__init__(f"{status} {self.error}")

    def answer(self) -> Response:
        """Return the refusal as JSON."""
        content: dict[str, Any] = {"error": self.error, "message": self.message}
        if self.details is not None:
            content["details"] = self.details
        return json_response(self.status, content, self.headers)


def json_response(status: int, value: object, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return `value` as a JSON answer."""
    body = json.dumps(value).encode()
    return Response(status, body, (("Content-Type", "application/json"), *headers))


def default_error(status: int) -> str:
    """Return the `error` text that belongs to `status`."""
    try:
        return _ERRORS.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def is_bodiless(status: int) -> bool:
    """Return whether HTTP forbids a body with `status`."""
    return status < 200 or status in (204, 304)


def parse_json(raw: bytes) -> Any:
    """Return the JSON value in `raw`, None when it is empty.

    Raises:
        ValueError: It is not JSON (``NaN`` and numbers beyond a float's range are not either).

    """
    if not raw.strip():
        return None
    try:
        return json.loads(raw, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("A number is out of range.")
    return value
