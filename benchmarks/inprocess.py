"""What one request costs without a server, and where that goes.

The quickest way to see what a change of the hot path does: ``python -m benchmarks.inprocess``
prints the cost beside the floor's, and with ``--profile`` where it goes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import instant
from benchmarks.apps import floor
from benchmarks.driver import Driver, compare
from benchmarks.processes import ROOT


def profile(driver: Driver, requests: int, lines: int) -> str:
    """Return where requests spend their CPU: by package, then by function."""
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    driver.batch(requests)
    profiler.disable()
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    whole = sum(own for _, _, own, *_ in stats.values())
    packages: Counter[str] = Counter()
    functions: list[tuple[float, int, str]] = []
    for (file, line, name), (_, number, own, *_) in stats.items():
        place = _place(file)
        packages[place.partition("/")[0]] += own / whole * 100
        functions.append((own / whole * 100, number, f"{place}:{line} {name}"))
    calls = sum(calls for _, calls, *_ in stats.values()) / requests
    text = [f"{calls:.0f} function calls per request", ""]
    text += [f"{share:5.1f} %  {name}" for name, share in packages.most_common(12)]
    text += ["", "own time  calls/request  function"]
    for share, number, name in sorted(functions, reverse=True)[:lines]:
        text.append(f"{share:6.1f} %  {number / requests:13.1f}  {name}")
    return "\n".join(text)


def _place(file: str) -> str:
    """Return a path from its package on; built-in functions have none."""
    for root in ("site-packages/", f"{ROOT}/"):
        if root in file:
            return file.partition(root)[2]
    return "python/" + Path(file).name if file.endswith(".py") else "python/built-in"


def main() -> None:
    """Print what one request costs, or where that goes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inprocess", description=__doc__)
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    parser.add_argument("--rounds", type=int, default=25)
    told = parser.parse_args()
    base, anam = Driver(floor.make_app()), Driver(instant.make_app(1000, 3))
    if told.profile:
        base.batch()
        anam.batch()
        print("The floor:", profile(base, 3000, 0), sep="\n")
        print("Flask-Anam:", profile(anam, 3000, 25), sep="\n")
        return
    floors, found = compare([base, anam], told.rounds)
    ratios = [ours / floor for ours, floor in zip(found, floors, strict=True)]
    print(f"floor {statistics.median(floors):.0f} us, Flask-Anam {statistics.median(found):.0f} us")
    print(f"ratio {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")


if __name__ == "__main__":
    main()
