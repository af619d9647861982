"""A Chromium that reaches nothing but this machine, and the example app behind a real server."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from flask import Flask, send_file
from page.chromium import the_browser
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    Route,
    WebSocket,
)
from werkzeug.serving import make_server

from flask_anam.sandbox import Sandbox

_HERE = Path(__file__).parent
_SDK = _HERE / "node_modules/@anam-ai/js-sdk/dist/umd/anam.js"
_SCREENSHOTS = _HERE.parents[1] / "build" / "screenshots"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LOCAL_SCHEMES = {"about", "blob", "data"}


def _go_without(what: str) -> NoReturn:
    """Leave the test out here; on CI a missing part is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} On CI it has to be there.", pytrace=False)
    pytest.skip(what)


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
class Site:
    """A running example app."""

    app: Flask
    url: str

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox that the app runs on."""
        sandbox = self.app.extensions["anam"].sandbox
        assert isinstance(sandbox, Sandbox)
        return sandbox


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
            route.continue_()
        else:
            route.abort()

    def look(self, page: Page) -> None:
        """Note uncaught errors and broken rules of the content security policy."""
        page.on("websocket", self._connected)
        page.on("pageerror", self._threw)
        page.on("console", self._wrote)

    def _connected(self, socket: WebSocket) -> None:
        self.allows(socket.url)

    def _threw(self, error: Error) -> None:
        self.faults.append(f"threw {error}")

    def _wrote(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)


@pytest.fixture(scope="session")
def browser() -> Browser:
    """Give one headless Chromium with a profile of its own, for all tests of this worker."""
    return the_browser()


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """Serve example apps with the given settings, each on a free port of this machine."""
    if not _SDK.is_file():
        _go_without("The Anam SDK is missing (tools/get-sdk.sh tests/browser).")
    from example_app import create_app  # not there when an installed wheel is tested

    with ExitStack() as running:

        def make(**settings: Any) -> Site:
            config = {
                "SECRET_KEY": "browser-tests",
                "ANAM_API_KEY": None,
                "ANAM_SANDBOX": True,
                "NODE_MODULES": str(_HERE / "node_modules"),
            }
            app = create_app({**config, **settings})
            app.add_url_rule(
                "/test/sdk.js", view_func=lambda: send_file(_SDK, mimetype="text/javascript")
            )
            server = make_server("127.0.0.1", 0, _from_memory(app), threaded=True)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            running.callback(app.extensions["anam"].sandbox.stop)
            running.callback(server.server_close)
            running.callback(thread.join)
            running.callback(server.shutdown)
            return Site(app, f"http://127.0.0.1:{server.port}")

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """Give the example app as it is."""
    return make_site()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Give a fresh browser context; the test fails if its pages misbehaved."""
    watch = Watch()
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(10_000)
    context.route(re.compile(".*"), watch.guard)
    context.on("page", watch.look)
    yield context
    context.close()
    assert watch.faults == []


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page; how it looked at the end is kept as a screenshot."""
    page = context.new_page()
    yield page
    _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=_SCREENSHOTS / f"{request.node.name}.png", full_page=True)


@pytest.fixture
def log_in(page: Page) -> Callable[..., None]:
    """Log in by the form."""

    def log_in(site: Site, name: str = "ada", password: str = "lovelace") -> None:  # noqa: S107
        page.goto(f"{site.url}/login")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        with page.expect_navigation(wait_until="load"):
            page.get_by_role("button", name="Log in").click()

    return log_in
