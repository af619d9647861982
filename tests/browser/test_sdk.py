"""The official SDK, as published, accepts our tokens and starts sessions on the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from browser.walk import expect_face, talk_to
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("persona", ["support", "guide", "coach"])
def test_sdk_starts_a_session_with_our_token(
    site: Site, page: Page, log_in: Callable[..., None], persona: str
) -> None:
    """The sandbox's ledger names the session and token that the SDK used, and the SDK itself."""
    log_in(site)
    talk_to(site, page, persona)
    expect_face(page)

    (session,) = site.sandbox.ledger.sessions
    (mint,) = site.sandbox.ledger.mints
    assert session.token_id == mint.token_id
    expect(page.locator("#session-id")).to_have_text(session.session_id)
    (start,) = [
        r
        for r in site.sandbox.ledger.requests
        if (r.method, r.path) == ("POST", "/v1/engine/session")
    ]
    assert start.status in {200, 201}
    assert start.body["clientMetadata"] == {"client": "js-sdk", "version": "4.27.0"}


def test_no_microphone_is_asked_for(site: Site, page: Page, log_in: Callable[..., None]) -> None:
    """The sandbox does not listen, so there is nothing to allow and nothing to mute."""
    page.add_init_script(
        """navigator.mediaDevices.getUserMedia = () => {
          document.title = "Asked for the microphone";
          return Promise.reject(new DOMException("No", "NotAllowedError"));
        };"""
    )
    log_in(site)
    talk_to(site, page)
    expect_face(page)
    expect(page).to_have_title("Alex, Support · Flask-Anam")
    expect(page.get_by_role("button", name="Mute")).to_have_count(0)
