"""``python -m benchmarks``: measure everything, print it, and write it down."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import footprint, growth, report, scenarios
from benchmarks.stage import Stage

RESULTS = Path(__file__).with_name("results")
PARTS = ("reused", "herd", "mixed", "footprint", "growth")
_PACKAGES = ("flask", "flask-login", "flask-limiter", "gunicorn", "granian", "waitress", "redis")


def main() -> None:
    """Measure what is asked for; the short form is for information only."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a small run, under three minutes")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part alone")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write to")
    told = parser.parse_args()
    size = scenarios.SHORT if told.short else scenarios.FULL
    path = told.out / ("short.json" if told.short else "full.json")
    # A part that is measured alone replaces itself in what is there.
    found: dict[str, Any] = json.loads(path.read_text()) if told.only and path.exists() else {}
    begun, about = time.monotonic(), _about()
    for part in told.only or PARTS:
        found[part] = _measure(part, size)
    found["about"] = {**about, "seconds": round(time.monotonic() - begun)}
    told.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(found), indent=1) + "\n")
    print(report.as_text(found))
    for name, picture in report.pictures(found).items():
        (told.out / f"{path.stem}-{name}.svg").write_text(picture)
    print(f"Written to {path}.")


def _measure(part: str, size: scenarios.Size) -> Any:
    if part == "footprint":
        return footprint.measure(size.repeats, size.tokens, _log)
    if part == "growth":
        return growth.measure(size.growth, 5 * size.rounds, _log)
    with Stage() as stage:
        return getattr(scenarios, part)(stage, size, _log)


def _about() -> dict[str, Any]:
    """Return what the figures depend on; nothing that names this machine."""
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        # What else the machine does slows everybody down, but not everybody alike.
        "load_average": os.getloadavg()[0],
        "load": "wrk" if shutil.which("wrk") else "Python",
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def _log(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
