"""Persona: its declaration, checked at start-up."""

from __future__ import annotations

import pytest
from core.conftest import registry
from hosts import PERSONA, PROMPT

from flask_anam.core.personas.persona import make_persona
from flask_anam.errors import (
    ConfigError,
)


def test_a_label_is_made_from_the_name() -> None:
    """Where none is given."""
    assert make_persona("sales_coach-1", PERSONA).label == "Sales coach 1"


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        pytest.param("", PERSONA, "1 to 100 characters", id="empty name"),
        pytest.param(" ", PERSONA, "1 to 100 characters", id="blank name"),
        pytest.param("x" * 101, PERSONA, "1 to 100 characters", id="long name"),
        pytest.param("a", 5, "a mapping) or a callable", id="number"),
        pytest.param("a", None, "a mapping) or a callable", id="None"),
        pytest.param("a", [PERSONA], "a mapping) or a callable", id="list"),
        pytest.param("a", {**PERSONA, "label": ""}, "label of persona 'a'", id="empty label"),
        pytest.param("a", {**PERSONA, "permission": ["p"]}, "permission of", id="permissions"),
        pytest.param("a", {**PERSONA, "overrides": None}, "a list of field names", id="no list"),
        pytest.param("a", {**PERSONA, "overrides": ["nope"]}, "'nope'", id="unknown override"),
        pytest.param("a", {**PERSONA, "overrides": [["x"]]}, "camelCase", id="nested override"),
        pytest.param("a", {**PERSONA, "overrides": ["language_code"]}, "camelCase", id="snake"),
        pytest.param("a", {**PERSONA, "overrides": ["personaId"]}, "'personaId'", id="personaId"),
        pytest.param("a", {**PERSONA, "sessionOptions": {"x": 1}}, "x: Unknown", id="options"),
        pytest.param("a", {**PERSONA, "sessionOptions": [1]}, "Must be an object", id="no options"),
        pytest.param("a", {**PERSONA, "avatarId": PROMPT}, "avatarId: Not a UUID", id="field"),
        pytest.param("a", {"name": "A"}, "avatarId: Missing", id="incomplete"),
        pytest.param(
            "a",
            {**PERSONA, "directorNotes": {"expressivity": float("nan")}},
            "directorNotes.expressivity: Special numeric values",
            id="NaN",
        ),
        pytest.param(
            "a",
            {**PERSONA, "tools": [{"type": "client", "name": "t", "parameters": {"x": {1}}}]},
            "tools.0.parameters.x: Cannot be written as JSON",
            id="set",
        ),
        pytest.param("a", {**PERSONA, "fallback": "b"}, "falls back to 'b'", id="no fallback"),
        pytest.param("a", {**PERSONA, "apiKey": ""}, "api_key of persona 'a'", id="empty key"),
        pytest.param(
            "a", {**PERSONA, "overrides": {"name": {}}}, "bounds of the override", id="bounds"
        ),
    ],
)
def test_a_senseless_declaration_is_refused_at_start(name: str, entry: object, words: str) -> None:
    """ConfigError names persona and field, and never quotes the prompt."""
    with pytest.raises(ConfigError) as caught:
        registry({name: entry})
    assert words in caught.value.text
    assert "SENTINEL" not in caught.value.text
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_string_of_one_override_is_taken_as_one_name() -> None:
    """It is not taken apart into letters."""
    assert make_persona("a", PERSONA, overrides="languageCode").overrides == {"languageCode": True}
