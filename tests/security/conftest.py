"""What the tests of security share: an app on the sandbox, and a real server for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from hosts import User, client_of, make_app
from werkzeug.serving import BaseWSGIServer, make_server

from flask_anam.sandbox import Sandbox

Serve = Callable[[Flask], str]


@pytest.fixture
def app(sandbox: Sandbox) -> Flask:
    """Return an app with the persona "support", all its routes, and the users ada and bob."""
    return make_app(sandbox, ANAM_DASHBOARD=True)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve apps on free ports of the loopback address, and return their URLs."""
    running: list[tuple[BaseWSGIServer, threading.Thread]] = []

    def start(app: Flask) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def cookie_of(app: Flask, user: User) -> str:
    """Return the session cookie of a login, as a browser keeps it."""
    client = client_of(app, user)
    cookie = client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie
    return str(cookie.value)
