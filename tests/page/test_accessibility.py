"""axe finds nothing serious in the player, in no state, by day and by night, large and small."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from page.conftest import needed
from page.sites import SCREENSHOTS
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

STATES = ("idle", "connecting", "waiting", "live", "ended", "failed")
LOOKS = (("light", 1000), ("dark", 1000), ("light", 320), ("dark", 320))
TALK = """() => {
  const [client] = fakeAnam.clients;
  client.say("m1", "persona", "Hello, this is Alex from the bicycle shop. What can I do for you?");
  client.say("m2", "user", "My chain squeaks when it rains.");
  client.say("m3", "persona", "Then it wants oil. Wipe it dry first, please.");
}"""


def bring_to(state: str, site: Site, page: Page, visit: Callable[..., None]) -> None:
    """Bring the player on the page into a state, as it would come into it by itself."""
    if state == "waiting":
        site.sandbox.refuse_sessions("concurrency")
    if state == "connecting":
        site.sandbox.fail_next(silent=True, path="/v1/engine/session")
    visit(site, user="bob" if state == "failed" else "ada")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    if state != "idle":
        page.get_by_role("button", name="Start").click()
    player = page.locator(".anam-player")
    if state in {"live", "ended"}:
        expect(player).to_have_attribute("data-picture", "there")
        page.evaluate(TALK)
    if state == "ended":
        page.get_by_role("button", name="End", exact=True).click()
    expect(player).to_have_attribute("data-state", state)
    page.mouse.move(0, 0)


@pytest.mark.parametrize("state", STATES)
def test_every_state(state: str, site: Site, page: Page, visit: Callable[..., None]) -> None:
    """No serious or critical finding, nothing sticks out, and a picture of each look is kept."""
    axe = needed("axe-core/axe.min.js").read_text()
    bring_to(state, site, page, visit)
    page.evaluate(axe)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    scheme: Any
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 860})
        page.wait_for_timeout(100)  # colours fade
        report = page.evaluate("axe.run()")
        bad = [
            (
                violation["id"],
                [(node["html"], node["failureSummary"]) for node in violation["nodes"]],
            )
            for violation in report["violations"]
            if violation["impact"] in {"serious", "critical"}
        ]
        assert bad == [], f"{scheme} {width}"
        assert report["passes"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=SCREENSHOTS / f"player-{state}-{scheme}-{width}.png", full_page=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_theme_can_be_forced(
    make_site: Callable[..., Site], page: Page, visit: Callable[..., None], theme: str
) -> None:
    """Also against what the visitor prefers; and a property of the page wins."""
    site = make_site(PLAYER={"theme": theme})
    page.emulate_media(color_scheme="dark" if theme == "light" else "light")
    visit(site)
    colour = "getComputedStyle(document.querySelector('.anam-player')).backgroundColor"
    assert (
        page.evaluate(colour) == {"light": "rgb(255, 255, 255)", "dark": "rgb(25, 28, 27)"}[theme]
    )
    page.evaluate("document.documentElement.style.setProperty('--anam-surface', 'rgb(1, 2, 3)')")
    assert page.evaluate(colour) == "rgb(1, 2, 3)"
