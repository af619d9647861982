"""The player with the official SDK and the sandbox's persona: nothing between them is made up."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

import pytest
import requests
from page.sites import Site, keep_screenshot
from page.steps import (
    expect_live,
    expect_state,
    expect_status,
    start,
    stop,
    tokens,
    wait_for_end,
    wait_for_reports,
)
from playwright.sync_api import BrowserContext, Page, expect

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

pytestmark = pytest.mark.browser

Visit = Callable[..., None]
TOKEN = "**/api/session-token"
#: Keeps a list of what appears in the transcript, and of what changes in it afterwards.
LISTEN = """() => {
  globalThis.heard = [];
  new MutationObserver((changes) => {
    for (const { addedNodes, removedNodes, target, type } of changes) {
      const lines = [...addedNodes].map((node) => node.textContent);
      heard.push(type === "childList" && !removedNodes.length ? lines.join() : `changed ${target}`);
    }
  }).observe(document.querySelector("[role=log]"), {
    childList: true, subtree: true, characterData: true, attributes: true,
  });
}"""


def test_conversation_and_another_one(live: Callable[..., Site], page: Page, visit: Visit) -> None:
    """A moving picture, captions, a line read out once each, an answer; an end, a new start."""
    site = live()
    visit(site)
    page.evaluate(LISTEN)
    start(page)
    expect_live(page)
    lines = page.get_by_role("log").locator("li")
    expect(lines).to_have_text(["Alex Hello there."])
    page.get_by_label("Message to Alex").fill("My chain squeaks.")
    page.get_by_label("Message to Alex").press("Enter")
    caption = page.locator(".anam-caption")
    expect(caption).to_contain_text("you said: “My chain squeaks.”")
    expect(caption).to_have_attribute("aria-hidden", "true")
    keep_screenshot(page, "page-live-conversation")
    answer = (
        "Alex Sandbox: I am Alex, and you said: “My chain squeaks.”. My prompt begins: “Be kind.”"
    )
    expected = ["Alex Hello there.", "You My chain squeaks.", answer]
    expect(lines).to_have_text(expected)
    assert page.evaluate("heard") == expected
    stop(page)
    expect_state(page, "ended")
    expect_status(page).to_have_text("The conversation is over")
    wait_for_reports(site, page, running=0, ended=1)
    assert wait_for_end(site, page) == "NORMAL_EXIT"

    start(page)
    expect_live(page)
    expect(lines).to_have_text(["Alex Hello there."])
    assert len(set(tokens(site)[1])) == 2
    wait_for_reports(site, page, running=1, ended=1)
    starts = [r for r in site.sandbox.ledger.requests if r.path == "/v1/engine/session"]
    assert starts[-1].body["clientMetadata"] == {"client": "js-sdk", "version": "4.27.0"}


def test_reload_before_and_after_the_start(
    live: Callable[..., Site], page: Page, visit: Visit
) -> None:
    """The token waits for the start; after it the old session ends, and another one begins."""
    site = live()
    visit(site)
    for _ in range(2):
        with page.expect_response(TOKEN):
            page.get_by_role("button", name="Start").hover()
        page.mouse.move(0, 0)
        page.reload()
    start(page)
    expect_live(page)
    made, used = tokens(site)
    assert made == used
    assert len(made) == 1
    page.reload()
    wait_for_reports(site, page, running=0, ended=1)
    assert wait_for_end(site, page) == "NORMAL_EXIT"
    start(page)
    expect_live(page)
    made, used = tokens(site)
    assert made == used
    assert len(set(made)) == 2


def test_double_click_and_two_tabs(
    live: Callable[..., Site], page: Page, visit: Visit, context: BrowserContext
) -> None:
    """A double click starts one session; a second tab another one, and both go on."""
    site = live()
    visit(site)
    page.get_by_role("button", name="Start").dblclick()
    expect_live(page)
    assert [len(ids) for ids in tokens(site)] == [1, 1]
    with context.expect_page() as opened:  # by the page, so the browser copies its storage
        page.evaluate("window.open(location.href)")
    other = opened.value
    start(other)
    expect_live(other)
    expect_live(page)
    made, used = tokens(site)
    assert made == used
    assert len(set(made)) == 2
    assert [session.ended_at for session in site.sandbox.ledger.sessions] == [None, None]


def test_used_token_is_replaced_once(live: Callable[..., Site], page: Page, visit: Visit) -> None:
    """Somebody else has started a session with the token."""
    site = live(Sandbox(single_use=True))
    visit(site)
    with page.expect_response(TOKEN) as answered:
        page.get_by_role("button", name="Start").hover()
    headers = {"Authorization": f"Bearer {answered.value.json()['sessionToken']}"}
    url = f"{site.sandbox.url}/v1/engine/session"
    requests.post(url, headers=headers, timeout=10).raise_for_status()
    start(page)
    expect_live(page)
    made, used = tokens(site)
    assert made == used
    assert len(set(made)) == 2


@pytest.mark.parametrize("told_by", ["the sandbox", "the server's clock"])
def test_expired_token_is_replaced(
    live: Callable[..., Site], page: Page, visit: Visit, told_by: str
) -> None:
    """A page that was left open over night starts with another token."""
    clock = ManualClock(time.time())
    own = {"clock": clock} if told_by == "the server's clock" else {}
    site = live(Sandbox(clock=clock.time), **own)
    visit(site)
    with page.expect_response(TOKEN):
        page.get_by_role("button", name="Start").hover()
    clock.move(7200)
    start(page)
    expect_live(page)
    made, used = tokens(site)
    assert len(made) == 2
    assert used == made[1:]
    tries = site.sandbox.ledger.count("/v1/engine/session", "POST")
    assert tries == (2 if told_by == "the sandbox" else 1)


def test_longest_session_is_an_end(live: Callable[..., Site], page: Page, visit: Visit) -> None:
    """It is no error, and nothing is opened again."""
    clock = ManualClock(time.time())
    site = live(Sandbox(clock=clock.time), {"maxSessionLengthSeconds": 600})
    visit(site)
    start(page)
    expect_live(page)
    clock.move(600)
    expect_state(page, "ended")
    limit = "The session has reached its limit of 600 seconds."
    expect_status(page).to_have_text(f"The conversation is over {limit}")
    wait_for_reports(site, page, running=0, ended=1)
    assert [len(ids) for ids in tokens(site)] == [1, 1]


def test_full_account_is_waited_for(
    live: Callable[..., Site], page: Page, visit: Visit, context: BrowserContext
) -> None:
    """With Anam's estimate and a countdown, and with the token that it has."""
    clock = ManualClock(time.time())
    site = live(Sandbox(concurrency_limit=1, clock=clock.time))
    visit(site)
    for seconds in (60, 57):  # the average of the past, and how long the present one runs
        start(page)
        expect_live(page)
        clock.move(seconds)
        if seconds == 60:
            stop(page)
            wait_for_end(site, page)
    other = context.new_page()
    other.goto(site.url)
    start(other)
    expect_state(other, "waiting")
    sentence = "All places are taken right now. A place should be free in about 3 seconds."
    expect_status(other).to_contain_text(sentence)
    expect(other.locator(".anam-count")).to_have_text(re.compile(r"^0:0[0-3]$"))
    keep_screenshot(other, "page-live-capacity")
    stop(page)
    wait_for_end(site, page, 1)
    expect_live(other)
    made, used = tokens(site)
    assert made == used
    assert len(made) == 3


