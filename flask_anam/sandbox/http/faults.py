"""Fault injection: the faults that a test has ordered, and the queue in which they wait."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from flask_anam.sandbox.arguments import check_number
from flask_anam.sandbox.http.messages import (
    Headers,
    Response,
    default_error,
    is_bodiless,
    json_response,
)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class Fault:
    """Fault for one request, with valid values.

    `response` is None to send the real one. The other fields are those of
    :meth:`flask_anam.sandbox.Sandbox.fail_next`; times are in seconds.
    """

    path: str
    response: Response | None
    headers: Headers = ()
    delay: float = 0.0
    cut_after: int | None = None
    drip: float | None = None
    drip_headers: float | None = None
    silent: bool = False
    reset: bool = False
    content_length: bool = True

    @property
    def closes(self) -> bool:
        """Whether the connection must be closed after the response."""
        return self.cut_after is not None or not self.content_length


class FaultQueue:
    """FIFO queue of faults; thread-safe."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self.reinit_after_fork()

    def reinit_after_fork(self) -> None:
        """Replace the lock: in the parent, a thread may have held it."""
        self._lock = threading.Lock()

    def put(self, fault: Fault, times: int) -> None:
        """Append `fault`, `times` times."""
        with self._lock:
            self._waiting.extend([fault] * times)

    def take(self, path: str) -> Fault | None:
        """Remove and return the first fault for `path` or for any path."""
        with self._lock:
            for index, fault in enumerate(self._waiting):
                if fault.path in ("*", path):
                    return self._waiting.pop(index)
        return None

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()


def canned_response(status: int, json: object, body: bytes | str | None) -> Response | None:
    """Return the response of a fault; None stands for the real one.

    `json` is ``...`` when not given.

    Raises:
        TypeError: `status` is not an integer, `body` is not text or bytes, or `json` cannot be
            written as JSON.
        ValueError: `status` is outside 100 to 999, or both `json` and `body` are given.

    """
    check_number("status", status, 100, 999, whole=True)
    if json is not ... and body is not None:
        raise ValueError("Give json or body, not both.")
    if json is not ...:
        try:
            return json_response(status, json)
        except (TypeError, ValueError) as exc:
            raise TypeError(f"json cannot be written as JSON: {exc}") from exc
    if body is not None:
        return _raw_response(status, body)
    if status == 200:
        return None
    if is_bodiless(status):
        return Response(status)
    text = default_error(status)
    return json_response(status, {"error": text, "message": f"{text} (injected fault)."})


def _raw_response(status: int, body: object) -> Response:
    content = body.encode() if isinstance(body, str) else body
    if not isinstance(content, bytes):
        raise TypeError(f"body must be bytes or str, not {type(body).__name__}.")
    is_page = content.lstrip().startswith(b"<")
    content_type = "text/html; charset=utf-8" if is_page else "application/json"
    return Response(status, content, (("Content-Type", content_type),))


def header_pairs(headers: Mapping[str, str | list[str]] | None) -> Headers:
    """Return `headers` as pairs, one for each value of a list.

    Raises:
        TypeError: A value is neither text nor a list of texts.
        ValueError: A name is not a header name, or a value has a line break or lone surrogates.

    """
    pairs = []
    for name, values in (headers or {}).items():
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"Header {name!r} must be a str, or a list of str.")
            value.encode()  # a lone surrogate is a ValueError here, not in the server's thread
            if not _HEADER_NAME.fullmatch(name) or "\r" in value or "\n" in value:
                raise ValueError(f"Header {name!r} cannot be sent: bad name, or line break.")
            pairs.append((name, value))
    return tuple(pairs)
