"""The list of faults in README.md."""

from __future__ import annotations

import re
from pathlib import Path

from faults.untested import UNTESTED

HERE = Path(__file__).parent


def test_each_row_is_listed_and_tested() -> None:
    """A row that a test names has its line, and each line has a test."""
    listed = re.findall(r"^(\d+)\. ", (HERE / "README.md").read_text(), re.MULTILINE)
    assert listed == [str(number) for number in range(1, len(listed) + 1)]
    tests = "".join(path.read_text() for path in HERE.rglob("test_*.py"))
    assert {int(row) for row in re.findall(r"def test_row_(\d+)_", tests)} == {*map(int, listed)}
    assert {row.split()[0] for row in UNTESTED} <= {*listed}
