"""What the tests of the example app do on the page of a persona, and wait for."""

from __future__ import annotations

import re

from page.sites import Site
from playwright.sync_api import Page, expect

#: What the video shows, small: other pixels mean that the face has moved.
PIXELS = """() => {
  const context = document.createElement("canvas").getContext("2d");
  context.drawImage(document.querySelector(".anam-player video"), 0, 0, 90, 60);
  return context.getImageData(0, 0, 90, 60).data.join();
}"""


def start(page: Page) -> None:
    """Press the button that starts, or starts again."""
    page.get_by_role("button", name=re.compile("^(Start|Try)")).click()


def talk_to(site: Site, page: Page, persona: str = "support") -> None:
    """Open the page of a persona and press Start."""
    page.goto(f"{site.url}/talk/{persona}")
    start(page)


def expect_state(page: Page, state: str) -> None:
    """Wait until the player says where it is."""
    expect(page.locator(".anam-player")).to_have_attribute("data-state", state, timeout=20_000)


def expect_face(page: Page) -> None:
    """Wait until the conversation runs and its picture is seen."""
    expect_state(page, "live")
    expect(page.locator(".anam-player")).to_have_attribute("data-picture", "there", timeout=20_000)


def expect_motion(page: Page) -> None:
    """Wait for two pictures that differ."""
    expect_face(page)
    first = page.evaluate(PIXELS)
    page.wait_for_function(f"first => ({PIXELS})() !== first", arg=first, timeout=20_000)
