"""Markup of users, through DOMPurify with its defaults, before our own elements on the page."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import pytest
from flask import Response, redirect, render_template_string, request
from page.chromium import the_browser
from page.conftest import NONCE, POLICY, SDK, needed
from page.steps import expect_state, wait_until
from page.test_module import STATIC
from playwright.sync_api import BrowserContext, Page, expect
from werkzeug.serving import make_server
from werkzeug.wrappers import Request as Asked
from werkzeug.wrappers import Response as Answer

if TYPE_CHECKING:
    from page.sites import Site

pytestmark = pytest.mark.browser

#: The users' markup comes first, so that it is what a search by id, name or class finds.
_PAGE = """<!doctype html>
<html lang="en"><title>Comments</title>
<body>
{{ markup | safe }}
{{ anam.head(nonce=nonce) }}
<meta name="csrf-token" content="SENTINEL-csrf">
{{ anam.player("support", id="ours", sdk=sdk, prefetch="idle") }}
</body></html>"""
_SDK = "globalThis.stolen = true; globalThis.anam = { createClient: () => ({}) };"


@dataclass
class Stranger:
    """A server of somebody else, which answers everything and notes what it was asked."""

    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        """Answer with a script, to every origin."""
        if asked.method != "OPTIONS":
            self.asked.append((asked.path, asked.headers.get("X-CSRFToken")))
        answer = Answer(_SDK, mimetype="text/javascript")
        answer.headers["Access-Control-Allow-Origin"] = asked.headers.get("Origin", "*")
        answer.headers["Access-Control-Allow-Headers"] = "content-type, x-csrftoken"
        answer.headers["Access-Control-Allow-Credentials"] = "true"
        return answer


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """Serve another origin."""
    stranger = Stranger()
    server = make_server("127.0.0.1", 0, Asked.application(stranger.answer), threaded=True)
    stranger.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield stranger
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    """Give a context that does not complain: the policy is to be offended here."""
    context = the_browser().new_context()
    context.set_default_timeout(45_000)
    yield context
    context.close()


@dataclass
class Forum:
    """A site that shows the markup of users, and what its own routes were asked."""

    site: Site
    markup: str = ""
    policy: str = ""
    sdk: str | None = "/test/fake-sdk.js"
    moved: list[str | None] = field(default_factory=list)


@pytest.fixture
def forum(make_site: Callable[..., Site], stranger: Stranger) -> Forum:
    """Serve a page with comments, an open redirect and a route that must not be posted to."""
    site = make_site(ANAM_TOKEN_RATE_LIMIT="100 per minute")
    forum = Forum(site)

    @site.app.get("/comments")
    def comments() -> Response:
        nonce = NONCE if forum.policy else None
        response = Response(
            render_template_string(_PAGE, markup=forum.markup, nonce=nonce, sdk=forum.sdk)
        )
        if forum.policy:
            response.headers["Content-Security-Policy"] = forum.policy
        return response

    @site.app.get("/out")
    def out() -> Any:
        return redirect(f"{stranger.url}/redirected.js")

    @site.app.post("/transfer")
    def transfer() -> dict[str, str]:
        forum.moved.append(request.headers.get("X-CSRFToken"))
        return {}

    return forum


def mount(config: dict[str, Any], **attributes: str) -> str:
    """Return a player as somebody writes it into a comment."""
    extra = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return (
        f'<div class="theirs" data-anam-player="{escape(json.dumps(config))}"{extra}>'
        '<video></video><button data-anam="start">Start</button><b data-anam="start-label"></b>'
        '<b data-anam="title"></b><b data-anam="detail"></b><b data-anam="count"></b>'
        '<button data-anam="stop">End</button></div>'
    )


def smuggled(stranger: Stranger) -> str:
    """Return everything that a comment can try, in one."""
    base = {"personaType": "support", "name": "x", "prefetch": "idle"}
    evil = f"{stranger.url}/evil"
    forged = json.dumps({"sdk": f"{evil}/block.js", "tokenPath": f"{evil}/block"})
    names = "page player anam-config data-anam-config ours config own scripts marked"
    return "".join(
        (
            mount({**base, "sdk": f"{evil}/sdk.js"}),
            mount({**base, "sdk": "/out", "sdkIntegrity": ""}),
            mount({**base, "sdk": "/test/fake-sdk.js", "tokenPath": f"{evil}/token"}),
            mount({**base, "sdk": "/test/fake-sdk.js", "tokenPath": "/transfer"}),
            mount({**base, "sdk": "/test/fake-sdk.js", "urlPrefix": evil, "apiBaseUrl": evil}),
            mount({**base, "clientOptions": {"api": {"baseUrl": evil}}}),
            mount({"personaType": "support", "overrides": {"a": 1}}, id="ours"),
            *(f"<div id='{name}' data-anam-config='page'>{forged}</div>" for name in names.split()),
            *(f"<form name='{name}' data-anam-config='player'></form>" for name in names.split()),
            f"<script type='application/json' data-anam-config='page'>{forged}</script>",
        )
    )


def sanitised(page: Page, site: Site, markup: str) -> str:
    """Return what DOMPurify leaves of markup with its defaults."""
    needed("dompurify/dist/purify.min.js")
    page.goto(f"{site.url}/bare")
    page.add_script_tag(url="/test/npm/dompurify/dist/purify.min.js")
    return str(page.evaluate("(markup) => DOMPurify.sanitize(markup)", markup))


def open_forum(page: Page, forum: Forum) -> None:
    """Look at the comments as a user, until all players on the page are set up."""
    page.goto(f"{forum.site.url}/login/ada")
    page.goto(f"{forum.site.url}/comments")
    expect(page.locator("#ours [data-anam=start]").last).to_be_enabled()
    page.wait_for_load_state("networkidle")  # what others ask for by themselves has been asked


def start_theirs(page: Page) -> None:
    """Press start on every player that came with a comment."""
    page.evaluate(
        """async () => {
          const theirs = [...document.querySelectorAll(".theirs")].map((root) => root.persona);
          for (const persona of theirs.filter(Boolean)) {
            await Promise.race([persona.start(), new Promise((r) => setTimeout(r, 3000))]);
            persona.stop();
          }
        }"""
    )


@pytest.mark.parametrize("policy", ["", POLICY], ids=["no-policy", "policy"])
def test_sanitised_markup_decides_nothing(
    page: Page, forum: Forum, stranger: Stranger, policy: str
) -> None:
    """No file, request, CSRF token or session token goes where a comment says."""
    forum.markup = sanitised(page, forum.site, smuggled(stranger))
    assert forum.markup.count("data-anam-player") == 7
    assert "<script" not in forum.markup
    forum.policy = policy
    open_forum(page, forum)
    wait_until(page, lambda: forum.site.sandbox.ledger.mints)
    page.wait_for_load_state("networkidle")
    assert len(forum.site.sandbox.ledger.mints) == 1, "a comment asked for tokens by itself"
    page.locator(".anam-player [data-anam=start]").click()
    expect_state(page, "live")
    start_theirs(page)
    assert page.evaluate("typeof stolen") == "undefined"
    assert stranger.asked == []
    assert forum.moved == []
    sessions = forum.site.sandbox.ledger.sessions
    assert len(sessions) >= 6, "players from markup can be used, and talk to our own server"


@pytest.mark.parametrize("nonce", ["", " nonce='x'"], ids=["no-nonce", "wrong-nonce"])
def test_raw_markup_cannot_forge_the_configuration(
    page: Page, forum: Forum, stranger: Stranger, nonce: str
) -> None:
    """With the policy of the docs not even markup that nobody sanitised can: it has no nonce."""
    evil = f"{stranger.url}/evil"
    forged = {"sdk": "/out", "tokenPath": "/transfer", "apiBaseUrl": evil, "prefetch": "idle"}
    text = json.dumps(forged)
    scripts = "".join(
        f"<script type='application/json' data-anam-config='{kind}'{nonce}>{text}</script>"
        for kind in ("player", "page")
    )
    forum.markup = mount({"personaType": "support", "prefetch": "idle", "sdk": "/out"}) + scripts
    forum.policy = POLICY
    open_forum(page, forum)
    start_theirs(page)
    assert page.evaluate("typeof stolen") == "undefined"
    assert stranger.asked == []
    assert forum.moved == []


def test_broken_elements_stop_no_player(page: Page, forum: Forum) -> None:
    """An element that cannot be set up is reported in the console, and that is all."""
    markup = (
        "<div data-anam-player='no json'></div><div data-anam-player='null'></div>"
        "<form data-anam-player='{}'><input name='querySelector'></form>"
        "<div data-anam-player='{}'></div>"
    )
    forum.markup = sanitised(page, forum.site, markup)
    assert forum.markup.count("data-anam-player") == 4
    open_forum(page, forum)
    page.locator(".anam-player [data-anam=start]").click()
    expect_state(page, "live")


@pytest.mark.parametrize(
    "markup",
    [
        "<form id='requestIdleCallback'></form><form name='RTCPeerConnection'></form>",
        "<video id='ours-video'></video><div id='ours'></div>",
    ],
)
def test_names_in_markup_take_the_place_of_nothing(page: Page, forum: Forum, markup: str) -> None:
    """What the player calls is a function, and the picture goes into its own element."""
    forum.markup = sanitised(page, forum.site, markup)
    assert forum.markup.count("<") == markup.count("<"), "nothing is left to test"
    page.add_init_script("delete globalThis.requestIdleCallback; // as in Safari")
    open_forum(page, forum)
    wait_until(page, lambda: forum.site.sandbox.ledger.mints)  # in advance, on an idle page
    page.locator(".anam-player [data-anam=start]").click()
    expect_state(page, "live")
    expect(page.locator(".anam-player")).to_have_attribute("data-picture", "there")


@pytest.mark.parametrize("name", ["id", "name"])
def test_a_form_is_not_taken_for_the_sdk(page: Page, forum: Forum, name: str) -> None:
    """What is there under the name of the SDK must be it; else the pinned one is loaded."""
    url, integrity = re.findall(
        r'"(https://.+?|sha384-.+?)"', (STATIC / "flask-anam.js").read_text()
    )
    assert integrity
    script = {"path": needed(SDK), "headers": {"Access-Control-Allow-Origin": "*"}}
    page.route(url, lambda route: route.fulfill(**script))
    forum.markup = sanitised(
        page, forum.site, f"<form {name}='anam'><input name='createClient'></form>"
    )
    assert "createClient" in forum.markup
    forum.sdk = None
    open_forum(page, forum)
    wait_until(page, lambda: page.evaluate("typeof anam.createClient") == "function")
    wait_until(page, lambda: forum.site.sandbox.ledger.mints)
    forum.sdk = "/nowhere.js"
    open_forum(page, forum)
    page.locator(".anam-player [data-anam=start]").click()
    expect(page.locator(".anam-player")).to_have_attribute("data-code", "sdk_missing")


def test_the_csrf_token_stays_at_home(page: Page, forum: Forum, stranger: Stranger) -> None:
    """Page code may name another server; the token of this one does not go there."""
    open_forum(page, forum)
    page.evaluate(
        """async (evil) => {
          const helper = await import("/anam/static/flask-anam.js");
          await helper.fetchToken({ tokenPath: `${evil}/token` }).catch(() => {});
          await helper.reportStarted({ urlPrefix: evil, tokenId: "t", sessionId: "s" });
          await helper.fetchToken({ tokenPath: "/transfer" }).catch(() => {});
        }""",
        stranger.url,
    )
    assert [csrf for _, csrf in stranger.asked] == [None, None]
    assert forum.moved == ["SENTINEL-csrf"]
