"""The official clients of a sandbox that streams, and a count of what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
from anam import AnamClient, AnamEvent, ClientOptions
from anam.client import Session
from page.chromium import go_without, the_browser
from playwright.sync_api import Browser, Page
from sandbox.clients import QUIET, wait_for

from flask_anam.sandbox import Sandbox

_PACKAGES = Path(__file__).parent / "node_modules"
#: The releases of the JavaScript SDK in package.json, and the names they have there.
CURRENT = "4.27.0"
RELEASES = {
    "4.1.0": "anam-4-1",
    "4.13.1": "anam-4-13",
    "4.20.0": "anam-4-20",
    CURRENT: "@anam-ai/js-sdk",
}
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
_PAGE = """<!doctype html><title>Sandbox</title><link rel="icon" href="data:,">
<body style="margin:0"><video id="persona" autoplay playsinline style="width:100%"></video>
<script src="/{release}.js"></script></body>"""


_T = TypeVar("_T")


class Talk:
    """One session through the official Python SDK, with what it reported."""

    def __init__(self, client: AnamClient) -> None:
        self.events: list[tuple[AnamEvent, tuple[Any, ...]]] = []
        for event in AnamEvent:
            client.add_listener(event, self._note(event))
        self.session: Session

    def _note(self, event: AnamEvent) -> Callable[..., None]:
        return lambda *details: self.events.append((event, details))

    def spoken_by(self, role: str) -> str:
        """Return all that was said by ``user`` or ``persona``."""
        chunks = [d[0] for e, d in self.events if e is AnamEvent.MESSAGE_STREAM_EVENT_RECEIVED]
        return "".join(chunk.content for chunk in chunks if chunk.id.startswith(f"{role}::"))

    def details(self, event: AnamEvent) -> list[tuple[Any, ...]]:
        """Return the arguments of all events of a kind."""
        return [details for known, details in self.events if known is event]

    async def until(self, condition: Callable[[], object], within: float = 60.0) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.02)

    async def pictures(self, count: int) -> list[bytes]:
        """Return the luma of so many pictures."""
        pictures: list[bytes] = []
        async with asyncio.timeout(60):
            async for frame in self.session.video_frames():
                pictures.append(bytes(frame.planes[0]))
                if len(pictures) == count:
                    break
        return pictures


@asynccontextmanager
async def talking(sandbox: Sandbox, **credentials: Any) -> AsyncIterator[Talk]:
    """Connect the official Python SDK, with a token of the quiet persona if nothing is given."""
    before = asyncio.all_tasks()
    options = credentials or {"session_token": sandbox.issue_token(QUIET)}
    client = AnamClient(options=ClientOptions(api_base_url=sandbox.url), **options)
    talk = Talk(client)
    talk.session = await asyncio.wait_for(client.connect_async(), 60)
    try:
        await talk.until(lambda: talk.details(AnamEvent.SESSION_READY))
        yield talk
    finally:
        await asyncio.wait_for(talk.session.close(), 10)
        # When the sandbox ended the session, the SDK is still closing in tasks of its own.
        mine = asyncio.current_task()
        while others := asyncio.all_tasks() - {mine} - before:
            if not (await asyncio.wait(others, timeout=2))[0]:
                break


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a thread of its own: Playwright keeps a loop in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    gc.collect()
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail when a test leaves threads or open sockets behind."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    assert wait_for(lambda: set(threading.enumerate()) <= threads), threading.enumerate()
    assert wait_for(lambda: open_files() <= files), (open_files(), files)


@pytest.fixture(scope="session")
def browser() -> Browser:
    """Give one headless Chromium for all tests of this worker."""
    return the_browser()


@pytest.fixture(scope="session")
def page_url() -> Iterator[str]:
    """Serve, for each release of the JavaScript SDK, a page with it and a video element."""
    files: dict[str, tuple[bytes, str]] = {}
    for release, name in RELEASES.items():
        sdk = _PACKAGES / name / "dist/umd/anam.js"
        if not sdk.is_file():
            go_without("The Anam SDK is missing (tools/get-sdk.sh tests/media).")
        files[f"/{release}"] = _PAGE.format(release=release).encode(), "text/html"
        files[f"/{release}.js"] = sdk.read_bytes(), "text/javascript"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, kind = files[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(browser: Browser, page_url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page with the SDK; how it looked at the end is kept as a screenshot."""
    context = browser.new_context(
        viewport={"width": 720, "height": 480}, permissions=["microphone"]
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(page_url + CURRENT)
    yield page
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
    context.close()