def test_limits_and_permissions(live: Callable[..., Site], page: Page, visit: Visit) -> None:
    """A countdown, and a start that works after it; who may not talk is told so."""
    clock = ManualClock()  # begins with a minute
    limits = {"ANAM_TOKEN_RATE_LIMIT": "1 per minute", "player": {"max_wait": 1}}
    site = live(Sandbox(clock=clock.time), clock=clock, **limits)
    visit(site)
    start(page)
    expect_live(page)
    stop(page)
    start(page)
    expect_state(page, "failed")
    expected = r"many conversations in a short time\. Try again in \d+ seconds?\."
    expect_status(page).to_contain_text(re.compile(expected))
    expect(page.locator(".anam-count")).to_have_text(re.compile(r"^[01]:\d\d$"))
    keep_screenshot(page, "page-live-rate-limit")
    clock.move(60)
    start(page)
    expect_live(page)
    asked = len(site.sandbox.ledger.requests)
    visit(site, user="bob")
    start(page)
    expect_state(page, "failed")
    expect_status(page).to_have_text("That did not work Your account may not talk to this persona.")
    assert "/v1/auth/session-token" not in {r.path for r in site.sandbox.ledger.requests[asked:]}


MICROPHONE = """() => {
  const devices = navigator.mediaDevices;
  const original = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    if (globalThis.denied) {
      throw new DOMException("Permission denied", "NotAllowedError");
    }
    return (globalThis.microphone = await original(wanted));
  };
}"""


def test_microphone(live: Callable[..., Site], page: Page, visit: Visit) -> None:
    """Mute holds over conversations; without a microphone the conversation goes on in writing."""
    site = live(player={"microphone": True})
    page.add_init_script(f"({MICROPHONE})()")
    visit(site)
    start(page)
    expect_live(page)
    page.wait_for_function("globalThis.microphone")
    mute = page.get_by_role("button", name="Mute")
    on = "microphone.getAudioTracks()[0].enabled"
    assert page.evaluate(on) is True
    mute.click()
    expect(mute).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(on) is False
    stop(page)
    page.evaluate("denied = true")
    start(page)
    expect_live(page)
    expect_status(page).to_have_text(
        "You are talking to Alex The microphone is off limits for this page. You can write instead."
    )
    expect(mute).to_be_disabled()
    page.get_by_label("Message to Alex").fill("Can you read me?")
    page.get_by_label("Message to Alex").press("Enter")
    expect(page.locator(".anam-caption")).to_contain_text("you said: “Can you read me?”")


def test_no_webrtc(live: Callable[..., Site], page: Page, visit: Visit) -> None:
    """The state is clear, and no token is asked for."""
    site = live(player={"prefetch": "idle"})
    page.add_init_script("delete globalThis.RTCPeerConnection")
    visit(site)
    start(page)
    expect_state(page, "failed")
    expect_status(page).to_contain_text("This browser cannot show live video.")
    assert site.sandbox.ledger.mints == ()


def test_missing_libraries_are_named(
    live: Callable[..., Site], page: Page, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The developer reads what to install."""
    monkeypatch.setitem(sys.modules, "flask_anam.sandbox.media.peer", None)
    site = live()
    visit(site)
    start(page)
    expect_state(page, "ended")
    expect_status(page).to_contain_text(
        'This sandbox cannot stream video here: run pip install "Flask-Anam[sandbox]".'
    )
    assert len(site.sandbox.ledger.sessions) == 1


def test_leaving_the_page_ends_the_session(
    live: Callable[..., Site], page: Page, visit: Visit
) -> None:
    """Our server hears of it by a beacon, the sandbox by the end of the connection."""
    site = live()
    visit(site)
    start(page)
    expect_live(page)
    page.goto("about:blank")
    wait_for_reports(site, page, running=0, ended=1)
    assert wait_for_end(site, page) == "NORMAL_EXIT"
