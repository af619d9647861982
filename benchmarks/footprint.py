"""What Flask-Anam takes in memory and at start-up; each figure from a process of its own.

``python -m benchmarks.footprint QUESTION`` answers one question with a number.
"""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.processes import ROOT, rss

#: What ``pip install Flask-Anam`` brings.
DEPENDENCIES = (
    "flask",
    "flask_login",
    "flask_limiter",
    "limits",
    "requests",
    "marshmallow",
    "cachelib",
    "itsdangerous",
    "blinker",
)
#: Tokens after which whatever remembers a bounded number of things is full: 10,000 records.
BOUNDED = 12_000


def measure(repeats: int, tokens: int, log: Any) -> dict[str, list[float]]:
    """Return every figure, asked for several times in turn."""
    found: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    _asked("import_ms")  # compiles what was not compiled yet
    for turn in range(repeats):
        log(f"memory and start-up, round {turn + 1} of {repeats}")
        for name in QUESTIONS:
            if name != "bytes_per_token":
                found[name].append(_asked(name))
    # The longest by far, and hardly different from one time to the next.
    log(f"memory of {tokens} tokens")
    found["bytes_per_token"].append(_asked("bytes_per_token", str(tokens)))
    return found


def _asked(*question: str) -> float:
    command = [sys.executable, "-m", "benchmarks.footprint", *question]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # what pip installs is compiled
    told = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=600)
    return float(told.stdout)


def _floor_mb(_argument: str) -> float:
    importlib.import_module("requests")  # as every app has that talks to an API
    from benchmarks.apps.floor import make_app

    return _served(make_app(1000))


def _ours_mb(_argument: str) -> float:
    from benchmarks.instant import make_app

    return _served(make_app(1000, 3))


def _recorded_mb(_argument: str) -> float:
    with TemporaryDirectory() as folder:
        os.environ["BENCH_RECORDS"] = f"sqlite:///{folder}/records.sqlite"
        return _ours_mb("")


def _served(app: Any) -> float:
    """Return the MB in memory once an app has answered a few requests."""
    from benchmarks.driver import Driver

    driver = Driver(app, users=10)
    for _ in range(100):
        driver.once()
    gc.collect()
    return rss(os.getpid())


def _bytes_per_token(argument: str) -> float:
    from benchmarks.instant import make_app
    from flask_anam.core.cache.memory import MemoryCache

    tokens = int(argument)
    state = make_app(1, 3, MemoryCache(4 * tokens)).extensions["anam"]
    persona = state.registry.choose("persona-0")

    def fill(first: int, number: int) -> None:
        # Of one user: the counts of its limits are no part of the cache.
        for tab in range(first, first + number):
            state.issuer.issue(
                persona,
                user=None,
                user_id="1",
                overrides={},
                slot=f"tab-{tab}",
                quota=state.limits.quota("1", counts_request=False),
            )

    fill(0, BOUNDED)
    gc.collect()
    before = rss(os.getpid())
    fill(BOUNDED, tokens)
    gc.collect()
    return (rss(os.getpid()) - before) * 1e6 / tokens


def _timed(work: Callable[[], object]) -> float:
    """Return the CPU milliseconds that some work takes."""
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1000


def _import_dependencies_ms(_argument: str) -> float:
    return _timed(lambda: [importlib.import_module(name) for name in DEPENDENCIES])


def _import_ms(_argument: str) -> float:
    return _timed(lambda: importlib.import_module("flask_anam"))


def _init_app_ms(personas: int, records: str = "memory://") -> Callable[[str], float]:
    def question(_argument: str) -> float:
        from benchmarks.apps import host
        from flask_anam import FlaskAnam

        app = host.make_host(1)
        app.config.update(ANAM_API_KEY="key", ANAM_PERSONAS=host.personas(personas))
        app.config.update(ANAM_USAGE_URL=records)
        return _timed(lambda: FlaskAnam(app))

    return question


#: Name of each figure, and what finds it out; the unit is the end of the name.
QUESTIONS: dict[str, Callable[[str], float]] = {
    "floor_mb": _floor_mb,
    "ours_mb": _ours_mb,
    "recorded_mb": _recorded_mb,
    "import_dependencies_ms": _import_dependencies_ms,
    "import_ms": _import_ms,
    "init_app_3_personas_ms": _init_app_ms(3),
    "init_app_1000_personas_ms": _init_app_ms(1000),
    "init_app_recorded_ms": _init_app_ms(3, "sqlite:///nowhere"),
    "bytes_per_token": _bytes_per_token,
}


if __name__ == "__main__":
    print(QUESTIONS[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else ""))
