"""Base schemas: spellings, order, unknown and deprecated names."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import UUID, messages
from core.schemas.conftest import SNAKE
from hosts import PERSONA, PROMPT
from marshmallow import Schema

from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.core.schemas.session_options import SessionOptionsSchema


def test_the_order_is_kept() -> None:
    """What Anam receives stands in the order it was written in."""
    backwards = dict(reversed(SNAKE.items()))
    assert list(PersonaConfigSchema().load(backwards)) == list(reversed(PERSONA))


def test_a_field_given_in_both_spellings_is_refused() -> None:
    """Which of the two counts is nothing to guess."""
    errors = messages({**PERSONA, "avatar_id": UUID})
    assert errors == {"avatarId": ["Given twice, as avatarId and in another spelling."]}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("avatarID", "avatarId"),
        ("avatar", "avatarId"),
        ("sytemPrompt", "systemPrompt"),
        ("system_promt", "systemPrompt"),
        ("voiceid", "voiceId"),
    ],
)
def test_an_unknown_field_is_refused_with_a_suggestion(wrong: str, right: str) -> None:
    """A typing error names its neighbour."""
    assert messages({**PERSONA, wrong: "x"})[wrong] == [f"Unknown field. Did you mean {right}?"]


def test_an_unknown_field_without_neighbour_gets_no_suggestion() -> None:
    """A far-off name is just unknown; one that is no text too."""
    errors = messages({**PERSONA, "zzz": 1, 7: 1})
    assert errors == {"zzz": ["Unknown field."], "7": ["Unknown field."]}


@pytest.mark.parametrize("data", [None, [], "x", 5, b"{}"], ids=repr)
@pytest.mark.parametrize("schema", [PersonaConfigSchema(), SessionOptionsSchema()])
def test_what_is_no_object_is_refused(schema: Schema, data: Any) -> None:
    """A list or a text in the place of a config is an error, not an exception."""
    assert messages(data, schema)["_schema"] == ["Must be an object."]


def test_a_deprecated_name_is_translated_with_a_warning() -> None:
    """Where there is a successor of the same meaning."""
    old = {k: v for k, v in PERSONA.items() if k != "llmId"} | {"brainType": PERSONA["llmId"]}
    with pytest.warns(DeprecationWarning, match="brainType is deprecated: use llmId"):
        assert PersonaConfigSchema().load(old) == PERSONA
    with pytest.warns(DeprecationWarning, match="use personaId"):
        assert PersonaConfigSchema().load({"id": UUID}) == {"personaId": UUID}
    assert list(messages({**PERSONA, "brainType": UUID})) == ["llmId"]


@pytest.mark.parametrize(
    "gone", ["personality", "personaPreset", "fillerPhrases", "useFillerPhrases"]
)
def test_a_name_without_successor_is_refused_with_the_cure(gone: str) -> None:
    """The message says where its content belongs today."""
    (text,) = messages({**PERSONA, gone: PROMPT})[gone]
    assert text.startswith("No longer supported. ")
    assert "SENTINEL" not in text
