"""What one request costs without a server: the app is called in this process, and CPU is counted.

The quickest way to see what a change of the hot path does: ``python -m benchmarks.inprocess``
prints the cost beside the floor's, and with ``--profile`` where it goes.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import io
import json
import pstats
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Flask

from benchmarks.apps import floor, ours
from benchmarks.apps.host import PATH
from benchmarks.processes import ROOT
from benchmarks.upstream import make_token
from flask_anam.core.client import Minted
from flask_anam.core.tokens import SessionToken

#: Requests of one batch; batches of all contenders take turns.
BATCH = 200


class InstantAnam:
    """Takes the place of the client: what Anam does is not what is measured here."""

    def mint(self, *_: object, **__: object) -> Minted:
        """Return a new token at once."""
        now = time.time()
        token = SessionToken(value=make_token(), minted_at=now, expires_at=now + 3600)
        return Minted(token, 1)


class Driver:
    """Calls one app as a server would, for a number of users that are logged in.

    Args:
        app: the app.
        users: how many users take turns.
        personas: how many personas take turns with them.
        cookies: of the users, where they have logged in already.

    """

    def __init__(
        self,
        app: Flask,
        *,
        users: int = 100,
        personas: int = 1,
        cookies: Sequence[str] | None = None,
    ) -> None:
        self.app = app
        if "anam" in app.extensions:
            app.extensions["anam"].manager._client = InstantAnam()  # noqa: SLF001 - see there
        self._cookies = cookies or cookies_of(app, users)
        self._bodies = [
            json.dumps({"personaType": f"persona-{number}", "slot": "tab"}).encode()
            for number in range(personas)
        ]
        self._at = 0

    def once(self) -> bytes:
        """Send the next request; return the answer's body.

        Raises:
            RuntimeError: the answer is not 200.

        """
        cookie = self._cookies[self._at % len(self._cookies)]
        body = self._bodies[self._at % len(self._bodies)]
        self._at += 1
        status, _, answer = _call(self.app, PATH, body, cookie)
        if status != "200 OK":
            raise RuntimeError(f"{status}: {answer[:200]!r}")
        return answer

    def batch(self, count: int = BATCH) -> float:
        """Return the CPU microseconds of one request, over a batch."""
        begun = time.process_time()
        for _ in range(count):
            self.once()
        return (time.process_time() - begun) / count * 1e6


def cookies_of(app: Flask, users: int) -> list[str]:
    """Log so many users in; return the cookie of each."""
    return [_cookie(app, f"user-{number}") for number in range(users)]


def _cookie(app: Flask, user_id: str) -> str:
    """Log a user in, by the same kind of request: Flask-Login compares address and browser."""
    _, headers, _ = _call(app, f"/login/{user_id}", b"", "")
    return dict(headers)["Set-Cookie"].partition(";")[0]


def _call(
    app: Flask, path: str, body: bytes, cookie: str
) -> tuple[str, list[tuple[str, str]], bytes]:
    """Send one request as a server would; return status, headers and body."""
    told: list[Any] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_COOKIE": cookie,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }

    def start(status: str, headers: list[tuple[str, str]], _failure: Any = None) -> Any:
        told.extend((status, headers))

    result = app(environ, start)
    answer = b"".join(result)
    close = getattr(result, "close", None)
    if close:
        close()
    return told[0], told[1], answer


def compare(drivers: Sequence[Driver], rounds: int = 25) -> list[list[float]]:
    """Return CPU microseconds per request of each driver, one figure for each round."""
    for driver in drivers:
        driver.batch()
    gc.collect()
    found: list[list[float]] = [[] for _ in drivers]
    for _ in range(rounds):
        for driver, told in zip(drivers, found, strict=True):
            told.append(driver.batch())
    return found


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
    base, anam = Driver(floor.make_app()), Driver(ours.make_app())
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
