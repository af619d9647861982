"""What the benchmarks print and the docs show: tables, plots and verdicts."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import report, scenarios, targets
from benchmarks.__main__ import RESULTS
from benchmarks.contenders import herd, reused

pytestmark = pytest.mark.source

SERVERS = scenarios.FULL.servers
OTHER_FIGURES = (
    *("p50_ms", "p99_ms", "errors", "redis_commands", "redis_trips"),
    *("memory_mb", "upstream_calls"),
)


def made_up(ours_cost: float = 110.0, ours_rate: float = 900.0) -> dict[str, Any]:
    """Return results as a run would write them, with two rounds of simple figures."""
    loads = []
    for contender in reused(SERVERS):
        mine = contender.app == "ours"
        rate = {"ours": ours_rate, "express": 1000.0, "by_hand": 400.0}.get(contender.app, 1000.0)
        row: dict[str, Any] = {name: [1, 1] for name in OTHER_FIGURES}
        row |= {"cpu_us": [ours_cost if mine else 100.0] * 2, "rps": [rate] * 2}
        loads.append({**scenarios._row(contender), **row})
    crowds = [
        {**scenarios._row(contender), "kind": kind, "calls": [calls] * 2, "last": [0.4] * 2}
        | {"answered": [200, 200]}
        for contender in herd(SERVERS)
        for kind, calls in (("one key", 1), ("all different", 200))
    ]
    sizes = [("floor", 0, 1000, 90.0), ("ours", 1, 1000, 100.0), ("ours", 1000, 100_000, 105.0)]
    names = ("app", "personas", "users")
    return {
        "reused": loads,
        "herd": crowds,
        "mixed": loads[:6],
        "footprint": {name: [10.0] for name in report._WHAT},
        "growth": [{**dict(zip(names, size, strict=False)), "cpu_us": [size[3]]} for size in sizes],
    }


def test_every_target_is_judged() -> None:
    """Met, missed, or not measured; by the ratio of rows of one run."""
    rows = targets.judged(made_up())
    assert len(rows) == 20
    verdicts = {row["what"]: (row["measured"], row["met"]) for row in rows}
    assert verdicts["CPU of a reused token over the floor, memory, granian"] == ("1.10", "yes")
    assert verdicts["requests/s over the Express cluster, limit in Redis"] == ("0.90", "yes")
    assert verdicts["200 callers for one key: calls of Anam"] == ("1", "yes")
    assert verdicts["MB of a worker over the floor's"] == ("0.0", "yes")
    slow = {row["what"]: row["met"] for row in targets.judged(made_up(140.0, 500.0))}
    assert slow["CPU of a reused token over the floor, Redis, gunicorn"] == "no"
    assert slow["requests/s over the page written by hand, Redis for both"] == "no"


def test_a_run_without_express_says_so() -> None:
    """What is not installed is not measured, and no target is met by that."""
    results = made_up()
    results["reused"] = [row for row in results["reused"] if row["app"] != "express"]
    verdicts = [
        (r["measured"], r["met"]) for r in targets.judged(results) if "Express" in r["what"]
    ]
    assert verdicts == [("not measured", "-")] * 2


@pytest.mark.parametrize("results", [made_up(), {"growth": made_up()["growth"]}])
def test_tables_and_plots_are_whole(results: dict[str, Any]) -> None:
    """Each row has a cell for each column, and each plot is XML that names its contenders."""
    assert "Targets" in report.as_text(results)
    for name, (columns, rows) in report.tables(results).items():
        lines = report.as_markdown(results, name).splitlines()
        assert len(lines) == 2 + len(rows)
        assert {line.count("|") for line in lines} == {len(columns) + 1}
    for picture in report.pictures(results).values():
        texts = [element.text for element in ET.fromstring(picture).iter()]  # noqa: S314
        assert any(text and "Flask-Anam" in text for text in texts)


def test_what_the_docs_show_was_measured_with_these_contenders() -> None:
    """The results that are kept hold a row for each contender of today."""
    results = json.loads((RESULTS / "full.json").read_text(encoding="utf-8"))
    shown = {(row["label"], row["stores"]) for row in results["reused"]}
    assert shown == {(c.label, c.stores) for c in reused(SERVERS)}
    assert report.as_text(results)
