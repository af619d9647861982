"""Worker processes: each has an app of its own, and can be told to start, and be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask_anam
from flask_anam.sandbox import Sandbox

HERE = Path(__file__).parent
#: Where this package and the tests' own modules are, for the interpreter of a worker.
SEARCH = os.pathsep.join([str(Path(flask_anam.__file__).parent.parent), str(HERE.parent.parent)])


class Worker:
    """One process that runs a script of this folder: it says "ready", waits for "go", reports."""

    def __init__(self, script: str, job: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": SEARCH},
        )

    def wait_until_ready(self) -> None:
        """Wait until its app is built."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def line(self) -> Any:
        """Return the next line that it says, while it goes on."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def report(self) -> Any:
        """Return what it found, once it is done."""
        output, _ = self._process.communicate(timeout=100)
        assert self._process.returncode == 0
        return json.loads(output)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def workers(script: str, jobs: Sequence[dict[str, Any]]) -> Iterator[list[Worker]]:
    """Yield one worker per job, all ready; none is left behind."""
    started = [Worker(script, job) for job in jobs]
    try:
        for worker in started:
            worker.wait_until_ready()
        yield started
    finally:
        for worker in started:
            worker.kill()


def run_all(script: str, jobs: Sequence[dict[str, Any]]) -> list[Any]:
    """Let one worker per job begin at the same time; return their reports."""
    with workers(script, jobs) as ready:
        for worker in ready:
            worker.go()
        return [worker.report() for worker in ready]


def job_on(sandbox: Sandbox, cache: str, **facts: Any) -> dict[str, Any]:
    """Return a job for a worker whose app mints in a sandbox; see `storm_worker`."""
    config = {
        "ANAM_API_KEY": sandbox.api_key,
        "ANAM_BASE_URL": sandbox.url,
        "ANAM_CACHE": cache,
        **facts.pop("config", {}),
    }
    return {"config": config, "threads": 1, "keys": 1, "users": "user", **facts}
