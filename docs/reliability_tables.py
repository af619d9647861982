"""Generator of the tables in reliability.md, from the code and from the fault tests."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

from flask_anam.core.cache.backends import TRAITS

ROOT = Path(__file__).parent.parent
FAULTS = ROOT / "tests" / "faults"
_AGREEMENT = {
    "add": "yes: its `add` is atomic",
    "lock": "yes: a file lock, not on network file systems",
    "one process": "no: each process mints its own token",
}


def render_caches() -> str:
    """Return the table of caches: shared or not, and how processes agree."""
    rows = [
        f"| `{scheme}://` | {'yes' if t.shared else 'no'} | {_AGREEMENT[t.one_mint]} | "
        f"{'yes' if t.proven else 'no'} |"
        for scheme, t in TRAITS.items()
    ]
    head = "| Cache | Shared between processes | One mint for all | Tested with a real server |"
    return "\n".join([head, "|---|---|---|---|", *rows, ""])


def render_faults() -> str:
    """Return the table of faults: row, promise, and whether it is tested."""
    promises: dict[int, list[str]] = {}
    for path in sorted(FAULTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            row = isinstance(node, ast.FunctionDef) and re.match(r"test_row_(\d+)_", node.name)
            if row and isinstance(node, ast.FunctionDef):
                doc = (ast.get_docstring(node) or "").splitlines()[0]
                if doc not in promises.setdefault(int(row[1]), []):
                    promises[int(row[1])].append(doc)
    lines = ["| Row | Promise | Tested |", "|---|---|---|"]
    lines += [f"| {row} | {' '.join(texts)} | yes |" for row, texts in sorted(promises.items())]
    untested: dict[str, str] = runpy.run_path(str(FAULTS / "untested.py"))["UNTESTED"]
    lines += [f"| {row} | not tested | {reason} |" for row, reason in untested.items()]
    return "\n".join([*lines, ""])
