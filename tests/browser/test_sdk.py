"""The official SDK, as published, accepts our tokens and starts sessions on the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

_TALK = """async ({ apiBaseUrl, personaType }) => {
  const { fetchToken } = await import("/anam/static/flask-anam.js");
  const token = await fetchToken({ personaType });
  const client = anam.createClient(token.sessionToken, {
    api: { baseUrl: apiBaseUrl },
    disableInputAudio: true,
  });
  await client.streamToVideoElement("persona-video");
  const sessionId = client.getActiveSessionId();
  await client.stopStreaming();
  return { sessionId, tokenId: token.tokenId };
}"""


@pytest.mark.parametrize("persona", ["support", "guide", "coach"])
def test_sdk_starts_a_session_with_our_token(
    site: Site, page: Page, log_in: Callable[..., None], persona: str
) -> None:
    """The sandbox's ledger names the session and token that the SDK used."""
    log_in(site)
    page.goto(f"{site.url}/talk/{persona}")
    page.add_script_tag(url="/test/sdk.js")
    found = page.evaluate(_TALK, {"apiBaseUrl": site.sandbox.url, "personaType": persona})

    (session,) = site.sandbox.ledger.sessions
    assert session.token_id == found["tokenId"]
    assert session.session_id == found["sessionId"]
    (start,) = [
        r
        for r in site.sandbox.ledger.requests
        if (r.method, r.path) == ("POST", "/v1/engine/session")
    ]
    assert start.status in {200, 201}
    assert start.body["clientMetadata"] == {"client": "js-sdk", "version": "4.27.0"}
