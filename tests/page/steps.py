"""What people do with a player, and what a test waits for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from page.sites import Site
from playwright.sync_api import Page, expect

#: Draws the picture of the player, small, and returns what it is made of.
_LOOK = """() => {
  const video = document.querySelector(".anam-player video");
  const canvas = Object.assign(document.createElement("canvas"), { width: 90, height: 60 });
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 90, 60);
  return pen.getImageData(0, 0, 90, 60).data.join();
}"""


def start(page: Page) -> None:
    """Press the start button."""
    page.get_by_role("button", name=re.compile("^(Start|Try)")).click()


def stop(page: Page) -> None:
    """Press the button that ends the conversation."""
    page.get_by_role("button", name="End", exact=True).click()


def expect_state(page: Page, state: str, *, within: float = 45) -> None:
    """Wait until the player says where it is."""
    player = page.locator(".anam-player")
    expect(player).to_have_attribute("data-state", state, timeout=1000 * within)


def expect_live(page: Page) -> None:
    """Wait until there is a conversation with a picture that moves."""
    expect_state(page, "live")
    expect(page.locator(".anam-player")).to_have_attribute("data-picture", "there")
    first = page.evaluate(_LOOK)
    assert len(set(first.split(","))) > 20, "the picture is empty"
    wait_until(page, lambda: page.evaluate(_LOOK) != first)


def wait_until(page: Page, holds: Callable[[], object], within: float = 45) -> None:
    """Wait until something holds, while the page goes on."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(20)


def wait_for_reports(site: Site, page: Page, *, running: int, ended: int) -> None:
    """Wait until the server has heard of that; Playwright sees no beacons."""
    usage = site.app.extensions["anam"].metrics_recorder

    def heard() -> bool:
        metrics = usage.metrics()
        return (metrics["sessions_active"], metrics["sessions_ended"]) == (running, ended)

    wait_until(page, heard)


def expect_status(page: Page) -> Any:
    """Return an expectation of what the player says."""
    return expect(page.get_by_role("status"))


def tokens(site: Site) -> tuple[list[str], list[str | None]]:
    """Return the tokens that have been made, and those that sessions were started with."""
    ledger = site.sandbox.ledger
    return [m.token_id for m in ledger.mints], [s.token_id for s in ledger.sessions]


def wait_for_end(site: Site, page: Page, index: int = 0) -> str | None:
    """Wait until the sandbox has ended a session; return how."""
    wait_until(page, lambda: site.sandbox.ledger.sessions[index].exit_status)
    return site.sandbox.ledger.sessions[index].exit_status
