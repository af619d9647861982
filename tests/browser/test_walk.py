"""The example app as people meet it, from login to the end of a conversation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser.walk import expect_face, expect_motion, expect_state, start, talk_to
from page.chromium import the_browser
from playwright.sync_api import Page, Route, expect

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

CDN = "https://cdn.jsdelivr.net"
SDK = Path(__file__).parent / "node_modules/@anam-ai/js-sdk/dist/umd/anam.js"
PAGES = ("/login", "/", "/talk/support", "/talk/guide", "/talk/coach", "/dashboard", "/nothing")
TOKEN = "**/api/session-token"
#: What the player says below its title.
DETAIL = "[data-anam=detail]"


def stop(page: Page) -> None:
    """End the conversation, and wait until the server has heard of it."""
    with page.expect_response(re.compile(r"/anam/sessions/.+/end$")) as ended:
        page.get_by_role("button", name="End", exact=True).click()
    assert ended.value.status == 204
    expect(page.get_by_role("status")).to_have_text("The conversation is over")


def test_whole_walk(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """From the login to the logout, what the pages show and what the sandbox saw agree."""
    page.goto(f"{site.url}/talk/guide")
    expect(page).to_have_url(f"{site.url}/login?next=%2Ftalk%2Fguide")
    log_in(site)
    expect(page).to_have_url(f"{site.url}/")
    expect(page.locator(".card h2")).to_have_text(["Alex, Support", "Liv, Guide", "Mia, Coach"])

    page.get_by_role("link", name="Liv, Guide").click()
    page.get_by_role("link", name="Deutsch").click()
    expect(page.get_by_role("link", name="Deutsch")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("status")).to_have_text("Liv is ready when you are")
    expect(page.get_by_text("Sandbox, not Anam")).to_be_visible()
    start(page)
    expect_motion(page)
    (session,) = site.sandbox.ledger.sessions
    (mint,) = site.sandbox.ledger.mints
    assert session.token_id == mint.token_id
    assert session.persona_config["initialMessage"] == "Hello Ada! Where shall we begin?"
    assert session.persona_config["languageCode"] == "de"
    expect(page.locator("#session-id")).to_have_text(session.session_id)
    expect(page.locator("#journal")).to_contain_text("Session started")
    expect(page.locator("#journal")).to_contain_text("First picture")

    messages = page.get_by_role("log").locator("li")
    expect(messages).to_have_text(["Liv Hello Ada! Where shall we begin?"], timeout=20_000)
    page.get_by_label("Message to Liv").fill("Where do we have breakfast?")
    page.get_by_label("Message to Liv").press("Enter")
    expect(messages.nth(1)).to_have_text("You Where do we have breakfast?")
    expect(messages.nth(2)).to_contain_text("breakfast", timeout=20_000)
    expect(messages.nth(2)).to_contain_text("Liv")
    stop(page)

    page.get_by_role("button", name="Start again").click()
    expect_motion(page)
    assert len({session.token_id for session in site.sandbox.ledger.sessions}) == 2
    stop(page)

    page.get_by_role("link", name="Dashboard").click()
    for name, count in (
        ("tokens_created", 2),
        ("tokens_used", 2),
        ("sessions_active", 0),
        ("sessions_ended", 2),
    ):
        expect(page.locator(f"[data-metric={name}]")).to_have_text(str(count))
    page.get_by_role("link", name="usage dashboard").click()
    expect(page).to_have_url(f"{site.url}/anam/dashboard")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{site.url}/login")
    page.goto(f"{site.url}/dashboard")
    expect(page).to_have_url(f"{site.url}/login?next=%2Fdashboard")


def test_leaving_the_page_ends_the_conversation(
    site: Site, page: Page, log_in: Callable[..., None]
) -> None:
    """Going to another page reports the end."""
    log_in(site)
    with page.expect_response("**/anam/sessions"):
        talk_to(site, page)
    expect_state(page, "live")
    page.goto(f"{site.url}/dashboard")
    expect(page.locator("[data-metric=sessions_ended]")).to_have_text("1", timeout=15_000)


def test_a_used_token_is_replaced(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """A token that Anam refuses is given back, and another is tried once."""
    log_in(site)
    site.sandbox.fail_next(401, path="/v1/engine/session")
    talk_to(site, page)
    expect_face(page)
    first, second = site.sandbox.ledger.mints
    (session,) = site.sandbox.ledger.sessions
    assert first.token_id != second.token_id == session.token_id


def test_bob_may_not_talk(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """Without the permission there is an explanation, and a 403 for who asks anyway."""
    log_in(site, "bob", "builder")
    expect(page.locator("#not-permitted")).to_contain_text("may not talk to personas yet")
    expect(page.locator(".card")).to_have_count(0)
    status, kind, answer = page.evaluate(
        """async () => {
          const response = await fetch("/api/session-token", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ personaType: "support" }),
          });
          return [response.status, response.headers.get("Content-Type"), await response.json()];
        }"""
    )
    assert (status, kind) == (403, "application/json")
    assert answer == {
        "error": "Insufficient permissions",
        "code": "permission_denied",
        "retryable": False,
    }
    assert site.sandbox.ledger.requests == ()


def test_wrong_password(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """The form says so and keeps the name."""
    log_in(site, "ada", "byron")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    expect(page.get_by_label("Name")).to_have_value("ada")


def test_rate_limit_is_explained(
    make_site: Callable[..., Site], page: Page, log_in: Callable[..., None]
) -> None:
    """The page says that it was too often, how long to wait, and counts down."""
    site = make_site(ANAM_TOKEN_RATE_LIMIT="1 per year")
    log_in(site)
    talk_to(site, page)
    expect_face(page)
    stop(page)

    def sooner(route: Route) -> None:
        refusal = route.fetch()
        assert refusal.status == 429
        route.fulfill(response=refusal, json={**refusal.json(), "retryAfter": 900})

    page.route(TOKEN, sooner)
    page.get_by_role("button", name="Start again").click()
    expect_state(page, "failed")
    expect(page.get_by_role("status")).to_have_text(
        "That did not work "
        "You have started many conversations in a short time. Try again in 15 minutes."
    )
    expect(page.locator(".anam-count")).to_have_text(re.compile(r"^1[45]:\d\d$"))
    expect(page.get_by_role("button", name="Try again")).to_be_enabled()
    expect(page.locator("#journal")).to_contain_text("Failed: rate_limited")
    assert len(site.sandbox.ledger.mints) == 1


def test_anam_down_is_explained(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """The page says that Anam is away and when it tries again, which then works."""
    log_in(site)
    site.sandbox.fail_next(503, times=3)
    talk_to(site, page)
    expect_state(page, "waiting")
    expect(page.locator(DETAIL)).to_have_text(
        re.compile(r"^Anam cannot be reached right now\. Next try in \d+ seconds?\.$")
    )
    expect_face(page)


def test_anam_down_for_long_is_explained(
    site: Site, page: Page, log_in: Callable[..., None]
) -> None:
    """Nobody waits for minutes: the page says how long it takes, and offers another try."""
    log_in(site)
    site.sandbox.fail_next(503, times=9, headers={"Retry-After": "300"})
    talk_to(site, page)
    expect_state(page, "failed")
    expect(page.locator(DETAIL)).to_have_text(
        re.compile(r"^Anam cannot be reached right now\. Try again in \d minutes\.$")
    )
    expect(page.get_by_role("button", name="Try again")).to_be_enabled()


def test_sdk_from_the_cdn_is_the_one_we_know(
    make_site: Callable[..., Site], page: Page, log_in: Callable[..., None], tmp_path: Path
) -> None:
    """The published file has the hash that the page asks for, and the policy lets it run."""
    site = make_site(NODE_MODULES=str(tmp_path))
    page.route(
        f"{CDN}/npm/@anam-ai/js-sdk@4.27.0/dist/umd/anam.js",
        lambda route: route.fulfill(path=SDK, headers={"Access-Control-Allow-Origin": "*"}),
    )
    log_in(site)
    talk_to(site, page)
    expect_face(page)


@pytest.mark.parametrize("body", [None, "window.anam = { createClient() {} };"])
def test_missing_sdk_is_explained(
    make_site: Callable[..., Site],
    page: Page,
    log_in: Callable[..., None],
    tmp_path: Path,
    body: str | None,
) -> None:
    """Without the SDK no token is asked for; another file in its place counts as none."""
    site = make_site(NODE_MODULES=str(tmp_path))

    def answer(route: Route) -> None:
        if body is None:
            route.abort()
        else:
            route.fulfill(body=body, headers={"Access-Control-Allow-Origin": "*"})

    page.route(f"{CDN}/**", answer)
    log_in(site)
    talk_to(site, page)
    expect_state(page, "failed")
    expect(page.get_by_role("status")).to_contain_text("The Anam SDK could not be loaded.")
    assert site.sandbox.ledger.mints == ()


def test_only_our_scripts_run(site: Site) -> None:
    """A script that somebody smuggles in stays out, be it from this site or in the page."""
    page = the_browser().new_page()  # not watched: here rules are meant to be broken
    try:
        page.goto(f"{site.url}/login")
        refused, ran = page.evaluate(
            """async () => {
              const refused = [];
              const note = ({ blockedURI }) => refused.push(blockedURI);
              addEventListener("securitypolicyviolation", note);
              for (const facts of [{ src: "/static/dashboard.js" }, { text: "window.ran = 1" }]) {
                document.head.append(Object.assign(document.createElement("script"), facts));
              }
              while (refused.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
              return [refused.sort(), window.ran ?? false];
            }"""
        )
    finally:
        page.close()
    assert refused == [f"{site.url}/static/dashboard.js", "inline"]
    assert ran is False


def test_banner_is_on_every_page(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """Nobody takes the sandbox for Anam, also not on the error page."""
    for path in PAGES:
        if path == "/":
            log_in(site)
        page.goto(f"{site.url}{path}")
        expect(page.locator("#sandbox-banner")).to_contain_text("a local stand-in, not to Anam")


def test_no_secret_reaches_the_page(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """Neither the API key nor a token nor a prompt is in a page or its storage."""
    log_in(site)
    seen = [page.content()]
    page.goto(f"{site.url}/talk/support")
    seen.append(page.content())
    with page.expect_response(TOKEN) as answered:
        start(page)
    answer: dict[str, Any] = answered.value.json()
    expect_face(page)
    seen.append(page.content())
    seen.append(page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))
    page.goto(f"{site.url}/dashboard")
    seen.append(page.content())
    for text in seen:
        assert site.sandbox.api_key not in text
        assert answer["sessionToken"] not in text
        assert answer["sessionToken"].rpartition(".")[2] not in text
        assert "who answers for a small bicycle shop" not in text
    assert site.sandbox.api_key not in str(answer)


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (360, "dark"), (1200, "light")])
def test_nothing_sticks_out(
    site: Site, page: Page, log_in: Callable[..., None], width: int, scheme: Any
) -> None:
    """Every page fits a small and a large window, by day and by night."""
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    log_in(site)
    for path in PAGES[1:]:
        page.goto(f"{site.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    talk_to(site, page, "guide")
    expect_face(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
