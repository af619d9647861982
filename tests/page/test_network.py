"""The player with the official SDK, when nothing gets through to the sandbox any more."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import pytest
from aioice.ice import StunProtocol
from page.sites import Site, keep_screenshot
from page.steps import (
    expect_live,
    expect_state,
    expect_status,
    start,
    tokens,
    wait_for_end,
    wait_for_reports,
)
from playwright.sync_api import BrowserContext, Page, expect

from flask_anam.sandbox.streaming.media_session import CallTiming

pytestmark = pytest.mark.browser

Visit = Callable[..., None]


class Cable:
    """The network between a page and the sandbox's media, which can be pulled out.

    Chromium can throttle WebRTC too, but its network service crashes on it now and then.
    """

    def __init__(self, context: BrowserContext, monkeypatch: pytest.MonkeyPatch) -> None:
        self._context = context
        self._there = True
        for name in ("datagram_received", "send_stun", "send_data"):
            monkeypatch.setattr(StunProtocol, name, self._over(getattr(StunProtocol, name)))

    def _over(self, work: Callable[..., Any]) -> Callable[..., Any]:
        async def lose() -> None:
            pass

        def pass_on(*arguments: Any) -> Any:
            if self._there:
                return work(*arguments)
            return lose() if iscoroutinefunction(work) else None

        return pass_on

    def pull(self) -> None:
        """Let no packet and no new connection through."""
        self._there = False
        self._context.set_offline(True)

    def plug(self) -> None:
        """Let everything through."""
        self._there = True
        self._context.set_offline(False)


@pytest.fixture
def cable(context: BrowserContext, monkeypatch: pytest.MonkeyPatch) -> Cable:
    """Give the network of the page."""
    return Cable(context, monkeypatch)


def hang_up(site: Site) -> None:
    """Close the sandbox's end of all WebSockets, as a proxy does that has lost the client."""
    for session in site.sandbox._engine._media_sessions.values():
        assert session._socket is not None
        session._socket._shut_down()


def test_cut_network_that_returns(
    live: Callable[..., Site], page: Page, visit: Visit, cable: Cable
) -> None:
    """The player says so, and begins another session by itself; the lost one ends."""
    site = live()
    site.sandbox._engine._timing = CallTiming(reconnect_timeout=0.5)
    visit(site)
    start(page)
    expect_live(page)
    cable.pull()
    hang_up(site)
    expect_state(page, "waiting")
    expect_status(page).to_contain_text("There is no connection to our server. Are you online?")
    keep_screenshot(page, "page-live-offline")
    cable.plug()
    expect_live(page)
    assert len(set(tokens(site)[1])) == 2
    assert wait_for_end(site, page) == "NORMAL_EXIT"
    wait_for_reports(site, page, running=1, ended=1)


def test_cut_network_that_stays_away(
    live: Callable[..., Site], page: Page, visit: Visit, cable: Cable
) -> None:
    """A picture that stands still is told long before the SDK gives up; then comes a clear end."""
    site = live(player={"max_wait": 1})
    visit(site)
    start(page)
    expect_live(page)
    cable.pull()
    expect_state(page, "connecting")
    expect_status(page).to_have_text("Connecting to Alex The connection was lost.")
    expect_state(page, "failed", within=90)
    expect_status(page).to_contain_text("There is no connection to our server. Are you online?")
    expect(page.get_by_role("button", name="Try again")).to_be_enabled()
    assert len(site.sandbox.ledger.sessions) == 1
    cable.plug()
    start(page)
    expect_live(page)
