"""Time from the click to the first picture, and the price of a session: ``make bench-first-frame``.

Everything is on this machine: Chromium without a window, and the app with its sandbox in a process
of its own. The page asks for its token after the click, not before.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from page.chromium import the_browser
from playwright.sync_api import Browser, Page

from benchmarks.site import MODELS

ROOT = Path(__file__).parents[1]
SDK = ROOT / "tests/media/node_modules/@anam-ai/js-sdk/dist/umd/anam.js"

#: What we aim at: seconds to the first picture, and per cent of one core at 720x480.
TARGET_SECONDS, TARGET_CPU = 0.6, 40


@contextmanager
def site() -> Iterator[str]:
    """Run the app in a process of its own; its URL."""
    command = [sys.executable, "-m", "benchmarks.site", "--sdk", str(SDK)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, **pipes) as server:
        assert server.stdin
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()
            server.wait(20)


@contextmanager
def talking(browser: Browser, url: str) -> Iterator[Page]:
    """Open the page, click, and wait for the first picture."""
    context = browser.new_context(permissions=["microphone"])
    try:
        page = context.new_page()
        page.goto(url)
        page.get_by_role("button", name="Start conversation").click()
        page.wait_for_function("window.seconds !== undefined", timeout=20_000)
        yield page
        page.get_by_role("button", name="End", exact=True).click()
    finally:
        context.close()


def seconds_to_picture(browser: Browser, url: str) -> float:
    """Return the time from the click to the first picture, of one new page."""
    with talking(browser, url) as page:
        return float(page.evaluate("window.seconds"))


def load(browser: Browser, url: str, path: str, seconds: float) -> tuple[str, float, float]:
    """Return size, pictures a second and server CPU (0 to 1 of one core) of a running session."""

    def look() -> tuple[float, float, int]:
        cpu = page.request.get(f"{url}/cpu").json()
        quality = "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
        return cpu["at"], cpu["seconds"], int(page.evaluate(quality))

    with talking(browser, f"{url}/{path}") as page:
        page.get_by_label("Message to").fill("Tell me something, so that your lips move.")
        page.keyboard.press("Enter")
        begun, used, shown = look()
        time.sleep(seconds)
        ended, used_then, shown_then = look()
        wide, high = page.evaluate(
            "(({ videoWidth, videoHeight }) => [videoWidth, videoHeight])"
            "(document.querySelector('video'))"
        )
    lasted = ended - begun
    return f"{wide}x{high}", (shown_then - shown) / lasted, (used_then - used) / lasted


def main() -> None:
    """Measure and print; the figures are for people, so they never make it fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="after the first (default: 10)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each session measured")
    given = parser.parse_args()
    if not SDK.is_file():
        sys.exit("The Anam SDK is missing: run tools/get-sdk.sh tests/media.")
    browser = the_browser()
    with site() as url:
        first = seconds_to_picture(browser, f"{url}/usual")
        later = [seconds_to_picture(browser, f"{url}/usual") for _ in range(given.rounds)]
        loads = [load(browser, url, path, given.seconds) for path in MODELS]
    print("From the click to the first picture at 720x480, with our token request:")
    print(f"  the first session of a process  {first:.2f} s")
    print(
        f"  {len(later)} after it  median {statistics.median(later):.2f} s, "
        f"min {min(later):.2f} s, max {max(later):.2f} s  (target: {TARGET_SECONDS} s)"
    )
    print(f"One session over {given.seconds:g} s, half of it speech:")
    for size, rate, cpu in loads:
        print(f"  {size}  {rate:.1f} pictures a second, {cpu:.0%} of one core for the server")
    print(f"  (target at 720x480: {TARGET_CPU} %)")


if __name__ == "__main__":
    main()
