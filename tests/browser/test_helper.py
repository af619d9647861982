"""flask-anam.js by itself: what it sends, and what its errors carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, Route

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

_HELPER = 'const helper = await import("/anam/static/flask-anam.js");'
_FETCH = f"""async (options) => {{
  {_HELPER}
  try {{
    return await helper.fetchToken(options);
  }} catch (error) {{
    const {{ name, message, code, status, retryable, retryAfter, details }} = error;
    return {{ name, message, code, status, retryable, retryAfter, details }};
  }}
}}"""


@pytest.fixture
def helper_page(site: Site, page: Page, log_in: Callable[..., None]) -> Page:
    """Give the page of a persona: it has the module, and its policy lets nothing else in."""
    log_in(site)
    page.goto(f"{site.url}/talk/support")
    return page


def test_tab_keeps_its_slot_and_so_its_token(helper_page: Page) -> None:
    """A reload gets the same token, and a refused token never comes back."""
    first = helper_page.evaluate(_FETCH, {"personaType": "support"})
    helper_page.reload()
    second = helper_page.evaluate(_FETCH, {"personaType": "support"})
    assert second["tokenId"] == first["tokenId"]
    refused = {"personaType": "support", "refused": first["tokenId"]}
    assert helper_page.evaluate(_FETCH, refused)["tokenId"] != first["tokenId"]


def test_refusal_carries_the_facts(helper_page: Page) -> None:
    """The error has the code, status and details of the endpoint's answer."""
    error = helper_page.evaluate(_FETCH, {"personaType": "nobody"})
    assert error == {
        "name": "AnamTokenError",
        "message": "There is no such persona.",
        "code": "unknown_persona",
        "status": 404,
        "retryable": False,
        "retryAfter": None,
        "details": None,
    }
    invalid = {"personaType": "support", "overrides": {"systemPrompt": "x"}}
    error = helper_page.evaluate(_FETCH, invalid)
    assert (error["code"], error["status"]) == ("invalid_request", 422)
    assert "systemPrompt" in error["details"]["overrides"]


def test_wait_is_told(site: Site, helper_page: Page) -> None:
    """The seconds to wait arrive as a number."""
    site.sandbox.fail_next(429, headers={"Retry-After": "30"})
    error = helper_page.evaluate(_FETCH, {"personaType": "support"})
    assert (error["code"], error["status"]) == ("anam_rate_limited", 503)
    assert error["retryable"] is True
    assert 28 <= error["retryAfter"] <= 30


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        ({"status": 502, "body": "<html>Bad gateway</html>"}, "bad_answer", True),
        ({"status": 200, "body": "<html>Log in</html>"}, "bad_answer", False),
        ({"status": 200, "body": '{"hello": "world"}'}, "bad_answer", False),
        (None, "network", True),
    ],
)
def test_odd_answers_have_a_code(
    helper_page: Page, answer: dict[str, Any] | None, code: str, retryable: bool
) -> None:
    """Also what does not come from the endpoint gets a stable code."""

    def odd(route: Route) -> None:
        if answer is None:
            route.abort()
        else:
            route.fulfill(**answer)

    helper_page.route("**/api/session-token", odd)
    error = helper_page.evaluate(_FETCH, {"personaType": "support"})
    assert (error["code"], error["retryable"]) == (code, retryable)


def test_csrf_token_is_sent(helper_page: Page) -> None:
    """Every report carries the page's CSRF token, also the one that could be a beacon."""
    helper_page.evaluate(
        """() => {
          const meta = document.createElement("meta");
          meta.name = "csrf-token";
          meta.content = "from-the-page";
          document.head.append(meta);
        }"""
    )
    with helper_page.expect_request("**/api/session-token") as asked:
        helper_page.evaluate(_FETCH, {"personaType": "support"})
    assert asked.value.headers["x-csrftoken"] == "from-the-page"
    with helper_page.expect_request("**/anam/sessions/s-1/end") as ended:
        helper_page.evaluate(
            f'async () => {{ {_HELPER} await helper.reportEnded({{ sessionId: "s-1" }}) }}'
        )
    assert ended.value.headers["x-csrftoken"] == "from-the-page"


def test_wait_can_be_ended(helper_page: Page) -> None:
    """An aborted signal ends the wait with the signal's own error."""
    name = helper_page.evaluate(
        f"""async () => {{
          {_HELPER}
          const controller = new AbortController();
          controller.abort();
          return helper
            .fetchToken({{ personaType: "support", signal: controller.signal }})
            .catch((error) => error.name);
        }}"""
    )
    assert name == "AbortError"
