"""Mint body: its digest, and whether it carries secrets."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import UUID, body_of, registry
from hosts import PERSONA, PROMPT

from flask_anam.core.personas.mint_body import MintBody


def with_tools(*tools: dict[str, Any]) -> MintBody:
    """Return a body with these tools."""
    return MintBody.of({"personaConfig": {**PERSONA, "tools": list(tools)}})


@pytest.mark.parametrize(
    ("tool", "hidden"),
    [
        ({"name": "a"}, False),
        ({"name": "a", "url": "https://x/hook"}, False),
        ({"name": "a", "headers": {}}, False),
        ({"name": "a", "url": "https://x/hook?sig=1"}, True),
        ({"name": "a", "headers": {"X-Key": "1"}}, True),
    ],
    ids=str,
)
def test_tools_with_headers_or_signed_urls_are_secrets(tool: dict[str, Any], hidden: bool) -> None:
    """Their tokens must not be stored: the secret may live shorter than the token."""
    assert with_tools({"name": "z"}, tool).holds_secrets is hidden


@pytest.mark.parametrize(
    ("beside", "hidden"),
    [
        ({"environment": {"livekit": "x"}}, True),
        ({"environment": {}}, False),
        ({"sessionOptions": {"egress": {"daily": {"token": "t"}}}}, True),
        ({"sessionOptions": {"egress": {"daily": {"roomUrl": "u"}}}}, False),
        ({"clientLabel": "x"}, False),
    ],
    ids=str,
)
def test_an_environment_or_a_room_token_is_a_secret(beside: dict[str, Any], hidden: bool) -> None:
    """What stands beside the config counts as well."""
    assert MintBody.of({"personaConfig": PERSONA, **beside}).holds_secrets is hidden


def test_bodies_of_equal_meaning_have_equal_digests() -> None:
    """Order and spelling of a config do not matter."""
    snake = {"system_prompt": PROMPT, "avatar_id": UUID}
    other = {**snake, **{k: v for k, v in reversed(PERSONA.items()) if k[0] in "nvl"}}
    personas = registry({"a": PERSONA, "b": other})
    assert body_of(personas, "a").digest == body_of(personas, "b").digest


@pytest.mark.parametrize(
    "change",
    [{"systemPrompt": "x"}, {"languageCode": "de"}, {"sessionOptions": {"region": "eu"}}],
    ids=str,
)
def test_any_change_changes_the_digest(change: dict[str, object]) -> None:
    """Config or session options: a token made for another body is never handed out."""
    personas = registry({"a": PERSONA, "b": {**PERSONA, **change}})
    assert body_of(personas, "a").digest != body_of(personas, "b").digest
