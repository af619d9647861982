"""JSON Schema of personas: an editor judges as the app does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hosts import PERSONA, make_app
from jsonschema import Draft202012Validator

from flask_anam.core.schemas.json_schema import persona_json_schema
from flask_anam.core.schemas.secret import secret
from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.api.catalog import PERSONA_ID, TOOL_ID

GOOD = {
    **PERSONA,
    "avatarModel": "cara-4",
    "toolIds": [TOOL_ID],
    "voiceGenerationOptions": {"stability": 0.5, "speed": 1},
}
VALID: dict[str, dict[str, Any]] = {
    "inline": {"$schema": "./persona.schema.json", **GOOD, "label": "Help", "fallback": "spare"},
    "stored": {"personaId": PERSONA_ID, "overrides": ["enableAudioPassthrough"]},
    "bounds": {**GOOD, "overrides": {"languageCode": ["de"], "skipGreeting": True}},
    "secrets": {**GOOD, "apiKey": {"secret": "K"}, "systemPrompt": {"secret": "PROMPT"}},
    "environment": {"name": "A", "avatarId": catalog.AVATAR_ID, "environment": {"x": 1}},
    "null": {**GOOD, "initialMessage": None, "clientLabel": "web"},
    "options": {**GOOD, "sessionOptions": {"videoWidth": 1152, "videoHeight": 768}},
    "tools": {
        **GOOD,
        "tools": [{"type": "client", "name": "x", "headers": {"a": {"secret": "S"}}, "more": 1}],
    },
}


INVALID: dict[str, dict[str, Any]] = {
    "typing error": {**GOOD, "voiceld": "x"},
    "range": {**GOOD, "voiceDetectionOptions": {"endOfSpeechSensitivity": 2}},
    "enum": {**GOOD, "avatarModel": "cara-9"},
    "type": {**GOOD, "skipGreeting": "yes"},
    "length": {**GOOD, "directorNotes": {"customStylePrompt": "x" * 2001}},
    "no LLM": {name: value for name, value in GOOD.items() if name != "llmId"},
    "tool without name": {**GOOD, "tools": [{"type": "client"}]},
    "whole number": {**GOOD, "sessionOptions": {"videoWidth": 720.5}},
    "override": {**GOOD, "overrides": ["personaId"]},
    "bound": {**GOOD, "overrides": {"languageCode": {"least": 1}}},
    "secret": {**GOOD, "apiKey": {"env": "K"}},
    "nested": {**GOOD, "sessionOptions": {"sessionReplay": {"on": True}}},
}


def schema_of(whole_file: bool = False) -> dict[str, Any]:
    """Return the JSON Schema, which must be valid itself."""
    schema = persona_json_schema(whole_file=whole_file)
    Draft202012Validator.check_schema(schema)
    return schema


@pytest.mark.parametrize("whole_file", [False, True])
def test_schema_judges_persona_files(whole_file: bool) -> None:
    """What is right passes and what is wrong does not, for one persona and for a file of them."""
    validator = Draft202012Validator(schema_of(whole_file))
    for name, entry in VALID.items():
        content = {"$schema": "x", "p": entry} if whole_file else entry
        if whole_file:
            content["p"].pop("$schema", None)  # type: ignore[union-attr]
        assert list(validator.iter_errors(content)) == [], name
    for name, entry in INVALID.items():
        assert list(validator.iter_errors({"p": entry} if whole_file else entry)), name


@pytest.mark.parametrize("name", VALID)
def test_what_the_schema_lets_pass_starts_the_app(sandbox: Sandbox, name: str) -> None:
    """Editor and app agree on every valid file."""
    entry = {key: value for key, value in VALID[name].items() if key != "$schema"}
    entry = json.loads(json.dumps(entry), object_hook=_with_secret)
    make_app(sandbox, ANAM_PERSONAS={"p": entry, "spare": PERSONA})


def _with_secret(value: dict[str, Any]) -> Any:
    return secret(value["secret"]) if set(value) == {"secret"} else value


def test_schema_describes_every_field_with_an_example() -> None:
    """An editor has something to show for each field of a persona."""
    shown = schema_of()["properties"]
    assert {"personaId", "systemPrompt", "tools", "sessionOptions", "environment"} <= set(shown)
    assert [name for name, field in shown.items() if "description" not in field] == ["$schema"]
    assert shown["avatarModel"]["examples"] == ["cara-4"]
