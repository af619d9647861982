"""The targets, and whether what was measured meets them. Ratios compare rows of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

Found = dict[str, Any]
Row = dict[str, Any]


def judged(found: Found) -> list[Row]:
    """Return a row for each target that this run can judge."""
    rows: list[Row] = []
    if "reused" in found:
        rows += _reused(found["reused"])
    if "herd" in found:
        rows += _herd(found["herd"])
    if "footprint" in found:
        rows += _footprint(found["footprint"])
    if "growth" in found:
        rows += _growth(found["growth"])
    return rows


def _at_most(what: str, most: float, found: float | None, form: str = ".2f") -> Row:
    return _judge(what, f"at most {most:{form}}", found, form, lambda value: value <= most)


def _at_least(what: str, least: float, found: float | None, form: str = ".2f") -> Row:
    return _judge(what, f"at least {least:{form}}", found, form, lambda value: value >= least)


def _judge(
    what: str, wanted: str, found: float | None, form: str, good: Callable[[float], bool]
) -> Row:
    measured = "not measured" if found is None else format(found, form)
    met = "-" if found is None else "yes" if good(found) else "no"
    return {"what": what, "wanted": wanted, "measured": measured, "met": met}


def _pick(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def _ratio(over: Row, under: Row, name: str) -> float:
    """Return the median of the ratios of each round: what disturbs one disturbs the other."""
    pairs: Iterable[tuple[float, float]] = zip(over[name], under[name], strict=True)
    return median(above / below for above, below in pairs)


def _reused(rows: list[Row]) -> list[Row]:
    judged: list[Row] = []
    for server in ("gunicorn", "granian", "waitress"):
        floor = _best(_pick(rows, app="floor", server=server))
        for store, said, most in (("memory", "memory", 1.15), ("redis", "Redis", 1.35)):
            where = {"server": server, "cache": store, "limits": store, "slot": True}
            ours = _best(_pick(rows, app="ours", **where))
            if floor and ours:
                what = f"CPU of a reused token over the floor, {said}, {server}"
                judged.append(_at_most(what, most, _ratio(ours, floor, "cpu_us")))
    both: dict[str, Any] = {"limits": "redis", "workers": 2, "slot": True}
    express = _best(_pick(rows, app="express", workers=2))
    ours = _best(_pick(rows, app="ours", cache="memory", **both))
    judged += _faster("the Express cluster, limit in Redis", 0.7, ours, express)
    hand = _best(_pick(rows, app="by_hand", cache="redis", **both))
    ours = _best(_pick(rows, app="ours", cache="redis", **both))
    return judged + _faster("the page written by hand, Redis for both", 2.0, ours, hand)


def _faster(whom: str, least: float, ours: Row | None, other: Row | None) -> list[Row]:
    """Judge requests/s, and the CPU of a request, which a busy machine distorts less."""
    rate = _ratio(ours, other, "rps") if ours and other else None
    cpu = _ratio(other, ours, "cpu_us") if ours and other else None
    return [
        _at_least(f"requests/s over {whom}", least, rate),
        _at_least(f"the same by CPU per request, {whom}", least, cpu),
    ]


def _best(rows: list[Row]) -> Row | None:
    """Return the row of the best server."""
    return max(rows, key=lambda row: median(row["rps"]), default=None)


def _herd(rows: list[Row]) -> list[Row]:
    ours = _pick(rows, app="ours", threads=100)
    judged: list[Row] = []
    for kind, calls, last in (("one key", 1, 0.5), ("all different", 200, 1.2)):
        best = min(_pick(ours, kind=kind), key=lambda row: median(row["last"]), default=None)
        if best is None:
            continue
        who = "200 callers for one key" if kind == "one key" else "200 users"
        judged += [
            _at_most(f"{who}: calls of Anam", calls, median(best["calls"]), ".0f"),
            _at_least(f"{who}: answered with a token", 200, min(best["answered"]), ".0f"),
            _at_most(f"{who}: last answer, s", last, median(best["last"])),
        ]
    return judged


def _footprint(found: dict[str, list[float]]) -> list[Row]:
    middle = {name: median(values) for name, values in found.items()}
    more = middle["ours_mb"] - middle["floor_mb"]
    imports = middle["import_ms"] / middle["import_dependencies_ms"]
    return [
        _at_most("MB of a worker over the floor's", 12, more, ".1f"),
        _at_most("bytes of a token in the memory cache", 1500, middle["bytes_per_token"], ",.0f"),
        _at_most("import over that of the dependencies", 1.2, imports),
    ]


def _growth(rows: list[Row]) -> list[Row]:
    ours = _pick(rows, app="ours")
    if len(ours) < 2:
        return []
    most = ours[-1]
    what = f"cost with {most['personas']:,} personas and {most['users']:,} users over 1 and 1,000"
    return [_at_most(what, 1.1, _ratio(most, ours[0], "cpu_us"))]
