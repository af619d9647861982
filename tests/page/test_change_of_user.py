"""A page that changes its user without a reload: the next user gets nothing of the last one's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts import User
from page.conftest import make_page_app
from page.sites import Site, serving
from page.steps import wait_until
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

#: Gets a token in advance as one user, logs another in, and starts; returns how that went.
_CHANGE = """async ([next, way]) => {
  const { createPersona, forget } = await import("/anam/static/flask-anam.js");
  const make = () => createPersona("v", {
    personaType: "support", apiBaseUrl: API, sdk: "/test/fake-sdk.js", maxWait: 1,
  });
  let persona = make();
  if (!(await persona.prefetch())) throw new Error("no token in advance");
  if (way === "destroy") persona.destroy();
  if (way === "forget") forget();
  await fetch(`/login/${next}`);
  if (way === "destroy") persona = make();
  return [await persona.start(), persona.code];
}"""


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve a page for two users who may talk and one who may not."""
    app = make_page_app([User("ada"), User("cy"), User("bob", may_talk=False)])
    with serving(app) as site:
        yield site


def changed(page: Page, site: Site, user: str, way: str) -> list[str | None]:
    """Change from ada to another user; return state and code of the start."""
    page.goto(f"{site.url}/login/ada")
    page.goto(f"{site.url}/bare")
    change = _CHANGE.replace("API", repr(site.sandbox.url))
    state: list[str | None] = page.evaluate(change, [user, way])
    return state


@pytest.mark.parametrize("way", ["destroy", "forget", "nothing"])
def test_the_next_user_has_a_token_of_their_own(page: Page, site: Site, way: str) -> None:
    """However the page says goodbye to the last user: the books and the prompt are the next's."""
    assert changed(page, site, "cy", way) == ["live", None]
    first, second = site.sandbox.ledger.mints
    (session,) = site.sandbox.ledger.sessions
    assert session.token_id == second.token_id != first.token_id
    metrics = site.app.extensions["anam"].metrics_recorder.metrics
    wait_until(page, lambda: metrics()["sessions_active"] == 1)


@pytest.mark.parametrize("way", ["destroy", "forget", "nothing"])
def test_the_next_user_needs_the_permission(page: Page, site: Site, way: str) -> None:
    """Who may not talk does not talk with what somebody else left."""
    assert changed(page, site, "bob", way) == ["failed", "permission_denied"]
    assert site.sandbox.ledger.sessions == ()


def test_the_same_user_gets_the_token_that_was_kept(page: Page, site: Site) -> None:
    """The server has it, so a start after a prefetch costs one token."""
    assert changed(page, site, "ada", "destroy") == ["live", None]
    assert len(site.sandbox.ledger.mints) == 1
