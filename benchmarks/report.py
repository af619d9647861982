"""Tables and plots of what was measured: for the terminal, and for the docs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks import targets
from benchmarks.plot import Bar, bars

Found = dict[str, Any]
Row = dict[str, Any]
#: The name of a column, and what stands in it.
Column = tuple[str, Callable[[Row], str]]


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Return the median of some figures, with the least and the greatest."""
    low, middle, high = (format(v, form) for v in (min(values), median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{low}, {high}]"


def _at(name: str, form: str = ",.0f") -> Callable[[Row], str]:
    return lambda row: format(median(row[name]), form)


def _label(row: Row) -> str:
    return str(row["label"]) + ("" if row["slot"] else ", no slot")


_LOAD: list[Column] = [
    ("contender", _label),
    ("kept", lambda row: str(row["stores"])),
    ("requests/s", lambda row: spread(row["rps"])),
    ("CPU us/request", lambda row: spread(row["cpu_us"])),
    ("p50 ms", _at("p50_ms", ".1f")),
    ("p99 ms", _at("p99_ms", ".1f")),
    ("MB/worker", _at("memory_mb")),
    ("Redis commands", _at("redis_commands", ".1f")),
    ("Redis round trips", _at("redis_trips", ".1f")),
    ("Anam calls", _at("upstream_calls", ".2f")),
    ("errors", lambda row: str(sum(row["errors"]))),
]
_HERD: list[Column] = [
    ("contender", lambda row: str(row["label"])),
    ("callers", lambda row: str(row["kind"])),
    ("Anam calls", lambda row: spread(row["calls"])),
    ("answered", lambda row: spread(row["answered"])),
    ("last answer, s", lambda row: spread(row["last"], ".2f")),
]
_GROWTH: list[Column] = [
    ("app", lambda row: "Flask-Anam" if row["app"] == "ours" else "Flask-Login only"),
    ("personas", lambda row: f"{row['personas']:,}" if row["personas"] else "-"),
    ("users", lambda row: f"{row['users']:,}"),
    ("CPU us/request", lambda row: spread(row["cpu_us"])),
]
_FIGURE: list[Column] = [
    ("what", lambda row: str(row["what"])),
    ("figure", lambda row: spread(row["values"], ",.1f")),
]
_TARGET: list[Column] = [
    ("target", lambda row: str(row["what"])),
    ("wanted", lambda row: str(row["wanted"])),
    ("measured", lambda row: str(row["measured"])),
    ("met", lambda row: str(row["met"])),
]
_WHAT = {
    "floor_mb": "a worker with Flask, Flask-Login and requests, MB",
    "ours_mb": "a worker with Flask-Anam, MB",
    "recorded_mb": "the same with sessions in SQLite (extra analytics), MB",
    "bytes_per_token": "a token in the memory cache, bytes",
    "import_dependencies_ms": "importing what Flask-Anam depends on, ms of CPU",
    "import_ms": "importing flask_anam, ms of CPU",
    "init_app_3_personas_ms": "FlaskAnam(app) with 3 personas, ms of CPU",
    "init_app_1000_personas_ms": "FlaskAnam(app) with 1,000 personas, ms of CPU",
    "init_app_recorded_ms": "FlaskAnam(app) with 3 personas and sessions in SQLite, ms of CPU",
}
_TITLES = {
    "reused": "Reused tokens",
    "mixed": "A mixed day: one request in ten needs a new token",
    "herd": "A cold herd",
    "footprint": "Memory and start-up",
    "growth": "Growth",
    "targets": "Targets",
}


def tables(found: Found) -> dict[str, tuple[list[Column], list[Row]]]:
    """Return each table that can be made: its columns and rows."""
    made: dict[str, tuple[list[Column], list[Row]]] = {}
    for name, columns in (("reused", _LOAD), ("mixed", _LOAD), ("herd", _HERD)):
        if name in found:
            made[name] = columns, found[name]
    if "footprint" in found:
        rows = [{"what": _WHAT[name], "values": v} for name, v in found["footprint"].items()]
        made["footprint"] = _FIGURE, rows
    if "growth" in found:
        made["growth"] = _GROWTH, found["growth"]
    made["targets"] = _TARGET, targets.judged(found)
    return made


def as_text(found: Found) -> str:
    """Return all tables for a terminal."""
    parts = []
    for name, (columns, rows) in tables(found).items():
        cells = [[title for title, _ in columns]]
        cells += [[show(row) for _, show in columns] for row in rows]
        widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
        parts.append("\n".join([_TITLES[name], *(line.rstrip() for line in lines), ""]))
    return "\n".join(parts)


def as_markdown(found: Found, name: str) -> str:
    """Return one table for the docs."""
    columns, rows = tables(found)[name]
    head = "| " + " | ".join(title for title, _ in columns) + " |"
    lines = ["| " + " | ".join(show(row) for _, show in columns) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(columns), *lines, ""])


def pictures(found: Found) -> dict[str, str]:
    """Return each plot that can be made, as SVG."""
    made = {}
    for name, title in (
        ("reused", "Reused tokens: requests/s"),
        ("mixed", "Mixed day: requests/s"),
    ):
        if name in found:
            shown = [Bar(f"{_label(r)}: {r['stores']}", r["rps"], r["app"]) for r in found[name]]
            made[name] = bars(title, shown)
    if "reused" in found:
        cpu = [Bar(f"{_label(r)}: {r['stores']}", r["cpu_us"], r["app"]) for r in found["reused"]]
        made["cpu"] = bars("Reused tokens: CPU microseconds per request", cpu)
    if "herd" in found:
        shown = [
            Bar(f"{row['label']}: {row['kind']}", row["last"], row["app"]) for row in found["herd"]
        ]
        made["herd"] = bars("Cold herd: seconds until the last answer", shown, ".2f")
    return made
