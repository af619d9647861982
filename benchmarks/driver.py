"""Calls an app in this process as a server would, and counts the CPU that this takes."""

from __future__ import annotations

import gc
import io
import json
import time
from collections.abc import Sequence
from typing import Any

from flask import Flask

from benchmarks.apps.host import PATH

#: Requests of one batch; batches of all contenders take turns.
BATCH = 200


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
