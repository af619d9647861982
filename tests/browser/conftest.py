"""The example app behind a real server, and a Chromium to look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from page.chromium import go_without
from page.sites import Site, keep_screenshot, serving, watched_context
from playwright.sync_api import BrowserContext, Page

_HERE = Path(__file__).parent
_SDK = _HERE / "node_modules/@anam-ai/js-sdk/dist/umd/anam.js"


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """Serve example apps with the given settings, each on a free port of this machine."""
    if not _SDK.is_file():
        go_without("The Anam SDK is missing (tools/get-sdk.sh tests/browser).")
    from example_app import create_app  # not there when an installed wheel is tested

    with ExitStack() as running:

        def make(**settings: Any) -> Site:
            config = {
                "SECRET_KEY": "browser-tests",
                "ANAM_API_KEY": None,
                "ANAM_SANDBOX": True,
                "NODE_MODULES": str(_HERE / "node_modules"),
            }
            return running.enter_context(serving(create_app({**config, **settings})))

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """Give the example app as it is."""
    return make_site()


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    """Give a fresh browser context; the test fails if its pages misbehaved."""
    with watched_context(viewport={"width": 1200, "height": 800}) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page; how it looked at the end is kept as a screenshot."""
    page = context.new_page()
    yield page
    keep_screenshot(page, request.node.name)


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
