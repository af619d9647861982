"""Session records and token counts as CSV, line by line; safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from flask_anam.core.usage.records import SessionRecord, UsageQuery
from flask_anam.core.usage.store import SessionStore

#: Records read at once.
PAGE = 500
SESSION_COLUMNS = (
    "minted_at",
    "started_at",
    "ended_at",
    "seconds",
    "state",
    "persona_type",
    "user_id",
    "token_id",
    "session_id",
    "source",
    "exit_status",
)
TOKEN_COLUMNS = ("start", "persona_type", "outcome", "number")
#: Where a spreadsheet may take what follows for a formula, whoever wrote it: at the beginning of a
#: cell, and behind what some take for the end of one. The wide signs are those of East Asian ones.
_FORMULA = re.compile("(^|[\t\n\r;|])([=+@\uff1d\uff0b\uff0d\uff20-])")


class _Line:
    """What `csv.writer` writes to: it keeps the last line only."""

    text = ""

    def write(self, text: str) -> int:
        """Take a line."""
        self.text = text
        return len(text)


def session_lines(store: SessionStore, which: UsageQuery, now: float) -> Iterator[str]:
    """Yield a heading and a line per record, newest first; reads `PAGE` records at a time.

    The first page is read before the first line, so that a store that is down is noticed before
    anything has been sent.
    """
    page = store.sessions(which, limit=PAGE)
    yield from lines([SESSION_COLUMNS])
    while page:
        yield from lines(_session(one, now) for one in page)
        full = len(page) == PAGE
        page = store.sessions(which, limit=PAGE, before=page[-1].id) if full else []


def token_lines(store: SessionStore, which: UsageQuery, step: int) -> Iterator[str]:
    """Yield a heading, and a line per step of so many seconds, persona and outcome."""
    found = store.counts(which, step)
    yield from lines([TOKEN_COLUMNS])
    yield from lines((_time(c.start), c.persona_type, c.outcome, c.number) for c in found)


def lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield rows as lines of CSV; no cell can be a formula."""
    line = _Line()
    writer = csv.writer(line)
    for row in rows:
        writer.writerow([safe_cell(value) for value in row])
        yield line.text


def _session(one: SessionRecord, now: float) -> tuple[object, ...]:
    return (
        _time(one.minted_at),
        _time(one.started_at),
        _time(one.ended_at),
        None if one.seconds is None else round(one.seconds, 1),
        one.state(now),
        one.persona_type,
        one.user_id,
        one.token_id,
        one.session_id,
        one.source,
        one.exit_status,
    )


def _time(moment: float | None) -> str:
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def safe_cell(value: object) -> object:
    """Return a cell in which no spreadsheet finds a formula."""
    if not isinstance(value, str):
        return value
    plain = _FORMULA.sub(r"\1'\2", value)
    return f"'{plain}" if plain.startswith(("\t", "\n", "\r")) else plain
