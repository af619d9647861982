"""Generator of the tables and plots in performance.md, from the results of ``make bench``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import report

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "full.json"
#: The tables, each in a file of its own.
TABLES = ("targets", "reused", "herd", "mixed", "footprint", "growth")
PICTURES = ("reused", "herd", "mixed")


@cache
def _results() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return results


def render_about() -> str:
    """Return what the figures were measured on."""
    about = _results()["about"]
    names = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    text = (
        f"Measured by `make bench` on {about['cores']} cores with Python {about['python']}, "
        f"{names}; load by {about['load']}."
    )
    if "load_average" in about:
        text += f" The load average of the machine was {about['load_average']:.0f} when it began."
    return text + "\n"


def render(name: str) -> str:
    """Return one table, and its plot where there is one."""
    text = report.as_markdown(_results(), name)
    if name in report.pictures(_results()):
        text += f"\n![The same as bars](_generated_{name}.svg)\n"
    return text


def picture(name: str) -> str:
    """Return one plot, as SVG."""
    return report.pictures(_results())[name]
