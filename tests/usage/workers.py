"""Worker processes with an app each, on one sandbox and one database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import flask_anam

HERE = Path(__file__).parent
#: The environment in which a worker finds this package and the tests' own modules.
SEARCH = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(flask_anam.__file__).parent.parent), str(HERE.parent)]),
}


class Worker:
    """One process that runs `worker.py`: it says "ready", waits for "go", and reports."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=SEARCH,
        )

    def line(self) -> Any:
        """Return the next line that it says; None when it has ended."""
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        return json.loads(told) if told else None

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self) -> list[Any]:
        """End it with SIGKILL; return the whole lines that it had still said."""
        self._process.kill()
        told, _ = self._process.communicate()
        return [json.loads(line) for line in told.splitlines(keepends=True) if line[-1:] == "\n"]

    def lines(self) -> list[Any]:
        """Return all that it says until its end, which must be a good one."""
        told, _ = self._process.communicate(timeout=300)
        assert self._process.returncode == 0
        return [json.loads(line) for line in told.splitlines()]


def run_all(jobs: list[dict[str, Any]]) -> list[list[Any]]:
    """Let one worker per job begin at the same time; return what each said."""
    workers = [Worker(job) for job in jobs]
    try:
        for worker in workers:
            assert worker.line() == "ready"
        for worker in workers:
            worker.go()
        return [worker.lines() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
