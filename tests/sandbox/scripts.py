"""Scripts that run in an interpreter of their own, for imports, forks and signals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_TESTS = str(Path(__file__).parents[1])


def run_script(script: str, *, may_log: bool = False) -> str:
    """Run a script with warnings as errors; return what it printed and, if it may, logged."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([_TESTS, *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    assert may_log or not done.stderr, done.stderr
    return done.stdout + done.stderr
