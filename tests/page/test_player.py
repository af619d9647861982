"""The player as people meet it, with a stand-in for the SDK; test_live.py has the real one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from page.chromium import the_browser
from page.steps import expect_state, start, wait_for_reports
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

Visit = Callable[..., None]
TOKEN = "**/api/session-token"


def test_whole_conversation(site: Site, page: Page, visit: Visit) -> None:
    """From the click to the end: picture, captions, transcript, writing, and the reports."""
    visit(site)
    expect(page.get_by_role("status")).to_have_text("Alex is ready when you are")
    expect(page.get_by_text("Sandbox, not Anam")).to_be_visible()
    start(page)
    expect_state(page, "live")
    expect(page.get_by_role("status")).to_have_text("You are talking to Alex")
    expect(page.locator(".anam-player")).to_have_attribute("data-picture", "there")
    page.evaluate('fakeAnam.clients[0].say("m1", "persona", "Hello, what is the matter?", false)')
    expect(page.locator(".anam-caption")).to_have_text("Hello, what is the matter?")
    page.evaluate('fakeAnam.clients[0].say("m1", "persona", " With your bicycle?")')
    page.get_by_label("Message to Alex").fill("The chain squeaks.")
    page.get_by_label("Message to Alex").press("Enter")
    expect(page.get_by_label("Message to Alex")).to_have_value("")
    expect(page.get_by_role("log").locator("li")).to_have_text(
        ["Alex Hello, what is the matter? With your bicycle?", "You The chain squeaks."]
    )
    page.get_by_role("button", name="Captions").click()
    expect(page.locator(".anam-caption")).to_be_hidden()
    page.get_by_role("button", name="Mute").click()
    expect(page.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("fakeAnam.mutes") == [True]
    assert page.evaluate("fakeAnam.clients[0].sent") == ["The chain squeaks."]
    page.get_by_role("button", name="Captions").click()
    page.get_by_role("button", name="End", exact=True).click()
    expect_state(page, "ended")
    expect(page.locator(".anam-caption")).to_be_hidden()
    (session,) = site.sandbox.ledger.sessions
    (mint,) = site.sandbox.ledger.mints
    assert session.token_id == mint.token_id
    wait_for_reports(site, page, running=0, ended=1)


def test_markup_cannot_lend_the_nonce_to_a_stranger(make_site: Callable[..., Site]) -> None:
    """A player that somebody smuggled into the page runs no file of another origin."""
    site = make_site()
    script = f"{site.url.replace('127.0.0.1', 'localhost')}/test/fake-sdk.js"
    site.app.config["PLAYER"] = {"sdk": script, "prefetch": "idle"}
    context = the_browser().new_context()  # unwatched, since the policy is to be offended
    try:
        page = context.new_page()
        page.goto(f"{site.url}/login/ada")
        page.goto(site.url)
        start(page)
        expect_state(page, "failed")
        expect(page.locator(".anam-player")).to_have_attribute("data-code", "sdk_missing")
        assert page.evaluate("typeof fakeAnam") == "undefined"
    finally:
        context.close()


def limit_once(page: Page, seconds: int) -> None:
    """Answer the next request for a token as the endpoint does when a limit is full."""
    facts = {"error": "Rate limit exceeded", "code": "rate_limited", "retryable": True}
    body = json.dumps({**facts, "retryAfter": seconds})
    answer = {"status": 429, "content_type": "application/json", "body": body}
    page.route(TOKEN, lambda route: route.fulfill(**answer), times=1)


def test_rate_limit_is_told(make_site: Callable[..., Site], page: Page, visit: Visit) -> None:
    """The sentence says why and when; the limit is the server's own."""
    site = make_site(ANAM_TOKEN_RATE_LIMIT="1 per year")
    visit(site)
    start(page)
    expect_state(page, "live")
    page.get_by_role("button", name="End", exact=True).click()
    start(page)
    expect_state(page, "failed")
    expect(page.get_by_role("status")).to_contain_text(
        re.compile(r"many conversations in a short time\. Try again in [\d,]+ (hour|minute)s?\.")
    )
    assert len(site.sandbox.ledger.mints) == 1


def test_rate_limit_counts_down(make_site: Callable[..., Site], page: Page, visit: Visit) -> None:
    """The clock says how long, and the button offers another try."""
    visit(make_site(PLAYER={"prefetch": None}))
    limit_once(page, 900)
    start(page)
    expect_state(page, "failed")
    expect(page.get_by_role("status")).to_contain_text("Try again in 15 minutes.")
    count = page.locator(".anam-count")
    expect(count).to_have_text(re.compile(r"^1[45]:\d\d$"))
    expect(count).not_to_have_text(count.inner_text())
    start(page)
    expect_state(page, "live")


def test_short_limit_is_waited_out(
    make_site: Callable[..., Site], page: Page, visit: Visit
) -> None:
    """A wait that is short enough needs no second click."""
    visit(make_site(PLAYER={"prefetch": None}))
    limit_once(page, 2)
    start(page)
    expect_state(page, "waiting")
    expect(page.get_by_role("status")).to_contain_text("Next try in 2 seconds.")
    expect_state(page, "live")


def test_logged_out_is_told(site: Site, page: Page) -> None:
    """Who is not logged in any more reads so."""
    page.goto(site.url)
    start(page)
    expect(page.get_by_role("status")).to_contain_text("You are not logged in any more.")


def test_anam_down_then_up(site: Site, page: Page, visit: Visit) -> None:
    """The player waits as long as the server says and then goes on by itself."""
    visit(site)
    site.sandbox.fail_next(503, times=3)
    page.mouse.move(0, 0)
    page.get_by_role("button", name="Start").press("Enter")
    expect_state(page, "waiting")
    expect(page.get_by_role("status")).to_contain_text("Anam cannot be reached right now.")
    expect_state(page, "live")
    expect(page.locator(".anam-count")).to_be_hidden()


def test_lost_connection_is_opened_again(site: Site, page: Page, visit: Visit) -> None:
    """Another session with another token, and the old one is reported as over."""
    visit(site)
    start(page)
    expect_state(page, "live")
    page.evaluate('fakeAnam.clients[0].close("WEBRTC_FAILURE")')
    expect_state(page, "waiting")
    expect_state(page, "live")
    wait_for_reports(site, page, running=1, ended=1)
    assert len({session.token_id for session in site.sandbox.ledger.sessions}) == 2


def test_keyboard_is_enough(site: Site, page: Page, visit: Visit) -> None:
    """Focus never gets lost, and goes through the controls in the order they are seen."""
    focused = "document.activeElement.dataset.anam"
    visit(site)
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "start"
    page.keyboard.press("Enter")
    assert page.evaluate(focused) in {"start", "stop"}
    expect_state(page, "live")
    assert page.evaluate(focused) == "stop"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "text"
    page.keyboard.type("Good morning")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log").locator("li")).to_have_text(["You Good morning"])
    for name in ("log", "stop", "captions", "mute"):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(focused) == name
    page.keyboard.press("Space")
    assert page.evaluate("fakeAnam.mutes.at(-1)") is True
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect_state(page, "ended")
    assert page.evaluate(focused) == "start"


def test_a_missing_sdk_is_told(make_site: Callable[..., Site], page: Page, visit: Visit) -> None:
    """Without it no token is asked for."""
    site = make_site(PLAYER={"sdk": "/nowhere.js", "prefetch": None})
    visit(site)
    start(page)
    expect(page.get_by_role("status")).to_contain_text("A part of this page could not be loaded.")
    assert site.sandbox.ledger.mints == ()
