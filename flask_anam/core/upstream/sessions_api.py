"""Sessions as Anam knows them: the authority on when each began and ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask_anam.core.clock import Deadline, seconds_of
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
    """A session as Anam tells of it.

    Attributes:
        id: its id.
        label: the client label of its token, or None.
        started_at: Unix seconds.
        ended_at: Unix seconds; None while it runs.
        seconds: how long it lasted; None while it runs.
        exit_status: how it ended, in Anam's words.

    """

    id: str
    label: str | None
    started_at: float
    ended_at: float | None
    seconds: float | None
    exit_status: str | None


def one_session(
    client: AnamClient, session_id: str, api_key: str, deadline: Deadline
) -> AnamSession:
    """Return a session.

    Raises:
        AnamRejected: there is none of that id in the account.
        UpstreamError: Anam could not tell.

    """
    found = client.get(
        f"/v1/sessions/{quote(session_id, safe='')}", api_key, deadline, max_bytes=MAX_PAGE_BYTES
    )
    return _session(found)


def some_sessions(
    client: AnamClient, api_key: str, deadline: Deadline, *, page: int = 1, search: str = ""
) -> tuple[list[AnamSession], bool]:
    """Return one page of the account's sessions, and whether it is the last one.

    Raises:
        UpstreamError: Anam could not tell.

    """
    query = {"page": str(page), "perPage": str(PAGE_SIZE)} | ({"search": search} if search else {})
    found = client.get("/v1/sessions", api_key, deadline, query, max_bytes=MAX_PAGE_BYTES)
    if not isinstance(found, Mapping) or not isinstance(found.get("data"), list):
        raise AnamBadResponse
    meta = found.get("meta")
    last = meta.get("lastPage") if isinstance(meta, Mapping) else None
    is_last = page >= last if isinstance(last, int) else len(found["data"]) < PAGE_SIZE
    return [_session(entry) for entry in found["data"]], is_last


def _session(entry: Any) -> AnamSession:
    """Return what we keep of an entry; its persona config stays out of it."""
    try:
        started_at, ended_at = _seconds(entry["startTime"]), _seconds(entry.get("endTime"))
        length, label, status = (
            entry.get(name) for name in ("sessionLengthMs", "clientLabel", "exitStatus")
        )
        if started_at is None:
            raise AnamBadResponse
        if not is_session_id(entry["id"]):
            raise AnamBadResponse
        seconds = None if ended_at is None else max(0.0, ended_at - started_at)
        if ended_at is not None and _is_length(length):
            seconds = length / 1000
        return AnamSession(
            id=entry["id"],
            label=label if isinstance(label, str) else None,
            started_at=started_at,
            ended_at=ended_at,
            seconds=seconds,
            exit_status=_word(status) if status is not None else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise AnamBadResponse from None


def _is_length(length: object) -> bool:
    """Whether something is a number of milliseconds that a session can last; nan is not."""
    number = isinstance(length, int | float) and not isinstance(length, bool)
    return number and 0 <= length <= MAX_SESSION_MS  # type: ignore[operator]


def _word(status: object) -> str:
    """Return how a session ended, without what a database or a terminal could stumble over."""
    return "".join(letter for letter in str(status)[:64] if letter.isprintable())


def _seconds(moment: object) -> float | None:
    return None if moment is None else seconds_of(str(moment))
