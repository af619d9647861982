"""Worker processes with an app each, on one sandbox and one database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import flask_anam

HERE = Path(__file__).parent
#: The environment in which a worker finds this package and the tests' own modules.
SEARCH = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(flask_anam.__file__).parent.parent), str(HERE.parent)]),
}


class Crew:
    """Processes forked from one that runs `worker.py`, one per job; all ready, none left behind."""

    def __init__(self, jobs: Sequence[dict[str, Any]]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), json.dumps(jobs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=SEARCH,
        )
        self.pids = [self.line()["ready"] for _ in jobs]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()  # its children end when their parent's pipe does
        self._process.communicate()

    def line(self) -> Any:
        """Return the next line that one of them says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the workers ended"
        return json.loads(line)

    def go(self) -> None:
        """Let all begin at the same time."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self) -> list[Any]:
        """End the workers with SIGKILL; return what they had said."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        return self._rest()

    def lines(self) -> list[Any]:
        """Return all that they say until their end, which must be a good one."""
        lines = self._rest()
        assert self._process.returncode == 0
        return lines

    def _rest(self) -> list[Any]:
        output, _ = self._process.communicate(timeout=600)
        return [json.loads(line) for line in output.splitlines()]


def run_all(jobs: Sequence[dict[str, Any]]) -> list[Any]:
    """Let one worker per job do it, all at once; return what they said."""
    with Crew(jobs) as crew:
        crew.go()
        return crew.lines()
