"""The player as people meet it, and what the server saw of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, Page, expect

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

Visit = Callable[..., None]
TOKEN = "**/api/session-token"


def start(page: Page) -> None:
    """Press the start button."""
    page.get_by_role("button", name=re.compile("^(Start|Try)")).click()


def expect_state(page: Page, state: str) -> None:
    """Wait until the player says where it is."""
    expect(page.locator(".anam-player")).to_have_attribute("data-state", state, timeout=12_000)


def wait_for_reports(site: Site, page: Page, *, running: int, ended: int) -> None:
    """Wait until the server has heard of that; Playwright sees no beacons."""
    usage = site.app.extensions["anam"].usage
    for _ in range(150):
        metrics = usage.metrics()
        heard = metrics["sessions_active"], metrics["sessions_ended"]
        if heard == (running, ended):
            return
        page.wait_for_timeout(20)
    assert heard == (running, ended)


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
    assert page.evaluate("fakeAnam.mutes") == [False, True]
    assert page.evaluate("fakeAnam.clients[0].sent") == ["The chain squeaks."]
    page.get_by_role("button", name="Captions").click()
    page.get_by_role("button", name="End", exact=True).click()
    expect_state(page, "ended")
    expect(page.locator(".anam-caption")).to_be_hidden()
    (session,) = site.sandbox.ledger.sessions
    (mint,) = site.sandbox.ledger.mints
    assert session.token_id == mint.token_id
    wait_for_reports(site, page, running=0, ended=1)


def test_the_official_sdk_starts_a_session(
    make_site: Callable[..., Site], page: Page, visit: Visit
) -> None:
    """The unchanged SDK gets as far as the session, and the player stops it cleanly."""
    from page.conftest import needed

    sdk = "@anam-ai/js-sdk/dist/umd/anam.js"
    needed(sdk)
    site = make_site(PLAYER={"sdk": f"/test/npm/{sdk}", "microphone": False})
    visit(site)
    with page.expect_response("**/v1/engine/session") as started:
        start(page)
    assert started.value.ok
    expect(page.get_by_role("status")).to_contain_text("Connecting to Alex")
    page.get_by_role("button", name="End", exact=True).click()
    expect_state(page, "ended")
    (request,) = [r for r in site.sandbox.ledger.requests if r.path == "/v1/engine/session"]
    assert request.body["clientMetadata"] == {"client": "js-sdk", "version": "4.27.0"}


def test_double_click_costs_one_token(site: Site, page: Page, visit: Visit) -> None:
    """The second click of a double click does nothing."""
    visit(site)
    page.get_by_role("button", name="Start").dblclick()
    expect_state(page, "live")
    assert len(site.sandbox.ledger.mints) == len(site.sandbox.ledger.sessions) == 1


def test_two_tabs_have_two_tokens(
    site: Site, page: Page, visit: Visit, context: BrowserContext
) -> None:
    """Also a duplicated tab, which begins with a copy of the storage, has a slot of its own."""
    visit(site)
    slots = []
    for tab in (page, None):
        if tab is None:  # opened from the page, so the browser copies its storage
            with context.expect_page() as opened:
                page.evaluate("window.open(location.href)")
            tab = opened.value
        with tab.expect_request(TOKEN) as asked:
            start(tab)
        expect_state(tab, "live")
        slots.append(json.loads(asked.value.post_data or "{}")["slot"])
    assert len(set(slots)) == 2
    assert len({mint.token_id for mint in site.sandbox.ledger.mints}) == 2


def test_reload_before_the_start_keeps_the_token(site: Site, page: Page, visit: Visit) -> None:
    """A prefetched token outlives a reload; once it is used, another reload gets a new one."""
    visit(site)
    for _ in range(2):
        with page.expect_response(TOKEN):
            page.get_by_role("button", name="Start").hover()
        page.mouse.move(0, 0)
        page.reload()
    assert len(site.sandbox.ledger.mints) == 1
    with page.expect_response("**/anam/sessions"):
        start(page)
    expect_state(page, "live")
    page.reload()
    start(page)
    expect_state(page, "live")
    assert len(site.sandbox.ledger.mints) == 2
    assert len({session.token_id for session in site.sandbox.ledger.sessions}) == 2


def test_refused_token_is_replaced(site: Site, page: Page, visit: Visit) -> None:
    """The visitor notices nothing, and the server hears which token it was."""
    visit(site)
    site.sandbox.fail_next(401, path="/v1/engine/session")
    start(page)
    expect_state(page, "live")
    first, second = site.sandbox.ledger.mints
    (session,) = site.sandbox.ledger.sessions
    assert first.token_id != second.token_id == session.token_id


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


def test_no_permission_is_told(site: Site, page: Page, visit: Visit) -> None:
    """Who may not talk reads so, and nothing is minted."""
    visit(site, user="bob")
    start(page)
    expect_state(page, "failed")
    expect(page.get_by_role("status")).to_have_text(
        "That did not work Your account may not talk to this persona."
    )
    assert site.sandbox.ledger.requests == ()


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


def test_capacity_is_waited_for(site: Site, page: Page, visit: Visit) -> None:
    """While all places are taken the player says so, and gets the next one with its token."""
    site.sandbox.refuse_sessions("concurrency")
    visit(site)
    start(page)
    expect_state(page, "waiting")
    expect(page.get_by_role("status")).to_contain_text("All places are taken right now.")
    site.sandbox.refuse_sessions(None)
    expect_state(page, "live")
    assert len(site.sandbox.ledger.mints) == 1


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


def test_end_by_anam_is_told(site: Site, page: Page, visit: Visit) -> None:
    """The reason is told, and nothing is opened again."""
    visit(site)
    start(page)
    expect_state(page, "live")
    page.evaluate('fakeAnam.clients[0].close("SERVER_CLOSED_CONNECTION", "Time is up.")')
    expect_state(page, "ended")
    expect(page.get_by_role("status")).to_have_text("The conversation is over Time is up.")
    assert len(site.sandbox.ledger.sessions) == 1


def test_microphone_denied_is_told(site: Site, page: Page, visit: Visit) -> None:
    """The conversation goes on in writing."""
    visit(site)
    start(page)
    expect_state(page, "live")
    page.evaluate('fakeAnam.clients[0].emit("MIC_PERMISSION_DENIED")')
    expect(page.get_by_role("status")).to_contain_text("You can write instead.")


def test_closing_the_page_sends_a_beacon(site: Site, page: Page, visit: Visit) -> None:
    """The server learns of the end also when nobody presses a button."""
    visit(site)
    start(page)
    expect_state(page, "live")
    expect(page.locator(".anam-player")).to_have_attribute("data-picture", "there")
    page.goto("about:blank")
    wait_for_reports(site, page, running=0, ended=1)


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
