"""One headless Chromium for all tests of a worker: a thread can run only one Playwright."""

from __future__ import annotations

import atexit
import os
import shutil
from functools import cache
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    # A second bolt, for what a page's routes do not see: no name but these is ever resolved.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def go_without(what: str) -> NoReturn:
    """Leave the test out here; on CI a missing part is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} On CI it has to be there.", pytrace=False)
    pytest.skip(what)


def the_browser() -> Browser:
    """Return the worker's browser, started at the first call."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        go_without("Chromium is missing, so the browser tests are left out.")
    return _launched(chromium)


@cache
def _launched(chromium: str) -> Browser:
    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
