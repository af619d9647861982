"""An app with a page for each case, behind a real server, and a Chromium to look at it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, render_template_string, request, send_file
from flask_login import login_user
from hosts import PERSONA, User, make_host
from page.chromium import go_without
from page.sites import Site, keep_screenshot, serving, watched_context
from playwright.sync_api import BrowserContext, Page

from flask_anam import FlaskAnam
from flask_anam.core.clock import Clock
from flask_anam.sandbox import Sandbox
from flask_anam.testing import sandbox_config

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
SDK = "@anam-ai/js-sdk/dist/umd/anam.js"
#: A persona that is quick to test with.
QUICK = {**PERSONA, "label": "Alex", "systemPrompt": "Be kind.", "initialMessage": "Hello there."}
NONCE = "bm9uY2U"
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'nonce-{NONCE}'",
        f"style-src 'nonce-{NONCE}'",
        "img-src 'self'",
        "media-src blob:",
        "connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
#: The page around the player: what a host would have, and no more.
PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Support</title>
  {{ anam.head(nonce=nonce) }}
  <style nonce="{{ nonce }}">
    body { margin: 0; padding: 1rem; font-family: system-ui, sans-serif; }
    body { background: #f4f5f3; color: #1c211f; }
    h1 { font-size: 1.4rem; max-width: 44rem; margin: 0 auto 1rem; }
    main { display: grid; justify-items: center; }
    @media (prefers-color-scheme: dark) { body { background: #0e1110; color: #eef1ef; } }
  </style>
</head>
<body>
<main>
  <h1>Ask the workshop</h1>
  {{ anam.player("support", **player) }}
</main>
</body>
</html>"""


def needed(path: str) -> Path:
    """Return a file of the npm packages, or leave the test out."""
    if not (file := MODULES / path).is_file():
        go_without("npm packages are missing (tools/get-sdk.sh tests/page).")
    return file


@pytest.fixture(scope="session")
def node() -> str:
    """Return the path of Node, or leave the test out."""
    program = shutil.which("node")
    if program is None:
        go_without("Node is missing, so the tests that need it are left out.")
    return program


def make_page_app(users: list[User], *, clock: Clock | None = None, **config: Any) -> Flask:
    """Return an app with the player on its front page and the files that tests load."""
    settings = {"ANAM_SANDBOX": True, "ANAM_PERSONAS": {"support": {**PERSONA, "label": "Alex"}}}
    app = make_host(*users, **{**settings, **config})
    known = {user.get_id(): user for user in users}
    FlaskAnam(clock=clock).init_app(app)

    @app.get("/")
    def front() -> str:
        player = {"sdk": "/test/fake-sdk.js", **app.config.get("PLAYER", {})}
        return render_template_string(PAGE, nonce=NONCE, player=player)

    @app.get("/bare")
    def bare() -> str:
        return (
            f'<!doctype html><title>Bare</title><video id="v"></video>{app.config.get("BARE", "")}'
        )

    @app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(known[name])
        return "<!doctype html><title>Hello</title>"

    @app.get("/test/<path:name>")
    def file(name: str) -> Response:
        folder = MODULES if name.startswith("npm/") else HERE
        return send_file(folder / name.removeprefix("npm/"), mimetype="text/javascript")

    @app.after_request
    def protect(response: Response) -> Response:
        if request.path == "/":
            response.headers["Content-Security-Policy"] = POLICY
        return response

    return app


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """Serve apps with the given settings, each on a free port of this machine."""
    with ExitStack() as running:

        def make(sandbox: Sandbox | None = None, **config: Any) -> Site:
            users = [User("ada"), User("bob", may_talk=False)]
            given = sandbox_config(sandbox) if sandbox else {}
            app = make_page_app(users, **{**given, **config})
            return running.enter_context(serving(app, sandbox))

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """Give the app as it is."""
    return make_site()


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    """Give a fresh browser context; the test fails if its pages misbehaved."""
    size = {"width": 800, "height": 860}
    with watched_context(viewport=size, permissions=["microphone"]) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page; how it looked at the end is kept as a screenshot."""
    page = context.new_page()
    yield page
    keep_screenshot(page, f"page-{request.node.name}")


@pytest.fixture
def visit(page: Page) -> Callable[..., None]:
    """Open a page of a site as somebody who is logged in."""

    def visit(site: Site, path: str = "/", user: str = "ada") -> None:
        page.goto(f"{site.url}/login/{user}")
        page.goto(f"{site.url}{path}")

    return visit


@pytest.fixture
def live(make_site: Callable[..., Site]) -> Callable[..., Site]:
    """Serve apps whose player takes the official SDK."""
    needed(SDK)

    def make(sandbox: Sandbox | None = None, persona: Any = None, **config: Any) -> Site:
        player = {"sdk": f"/test/npm/{SDK}", "microphone": False, **config.pop("player", {})}
        personas = {"support": {**QUICK, **(persona or {})}}
        return make_site(sandbox, ANAM_PERSONAS=personas, PLAYER=player, **config)

    return make
