"""CSV export of session records and token counts, line by line; safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from flask_anam.core.usage.periods import format_timestamp
from flask_anam.core.usage.records import SessionRecord, UsageQuery
from flask_anam.core.usage.store import SessionStore

#: Records that one query reads.
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
#: CSV injection: where a spreadsheet may evaluate what follows as a formula, at the start of a cell
#: and after what some programs take for its end. The fullwidth signs count in East Asian versions.
#: Control characters that a terminal may obey; tabs and line breaks belong to the text.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_FORMULA = re.compile("(^|[\t\n\r;|])([=+@\uff1d\uff0b\uff0d\uff20-])")


class _Line:
    """File object for `csv.writer`, whose `writerow` returns what `write` returns."""

    def write(self, text: str) -> str:
        """Return a line."""
        return text


def session_lines(store: SessionStore, query: UsageQuery, now: float) -> Iterator[str]:
    """Yield a header and a line per record, newest first; reads `PAGE` records at a time.

    The first page is read before the first line, so that a store that is down is noticed before
    anything has been sent.
    """
    page = store.sessions(query, limit=PAGE)
    yield from lines([SESSION_COLUMNS])
    while page:
        yield from lines(_session(record, now) for record in page)
        is_full = len(page) == PAGE
        page = store.sessions(query, limit=PAGE, before=page[-1].id) if is_full else []


def token_lines(store: SessionStore, query: UsageQuery, step: int) -> Iterator[str]:
    """Yield a header, and a line per step (seconds), persona and outcome."""
    counts = store.counts(query, step)
    yield from lines([TOKEN_COLUMNS])
    yield from lines((_time(c.start), c.persona_type, c.outcome, c.number) for c in counts)


def lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield rows as lines of CSV, each cell made safe."""
    writer = csv.writer(_Line())
    for row in rows:
        yield writer.writerow([safe_cell(value) for value in row])


def _session(record: SessionRecord, now: float) -> tuple[object, ...]:
    return (
        _time(record.minted_at),
        _time(record.started_at),
        _time(record.ended_at),
        None if record.seconds is None else round(record.seconds, 1),
        record.state(now),
        record.persona_type,
        record.user_id,
        record.token_id,
        record.session_id,
        record.source,
        record.exit_status,
    )


def _time(moment: float | None) -> str:
    return "" if moment is None else format_timestamp(moment)


def safe_cell(value: object) -> object:
    """Return a cell that no spreadsheet evaluates as a formula: an apostrophe stands before it.

    Control characters become question marks, since the commands print CSV to terminals too.
    """
    if not isinstance(value, str):
        return value
    text = _FORMULA.sub(r"\1'\2", _CONTROLS.sub("?", value))
    return f"'{text}" if text.startswith(("\t", "\n", "\r")) else text
