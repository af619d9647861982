"""Apps behind a real server, and browser contexts that reach nothing but this machine."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from page.chromium import the_browser
from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page, Request, Route, expect
from playwright.sync_api import WebSocket as Socket
from werkzeug.serving import make_server

from flask_anam.sandbox import Sandbox

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
#: Milliseconds that a page may take for anything: much on a busy machine, and nothing waits for it.
_PATIENCE = 45_000
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LOCAL_SCHEMES = {"about", "blob", "data"}
#: What the browser or React writes when a page breaks a rule.
_BROKEN_RULES = ("Content Security Policy", "Warning:")


@dataclass
class Site:
    """A running app, and the sandbox that it runs on."""

    app: Flask
    url: str
    sandbox: Sandbox


@contextmanager
def serving(app: Flask, sandbox: Sandbox | None = None) -> Iterator[Site]:
    """Serve an app on a free port of this machine; the sandbox is its own unless given."""
    sandbox = (sandbox or app.extensions["anam"].sandbox).ensure_running()
    server = make_server("127.0.0.1", 0, _from_memory(app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with ExitStack() as running:
        running.callback(sandbox.stop)
        running.callback(server.server_close)
        running.callback(thread.join)
        running.callback(server.shutdown)
        yield Site(app, f"http://127.0.0.1:{server.port}", sandbox)


def _from_memory(app: Flask) -> WSGIApplication:
    """Wrap an app so that no file stays open: Werkzeug forgets those of a browser that hung up."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = app.wsgi_app(environ, start_response)
        try:
            return list(body)
        finally:
            if hasattr(body, "close"):
                body.close()

    return answer


@dataclass
class Watch:
    """What a page did that it must not do."""

    faults: list[str] = field(default_factory=list)

    def allows(self, url: str) -> bool:
        """Whether a URL stays on this machine; note it if it does not."""
        parts = urlsplit(url)
        if parts.scheme in _LOCAL_SCHEMES or parts.hostname in _LOOPBACK:
            return True
        self.faults.append(f"asked for {parts.scheme}://{parts.netloc}{parts.path}")
        return False

    def guard(self, route: Route, request: Request) -> None:
        """Let only requests to this machine through."""
        if self.allows(request.url):
            route.fallback()
        else:
            route.abort()

    def look(self, page: Page) -> None:
        """Note connections elsewhere, uncaught errors and broken rules."""
        page.on("websocket", self._connected)
        page.on("pageerror", self._threw)
        page.on("console", self._wrote)

    def _connected(self, socket: Socket) -> None:
        self.allows(socket.url)

    def _threw(self, error: Error) -> None:
        self.faults.append(f"threw {error}")

    def _wrote(self, message: ConsoleMessage) -> None:
        if any(rule in message.text for rule in _BROKEN_RULES):
            self.faults.append(message.text)


@contextmanager
def watched_context(**options: Any) -> Iterator[BrowserContext]:
    """Open a fresh context of the worker's browser; complain if its pages misbehaved."""
    watch = Watch()
    context = the_browser().new_context(**options)
    context.set_default_timeout(_PATIENCE)
    expect.set_options(timeout=_PATIENCE)
    context.route(re.compile(".*"), watch.guard)
    context.on("page", watch.look)
    try:
        yield context
    finally:
        context.close()
    assert watch.faults == [], watch.faults


def keep_screenshot(page: Page, name: str) -> None:
    """Keep how a page looks, under a name that is good for a file."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    file = re.sub(r"[^\w-]+", "-", name) + ".png"
    page.screenshot(path=SCREENSHOTS / file, full_page=True)
