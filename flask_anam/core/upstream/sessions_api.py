"""Sessions API: reads sessions from Anam, which is authoritative on their start and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask_anam.core.clock import Deadline, parse_timestamp
from flask_anam.core.tokens.token import is_session_id
from flask_anam.core.upstream.client import AnamClient
from flask_anam.errors import AnamBadResponse

#: Sessions per page; Anam gives no more.
PAGE_SIZE = 100
#: Upper bound of a page, in bytes: each session on it has its persona, with prompts.
MAX_PAGE_BYTES = 8 * 1024 * 1024
#: Longest session that is accepted, in milliseconds: a year.
MAX_SESSION_MS = 366 * 86400 * 1000


@dataclass(frozen=True, slots=True)
class AnamSession:
    """Session as Anam reports it.

    Attributes:
        id: its id.
        label: the client label of its token, or None.
        started_at: Unix seconds.
        ended_at: Unix seconds; None while it runs.
        seconds: its duration; None while it runs.
        exit_status: Anam's status of its end, cut to 64 printable characters; None when missing.

    """

    id: str
    label: str | None
    started_at: float
    ended_at: float | None
    seconds: float | None
    exit_status: str | None


def get_session(
    client: AnamClient, session_id: str, api_key: str, deadline: Deadline
) -> AnamSession:
    """Return a session.

    Raises:
        AnamRejected: the account has no session of that id.
        UpstreamError: Anam refused, failed or could not be reached.

    """
    document = client.get(
        f"/v1/sessions/{quote(session_id, safe='')}", api_key, deadline, max_bytes=MAX_PAGE_BYTES
    )
    return _session(document)


def list_sessions(
    client: AnamClient, api_key: str, deadline: Deadline, *, page: int = 1, search: str = ""
) -> tuple[list[AnamSession], bool]:
    """Return one page of the account's sessions, and whether it is the last one.

    Raises:
        UpstreamError: Anam refused, failed or could not be reached.

    """
    query = {"page": str(page), "perPage": str(PAGE_SIZE)} | ({"search": search} if search else {})
    document = client.get("/v1/sessions", api_key, deadline, query, max_bytes=MAX_PAGE_BYTES)
    if not isinstance(document, Mapping) or not isinstance(document.get("data"), list):
        raise AnamBadResponse
    meta = document.get("meta")
    last = meta.get("lastPage") if isinstance(meta, Mapping) else None
    is_last = page >= last if isinstance(last, int) else len(document["data"]) < PAGE_SIZE
    return [_session(entry) for entry in document["data"]], is_last


def _session(entry: Any) -> AnamSession:
    """Read a session of an answer; its persona config is not read."""
    try:
        started_at, ended_at = _seconds(entry["startTime"]), _seconds(entry.get("endTime"))
        length, label, status = (
            entry.get(name) for name in ("sessionLengthMs", "clientLabel", "exitStatus")
        )
        if started_at is None or not is_session_id(entry["id"]):
            raise AnamBadResponse
        seconds = None if ended_at is None else max(0.0, ended_at - started_at)
        if ended_at is not None and _is_duration(length):
            seconds = length / 1000
        return AnamSession(
            id=entry["id"],
            label=label if isinstance(label, str) else None,
            started_at=started_at,
            ended_at=ended_at,
            seconds=seconds,
            exit_status=_printable(status) if status is not None else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise AnamBadResponse from None


def _is_duration(length: object) -> bool:
    """Whether a value is a number of milliseconds from 0 to a year; nan is not."""
    number = isinstance(length, int | float) and not isinstance(length, bool)
    return number and 0 <= length <= MAX_SESSION_MS  # type: ignore[operator]


def _printable(status: object) -> str:
    """Return a text without control characters, safe for a database and a terminal."""
    return "".join(letter for letter in str(status)[:64] if letter.isprintable())


def _seconds(text: object) -> float | None:
    return None if text is None else parse_timestamp(str(text))
