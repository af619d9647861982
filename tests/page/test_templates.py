"""``anam`` in templates: what it writes, and that it gives way to a host's own."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from flask import Flask, render_template_string
from hosts import PERSONA, PROMPT, make_app, make_host

from flask_anam import FlaskAnam
from flask_anam.errors import InvalidRequest, UnknownPersona
from flask_anam.sandbox import Sandbox
from flask_anam.web.player import PageHelper


@pytest.fixture
def app(sandbox: Sandbox) -> Flask:
    """Return an app that is on Anam, as far as it knows."""
    return make_app(sandbox, ANAM_URL_PREFIX="/ai", ANAM_TOKEN_PATH="/token")


def render(app: Flask, template: str, **context: Any) -> str:
    """Render a template in a request to an app."""
    with app.test_request_context():
        return render_template_string(template, **context)


def config_in(html: str) -> dict[str, Any]:
    """Return the configuration that a player carries."""
    (attribute,) = re.findall(r'data-anam-player="([^"]*)"', html)
    config: dict[str, Any] = json.loads(unescape(attribute))
    assert config.keys() <= {"personaType", "name", "texts", "microphone", "maxWait", "overrides"}
    return {**config, **block_in(html)}


def block_in(html: str, kind: str = "player") -> dict[str, Any]:
    """Return the configuration that users cannot write."""
    tag = rf'<script type="application/json" data-anam-config="{kind}"[^>]*>(.*?)</script>'
    (text,) = re.findall(tag, html, re.DOTALL)
    block: dict[str, Any] = json.loads(text)
    return block


def test_the_head_has_three_tags_and_a_nonce(app: Flask) -> None:
    """Everything is external; the nonce is on each tag, escaped, or on none."""
    plain = render(app, "{{ anam.head() }}")
    assert plain.count("/ai/static/") == 3
    assert "nonce" not in plain
    assert render(app, "{{ anam.head(nonce='a\"b') }}").count('nonce="a&#34;b"') == 4
    assert block_in(plain, "page")["tokenPath"] == "/token"


def test_players_have_the_nonce_of_the_head(app: Flask) -> None:
    """Without it their part of the configuration would not be believed."""
    html = render(app, "{{ anam.head(nonce='abc') }}{{ anam.player() }}")
    assert re.search('data-anam-config="player" nonce="abc">', html)
    assert "nonce" not in render(app, "{{ anam.head() }}{{ anam.player() }}")


def test_a_block_cannot_be_closed_from_inside(app: Flask) -> None:
    """Whatever an address is made of."""
    html = render(app, "{{ anam.player(sdk='</script><b>') }}")
    assert "<b>" not in html
    assert block_in(html)["sdk"] == "</script><b>"


def test_the_player_carries_its_configuration(app: Flask, sandbox: Sandbox) -> None:
    """Paths, persona and options, and nothing that is secret."""
    html = render(app, "{{ anam.player('support', overrides={'languageCode': 'de'}, max_wait=9) }}")
    config = config_in(html)
    facts = {"tokenPath": "/token", "urlPrefix": "/ai", "apiBaseUrl": sandbox.url}
    options = {"personaType": "support", "name": "Support", "prefetch": "hover", "maxWait": 9}
    wanted = {**facts, **options, "microphone": True, "overrides": {"languageCode": "de"}}
    assert wanted.items() <= config.items()
    assert "sdk" not in config
    assert "anam-sandbox" not in html
    assert PROMPT not in html
    assert sandbox.api_key not in html


def test_no_token_in_advance_if_none_is_kept(sandbox: Sandbox) -> None:
    """The start would need another."""
    app = make_app(sandbox, ANAM_TOKEN_REUSE="never")
    assert "prefetch" not in config_in(render(app, "{{ anam.player(prefetch='idle') }}"))


def test_names_and_texts_are_escaped(app: Flask) -> None:
    """Whatever they are made of."""
    evil = "<b>\"' onload=x"
    html = render(app, "{{ anam.player(name=e, poster=e, id=e, texts={'stop': e}) }}", e=evil)
    assert "<b>" not in html
    assert "\"' onload" not in html
    assert config_in(html)["name"] == evil
    assert config_in(html)["texts"]["stop"] == evil


def test_two_players_have_two_ids(app: Flask) -> None:
    """Labels and fields do not get mixed up; another request begins anew."""
    for _ in range(2):
        html = render(app, "{{ anam.player() }}{{ anam.player(text_input=False) }}")
        assert re.findall(r'section class="anam-player" id="([\w-]+)"', html) == [
            "anam-player-1",
            "anam-player-2",
        ]
        assert html.count("<form") == 1


def test_parts_can_be_left_out(app: Flask) -> None:
    """Without captions, writing and microphone there is only start and end."""
    left_out = "captions=False, text_input=False, microphone=False"
    html = render(app, f"{{{{ anam.player({left_out}) }}}}")
    assert html.count("<button") == 2
    assert 'role="log"' not in html
    assert config_in(html)["microphone"] is False


def test_the_sandbox_is_labelled() -> None:
    """Nobody takes it for Anam."""
    app = make_host(ANAM_SANDBOX=True, ANAM_PERSONAS={"support": PERSONA})
    FlaskAnam(app)
    assert "Sandbox, not Anam" in render(app, "{{ anam.player() }}")


@pytest.mark.parametrize("way", ["argument", "processor", "earlier global", "later global"])
def test_a_hosts_own_anam_wins(sandbox: Sandbox, way: str) -> None:
    """Ours can be had under another name then."""
    app = make_host(ANAM_API_KEY=sandbox.api_key, ANAM_PERSONAS={"support": PERSONA})
    if way == "earlier global":
        app.jinja_env.globals["anam"] = "own"
    if way == "processor":
        app.context_processor(lambda: {"anam": "own"})
    FlaskAnam(app)
    if way == "later global":
        app.jinja_env.globals["anam"] = "own"
    context = {"anam": "own"} if way == "argument" else {}
    assert render(app, "{{ anam }}", **context) == "own"
    app.jinja_env.globals["persona_page"] = PageHelper()
    assert "anam-player" in render(app, "{{ persona_page.player() }}", **context)


def test_macros_see_it_without_context(app: Flask) -> None:
    """A global is there in imported templates too."""
    macro = "{% macro m() %}{{ anam.head() }}{% endmacro %}{{ m() }}"
    assert "anam-player.css" in render(app, macro)


def test_mistakes_are_told_to_the_developer(app: Flask) -> None:
    """At rendering, not in the visitor's browser."""
    with app.test_request_context():
        helper = PageHelper()
        with pytest.raises(UnknownPersona):
            helper.player("nobody")
        with pytest.raises(ValueError, match=r"prefetch must be one of None, 'hover', 'idle'"):
            helper.player(prefetch="always")
        with pytest.raises(ValueError, match="theme must be one of"):
            helper.player(theme="blue")
    two = make_host(ANAM_API_KEY="x", ANAM_PERSONAS={"a": PERSONA, "b": PERSONA})
    FlaskAnam(two)
    with two.test_request_context(), pytest.raises(InvalidRequest):
        PageHelper().player()
