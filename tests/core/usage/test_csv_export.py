"""The CSV export: which lines it writes, in how many queries, and that no cell is a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable

import pytest

from flask_anam.core.usage import csv_export
from flask_anam.core.usage.csv_export import TOKEN_COLUMNS, lines, session_lines, token_lines
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.records import SessionRecord, UsageQuery
from flask_anam.testing import ManualClock

Maker = Callable[..., SessionRecord]


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_records_are_read_page_by_page(
    clock: ManualClock, record: Maker, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Newest first, each once, whether or not the last page is full."""
    monkeypatch.setattr(csv_export, "PAGE", 2)
    store = MemorySessionStore()
    for index in range(number):
        store.add(record(f"t{index}"))
    rows = list(csv.DictReader(session_lines(store, UsageQuery(), clock.now)))
    assert [row["token_id"] for row in rows] == [f"t{index}" for index in range(number)][::-1]


def test_a_record_is_a_line(record: Maker, clock: ManualClock) -> None:
    """Times in UTC to the second, an empty cell for what is not known, and the state."""
    store = MemorySessionStore()
    facts = {"minted_at": 1_767_225_600.9, "started_at": 1_767_225_661.0, "session_id": "s"}
    store.add(record("t", **facts, expires_at=0.0, ended_at=1_767_225_761.26, seconds=100.26))
    (row,) = csv.DictReader(session_lines(store, UsageQuery(), clock.now))
    assert row["minted_at"] == "2026-01-01T00:00:00Z"
    assert row["started_at"] == "2026-01-01T00:01:01Z"
    assert (row["seconds"], row["state"], row["exit_status"]) == ("100.3", "ended", "")


def test_counts_are_lines() -> None:
    """One per step, persona and outcome."""
    store = MemorySessionStore()
    store.count({(0, "support", "minted"): 1, (300, "support", "minted"): 2})
    header, *rows = csv.reader(token_lines(store, UsageQuery(), 300))
    assert tuple(header) == TOKEN_COLUMNS
    assert rows == [
        ["1970-01-01T00:00:00Z", "support", "minted", "1"],
        ["1970-01-01T00:05:00Z", "support", "minted", "2"],
    ]


@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20")
@pytest.mark.parametrize("before", ["", "\t", "\r", "\n", "a;", "a\t", "a\n", "a|", "=;;"])
def test_no_part_of_a_cell_is_a_formula(before: str, sign: str) -> None:
    """Not even for a spreadsheet that cuts at semicolons, as those of much of Europe do."""
    (line,) = lines([["2026", f"{before}{sign}1+1", "x"]])
    for part in re.split("[;\t\r\n|]", line.replace('"', "")):
        assert not part.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))


def test_other_cells_stay_as_they_are() -> None:
    """Text with separators inside, numbers below zero, and cells that are empty."""
    assert list(lines([["ada", "a b", "a;b", 5, -1.5, None]])) == ["ada,a b,a;b,5,-1.5,\r\n"]
