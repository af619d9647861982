"""Short ways to ask an app for a token, alone or in a crowd, and to time the answer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from hosts import ADA, KEY, MINT, PERSONA, TOKEN_PATH, User, client_of, make_host

import flask_anam
from flask_anam import FlaskAnam
from flask_anam.core.clock import Clock
from flask_anam.sandbox import Sandbox


@dataclass(frozen=True)
class Asked:
    """An answer of the token endpoint, and how long it took."""

    status: int
    body: dict[str, Any]
    headers: Any
    seconds: float

    @property
    def code(self) -> str:
        """The code of an error; "ok" for a token."""
        return str(self.body.get("code", "ok"))


def ask(app: Flask, user: User = ADA, **body: object) -> Asked:
    """Ask for a token as a browser does; keywords go into the body."""
    client = client_of(app, user)
    began = time.monotonic()
    answer = client.post(TOKEN_PATH, json=body)
    seconds = time.monotonic() - began
    return Asked(answer.status_code, answer.get_json(), answer.headers, seconds)


def app_at(url: str, *users: User, clock: Clock | None = None, **config: Any) -> Flask:
    """Return an app with the persona "support" whose Anam is at a URL."""
    base = {
        "ANAM_API_KEY": KEY,
        "ANAM_BASE_URL": url,
        "ANAM_PERSONAS": {"support": PERSONA},
        "ANAM_TOKEN_RATE_LIMIT": "1000 per hour",
        "ANAM_REQUEST_RATE_LIMIT": "1000 per minute",
    }
    app = make_host(*(users or (ADA,)), **{**base, **config})
    FlaskAnam(clock=clock).init_app(app)
    return app


def crowd(size: int) -> list[User]:
    """Return that many users."""
    return [User(f"user-{number}") for number in range(size)]


def at_once(calls: list[Callable[[], Asked]], over: float = 0.0) -> list[Asked]:
    """Make calls in a thread each, all at once or spread evenly over so many seconds."""
    start = threading.Event()
    began = 0.0

    def make(number: int, call: Callable[[], Asked]) -> Asked:
        start.wait()
        if over:
            time.sleep(max(0.0, began + over * number / len(calls) - time.monotonic()))
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        waiting = [pool.submit(make, number, call) for number, call in enumerate(calls)]
        began = time.monotonic()
        start.set()
        return [future.result() for future in waiting]


def mints_of(sandbox: Sandbox) -> int:
    """Return how many calls for a token the sandbox has got."""
    return sandbox.ledger.count(MINT)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child process that imports what this one imports."""
    tests = Path(__file__).parents[2]
    package = Path(flask_anam.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{tests}", **more}


def run_script(script: str, *arguments: str, timeout: float = 30, **env: str) -> str:
    """Run Python code in a process of its own; return what it printed.

    It must end well and say nothing on stderr: no warning, no traceback.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
