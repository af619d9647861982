"""The example app as people meet it, from login to the end of a conversation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

CDN = "https://cdn.jsdelivr.net"
SDK = Path(__file__).parent / "node_modules/@anam-ai/js-sdk/dist/umd/anam.js"
PAGES = ("/login", "/", "/talk/support", "/talk/guide", "/talk/coach", "/dashboard", "/nothing")


def start(site: Site, page: Page, persona: str = "support") -> None:
    """Open the page of a persona and press Start."""
    page.goto(f"{site.url}/talk/{persona}")
    page.get_by_role("button", name="Start").click()


def test_whole_walk(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """From the login to the dashboard, what the page shows and what the sandbox saw agree."""
    page.goto(f"{site.url}/talk/guide")
    expect(page).to_have_url(f"{site.url}/login?next=%2Ftalk%2Fguide")
    log_in(site)
    expect(page).to_have_url(f"{site.url}/")
    expect(page.locator(".card h2")).to_have_text(["Alex, Support", "Liv, Guide", "Cara, Coach"])

    page.get_by_role("link", name="Liv, Guide").click()
    expect(page.locator("#status")).to_have_text("Ready when you are")
    page.get_by_label("Language").select_option("de")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status")).to_have_text("Connected", timeout=15_000)
    expect(page.locator("#log")).to_contain_text("Engine session started")
    expect(page.locator("#log")).to_contain_text("Start reported, token used up")
    expect(page.locator("#log")).to_contain_text("First picture")

    (session,) = site.sandbox.ledger.sessions
    (mint,) = site.sandbox.ledger.mints
    expect(page.locator("#session-id")).to_have_text(session.session_id)
    expect(page.locator("#token-id")).to_have_text(mint.token_id)
    assert session.token_id == mint.token_id
    assert session.persona_config["initialMessage"] == "Hello Ada! Where shall we begin?"
    assert session.persona_config["languageCode"] == "de"

    with page.expect_response(re.compile(r"/anam/sessions/.+/end$")) as ended:
        page.get_by_role("button", name="Stop").click()
    assert ended.value.status == 204
    expect(page.locator("#status")).to_have_text("Conversation ended")
    page.get_by_role("link", name="Dashboard").click()
    for name, count in (
        ("tokens_created", 1),
        ("tokens_used", 1),
        ("sessions_active", 0),
        ("sessions_ended", 1),
    ):
        expect(page.locator(f"[data-metric={name}]")).to_have_text(str(count))


def test_leaving_the_page_ends_the_conversation(
    site: Site, page: Page, log_in: Callable[..., None]
) -> None:
    """Going to another page reports the end."""
    log_in(site)
    start(site, page)
    expect(page.locator("#log")).to_contain_text("Start reported")
    page.goto(f"{site.url}/dashboard")
    expect(page.locator("[data-metric=sessions_ended]")).to_have_text("1")


def test_a_used_token_is_replaced(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """A token that Anam refuses is given back, and another is tried once."""
    log_in(site)
    site.sandbox.fail_next(401, path="/v1/engine/session")
    start(site, page)
    expect(page.locator("#log")).to_contain_text("Engine session started")
    expect(page.locator("#log")).to_contain_text("Token refused, asking for another")
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
    """The page says that it was too often, and how long to wait."""
    site = make_site(ANAM_TOKEN_RATE_LIMIT="1 per day")
    log_in(site)
    start(site, page)
    expect(page.locator("#log")).to_contain_text("Start reported")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#status")).to_have_text("That did not work")
    said = page.locator("#status-more")
    expect(said).to_have_text(
        re.compile(
            r"^You have asked for many conversations in a short time\. "
            r"Try again in \d+ (second|minute|hour)s?\.$"
        )
    )


def test_anam_down_is_explained(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """The page says that Anam is away, and offers another try."""
    log_in(site)
    site.sandbox.fail_next(503, times=9)
    start(site, page)
    expect(page.locator("#status")).to_have_text("That did not work", timeout=12_000)
    expect(page.locator("#status-more")).to_have_text(
        re.compile(r"^Anam cannot be reached right now\. Try again in \d+ seconds?\.$")
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
    start(site, page)
    expect(page.locator("#log")).to_contain_text("Engine session started")


def test_missing_sdk_is_explained(
    make_site: Callable[..., Site], page: Page, log_in: Callable[..., None], tmp_path: Path
) -> None:
    """Without the SDK no token is asked for."""
    site = make_site(NODE_MODULES=str(tmp_path))
    page.route(f"{CDN}/**", lambda route: route.abort())
    log_in(site)
    start(site, page)
    expect(page.locator("#status-more")).to_contain_text("The Anam SDK could not be loaded.")
    assert site.sandbox.ledger.mints == ()


def test_banner_is_on_every_page(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """Nobody takes the sandbox for Anam, also not on the error page."""
    for path in PAGES:
        if path == "/":
            log_in(site)
        page.goto(f"{site.url}{path}")
        expect(page.locator("#sandbox-banner")).to_contain_text("a local stand-in, not to Anam")


def test_no_secret_reaches_the_page(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """Neither the API key nor a token is in a page or its storage."""
    log_in(site)
    seen = [page.content()]
    page.goto(f"{site.url}/talk/support")
    seen.append(page.content())
    with page.expect_response(re.compile("/api/session-token$")) as answered:
        page.get_by_role("button", name="Start").click()
    answer: dict[str, Any] = answered.value.json()
    expect(page.locator("#log")).to_contain_text("Start reported")
    seen.append(page.content())
    seen.append(page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))
    page.goto(f"{site.url}/dashboard")
    seen.append(page.content())
    for text in seen:
        assert site.sandbox.api_key not in text
        assert answer["sessionToken"] not in text
        assert answer["sessionToken"].rpartition(".")[2] not in text
    assert site.sandbox.api_key not in str(answer)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1200, "light")])
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
    start(site, page, "guide")
    expect(page.locator("#log")).to_contain_text("First picture", timeout=15_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
