"""Our templates escape what they show, whatever the app thinks of autoescape."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
from flask import Flask, render_template_string
from hosts import PERSONA, TOKEN_PATH, User, client_of, make_app
from security.conftest import Serve, cookie_of

from flask_anam.sandbox import Sandbox

MARKUP = "<img src=x onerror=alert(1)>\"'"
EVIL = User(MARKUP, permissions=("anam:metrics",))


def switched_off(app: Flask) -> None:
    """Switch it off for all templates."""
    app.jinja_env.autoescape = False


def selected_off(app: Flask) -> None:
    """Switch it off by a function of the name, as `select_jinja_autoescape` is one."""
    app.jinja_env.autoescape = lambda name: False


def left_on(app: Flask) -> None:
    """Leave it as Flask has it."""


WAYS = pytest.mark.parametrize("way", [switched_off, selected_off, left_on])
Way = Callable[[Flask], None]


def open_app(sandbox: Sandbox, way: Way) -> Flask:
    """Return an app whose persona and user have names of markup."""
    personas = {"support": {**PERSONA, "label": MARKUP}}
    app = make_app(sandbox, EVIL, ANAM_DASHBOARD=True, ANAM_PERSONAS=personas)
    way(app)
    app.add_url_rule(
        "/", "front", lambda: render_template_string("{{ anam.head() }}{{ anam.player() }}")
    )
    return app


@WAYS
def test_the_player_is_escaped_whatever_the_app_does(
    sandbox: Sandbox, serve: Serve, way: Way
) -> None:
    """A label of markup is text, and our own tags are tags."""
    html = requests.get(serve(open_app(sandbox, way)), timeout=10).text
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;" in html
    assert html.count("<section") == html.count("<video") == 1


@WAYS
def test_the_dashboard_is_escaped_whatever_the_app_does(
    sandbox: Sandbox, serve: Serve, way: Way
) -> None:
    """The id of a user is text, and the charts are drawn."""
    app = open_app(sandbox, way)
    client = client_of(app, EVIL)
    token = client.post(TOKEN_PATH, json={"personaType": "support", "slot": "tab"}).get_json()
    started = {"tokenId": token["tokenId"], "sessionId": "s1"}
    assert client.post("/anam/sessions", json=started).status_code == 204
    cookies = {app.config["SESSION_COOKIE_NAME"]: cookie_of(app, EVIL)}
    html = requests.get(f"{serve(app)}/anam/dashboard", cookies=cookies, timeout=10).text
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "<svg" in html
    assert "<details" in html
