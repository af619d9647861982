"""Misbehaviour on demand: what a test asked to go wrong, in the order it asked."""

import json as jsonlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from flask_anam.sandbox.http.messages import Response, default_error, is_bodiless, json_response

#: Longest pause that can be asked for, in seconds.
LONGEST_PAUSE = 86_400

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class Fault:
    """One request's worth of trouble, checked and ready to be played.

    `answer` is None when the real work is to be done. The other fields are those of
    :meth:`flask_anam.sandbox.Sandbox.fail_next`; times are in seconds.
    """

    path: str
    answer: Response | None
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    cut_after: int | None = None
    drip: float | None = None
    drip_headers: float | None = None
    silent: bool = False
    reset: bool = False
    content_length: bool = True

    @property
    def closes(self) -> bool:
        """Whether the connection cannot be used again after this."""
        return self.cut_after is not None or not self.content_length


class FaultQueue:
    """Faults waiting for their requests; thread-safe."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self.renew_locks()

    def renew_locks(self) -> None:
        """Replace the lock: for a forked child, where it may have been held by a lost thread."""
        self._lock = threading.Lock()

    def put(self, fault: Fault, times: int) -> None:
        """Add `fault` at the end, `times` times."""
        with self._lock:
            self._waiting.extend([fault] * times)

    def take(self, path: str) -> Fault | None:
        """Remove and return the first fault meant for `path` or for any path."""
        with self._lock:
            for index, fault in enumerate(self._waiting):
                if fault.path in ("*", path):
                    return self._waiting.pop(index)
        return None

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._waiting.clear()


def canned_response(status: int, json: object, body: bytes | str | None) -> Response | None:
    """Return the answer a fault gives in place of the real one; None means the real one.

    `json` is ``...`` when not given.

    Raises:
        TypeError: `status` is no integer, `body` is no text or bytes, `json` cannot be JSON.
        ValueError: `status` is outside 100 to 999, or both `json` and `body` are given.

    """
    check_number("status", status, 100, 999, whole=True)
    if json is not ... and body is not None:
        raise ValueError("Give json or body, not both.")
    if json is not ...:
        try:
            return json_response(status, json)
        except (TypeError, ValueError) as error:
            raise TypeError(f"json cannot be written as JSON: {error}") from error
    if body is not None:
        return _raw_answer(status, body)
    if status == 200:
        return None
    if is_bodiless(status):
        return Response(status)
    text = default_error(status)
    return json_response(status, {"error": text, "message": f"{text} (told to fail)."})


def _raw_answer(status: int, body: object) -> Response:
    content = body.encode() if isinstance(body, str) else body
    if not isinstance(content, bytes):
        raise TypeError(f"body must be bytes or str, not {type(body).__name__}.")
    page = content.lstrip().startswith(b"<")
    kind = "text/html; charset=utf-8" if page else "application/json"
    return Response(status, content, (("Content-Type", kind),))


def header_pairs(headers: Mapping[str, str | list[str]] | None) -> tuple[tuple[str, str], ...]:
    """Return `headers` as pairs, one for each value of a list.

    Raises:
        TypeError: A value is neither text nor a list of texts.
        ValueError: A name is no header name, or a value has a line break.

    """
    pairs = []
    for name, given in (headers or {}).items():
        for value in given if isinstance(given, list) else [given]:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"Header {name!r} must be a str, or a list of str.")
            value.encode()  # a lone surrogate is a ValueError here, not in the server's thread
            if not _HEADER_NAME.fullmatch(name) or "\r" in value or "\n" in value:
                raise ValueError(f"Header {name!r} cannot be sent: bad name, or line break.")
            pairs.append((name, value))
    return tuple(pairs)


def check_number(
    name: str, value: object, low: float, high: float = float("inf"), *, whole: bool = False
) -> None:
    """Refuse a `value` that is not a number (an integer if `whole`) from `low` to `high`.

    Raises:
        TypeError: It is of another type.
        ValueError: It is out of range.

    """
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        kind = "an integer" if whole else "a number"
        raise TypeError(f"{name} must be {kind}, not {type(value).__name__}.")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {jsonlib.dumps(value)}.")
