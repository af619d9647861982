"""Schema of a persona config: fields, rules, and messages that quote no prompt."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import UUID, messages
from core.schemas.conftest import SNAKE
from hosts import PERSONA, PROMPT
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.errors import PersonaWarning

ALL_FIELDS = {
    "personaId": "persona_id",
    "type": "type",
    "name": "name",
    "avatarId": "avatar_id",
    "avatarModel": "avatar_model",
    "voiceId": "voice_id",
    "llmId": "llm_id",
    "systemPrompt": "system_prompt",
    "maxSessionLengthSeconds": "max_session_length_seconds",
    "skipGreeting": "skip_greeting",
    "uninterruptibleGreeting": "uninterruptible_greeting",
    "initialMessage": "initial_message",
    "languageCode": "language_code",
    "voiceDetectionOptions": "voice_detection_options",
    "voiceGenerationOptions": "voice_generation_options",
    "directorNotes": "director_notes",
    "tools": "tools",
    "toolIds": "tool_ids",
    "enableAudioPassthrough": "enable_audio_passthrough",
}


def test_camel_case_passes_unchanged() -> None:
    """A config as Anam documents it comes out equal, dumped too."""
    schema = PersonaConfigSchema()
    assert schema.load(PERSONA) == PERSONA
    assert schema.dump(schema.load(PERSONA)) == PERSONA


def test_snake_case_becomes_camel_case() -> None:
    """Python spelling gives the very same config; both may be mixed."""
    assert PersonaConfigSchema().load(SNAKE) == PERSONA
    mixed = {**SNAKE}
    mixed["avatarId"] = mixed.pop("avatar_id")
    assert PersonaConfigSchema().load(mixed) == PERSONA


@pytest.mark.parametrize("camel", ALL_FIELDS)
def test_each_field_of_the_vendor_is_known_in_both_spellings(camel: str) -> None:
    """A wrong value is complained of under the camelCase name, never as unknown."""
    for spelling in (camel, ALL_FIELDS[camel]):
        errors = messages({spelling: object()}, PersonaConfigSchema(partial=True))
        assert list(errors) == [camel]
        assert "Unknown" not in str(errors)


@pytest.mark.parametrize("missing", ["name", "avatarId", "llmId"])
def test_an_inline_persona_needs_three_fields(missing: str) -> None:
    """Without personaId these make the persona; a missing llmId would give a legacy token."""
    errors = messages({k: v for k, v in PERSONA.items() if k != missing})
    assert list(errors) == [missing]
    assert ("legacy" if missing == "llmId" else "needs name, avatarId and llmId") in errors[
        missing
    ][0]


def test_a_voice_is_optional_and_an_environment_may_bring_the_llm() -> None:
    """Anam has a default voice; an integration such as LiveKit an LLM of its own."""
    without = {k: v for k, v in PERSONA.items() if k != "voiceId"}
    assert PersonaConfigSchema().load(without) == without
    bare = {"name": "Alex", "avatarId": UUID}
    assert PersonaConfigSchema(needs_llm=False).load(bare) == bare


def test_persona_id_alone_is_enough() -> None:
    """A stateful persona; how the session runs may stand beside it."""
    beside = {"personaId": UUID, "enableAudioPassthrough": True, "maxSessionLengthSeconds": 60}
    assert PersonaConfigSchema().load({"persona_id": UUID}) == {"personaId": UUID}
    assert PersonaConfigSchema().load(beside) == beside


@pytest.mark.parametrize("other", ["name", "systemPrompt", "voiceId", "llmId"])
def test_persona_id_mixed_with_inline_fields_is_refused(other: str) -> None:
    """The mix gives a legacy token, which Anam's SDKs refuse."""
    errors = messages({"personaId": UUID, other: PERSONA[other]})
    assert list(errors) == [other]
    assert "legacy" in errors[other][0]


WRONG: list[tuple[str, list[Any]]] = [
    ("personaId", ["x", "", UUID + "0", None, 5]),
    ("name", ["", "  ", None, 5, b"Alex", "\ud800"]),
    ("avatarId", ["alex", UUID[:-1], UUID.replace("-", ""), f"{UUID}\n", None]),
    ("voiceId", ["", "x"]),
    ("llmId", ["", "lower_case", "AB", "1ABC", "A" * 65, None]),
    ("avatarModel", ["", " ", 3, None, "cara-5", ["cara-4"]]),
    ("systemPrompt", [None, 5, ["x"], b"prompt", "\udfff"]),
    ("maxSessionLengthSeconds", [0, -1, 0.5, "60", True, None, float("nan"), float("inf")]),
    ("maxSessionLengthSeconds", [10**400]),
    ("skipGreeting", ["yes", 1, 0, None]),
    ("uninterruptibleGreeting", ["true"]),
    ("initialMessage", [5, b"x", "\ud800"]),
    ("languageCode", ["", "e", "eng", "en-US", "e1", "en\n", None]),
    ("type", ["legacy", "LEGACY", "", None]),
    ("voiceDetectionOptions", [[], "x", None, {1: 2}, {"speechEnhancementLevel": 1.1}]),
    ("voiceDetectionOptions", [{"silenceBeforeSkipTurnSeconds": 901}, {"zzz": 1}]),
    ("voiceGenerationOptions", [{"speed": float("nan")}, {"speed": {1, 2}}, {"a": {1: 2, "b": 3}}]),
    ("voiceGenerationOptions", [{"speed": 2.1}, {"speed": 1.7, "volume": 3}, {"stability": True}]),
    ("voiceGenerationOptions", [{"stability": 1, "volume": 1}, {"speed": 1.3, "stability": 1}]),
    ("directorNotes", ["x", {"expressivity": float("inf")}, {"x": b"bytes"}]),
    ("directorNotes", [{"presetStyle": "happy", "customStylePrompt": "calm"}]),
    ("tools", [{}, "x", ["x"], [{"when": object()}], None, [None]]),
    ("tools", [[{"type": "x", "name": "t"}]]),
    ("tools", [[{"type": "server", "name": "t"}], [{"type": "client", "name": " "}]]),
    ("tools", [[{"type": "client", "name": "t", "description": "x" * 1025}]]),
    ("tools", [[{"type": "client", "name": "t"}, {"type": "client", "name": "t"}]]),
    ("toolIds", ["x", ["x"], [None], UUID]),
    ("enableAudioPassthrough", ["on", None]),
]
CASES = [(field, value) for field, values in WRONG for value in values]


@pytest.mark.parametrize(
    ("field", "value"), CASES, ids=[f"{field} {value!r:.25}" for field, value in CASES]
)
def test_a_wrong_value_is_refused_under_its_field(field: str, value: Any) -> None:
    """Each rule: type, shape, length, range; nothing is converted, nothing slips through."""
    assert list(messages({field: value}, PersonaConfigSchema(partial=True))) == [field]


RIGHT: list[tuple[str, Any]] = [
    ("llmId", "CUSTOMER_CLIENT_V1"),
    ("avatarId", UUID.upper()),
    ("name", "x" * 300),
    ("name", "Zoë 🦜"),
    ("maxSessionLengthSeconds", 60),
    ("maxSessionLengthSeconds", 90.5),
    ("initialMessage", None),
    ("initialMessage", "Hello"),
    ("languageCode", "en"),
    ("voiceGenerationOptions", {"speed": 1.1, "stability": 1}),
    ("voiceGenerationOptions", {"speed": 2, "volume": 0.5}),
    ("directorNotes", {"presetStyle": "happy", "expressivity": 0}),
    ("languageCode", "DE"),
    ("tools", [{"type": "client", "name": "go", "later": {"er": [1, None, "x"]}}]),
    ("tools", [{"type": "client", "name": "go", "parameters": {"type": "object"}}]),
    ("toolIds", [UUID]),
    ("systemPrompt", "x" * 2000),
]


@pytest.mark.parametrize(("field", "value"), RIGHT, ids=[f"{f} {v!r:.25}" for f, v in RIGHT])
def test_a_right_value_passes_unchanged(field: str, value: Any) -> None:
    """Whole numbers stay whole, null stays null where Anam allows it."""
    loaded = PersonaConfigSchema().load({**PERSONA, field: value})
    assert loaded[field] == value
    assert type(loaded[field]) is type(value)


def test_the_length_of_the_prompt_is_a_setting() -> None:
    """2000 by default, another number, or none; the message tells both numbers and the key."""
    long = {**PERSONA, "systemPrompt": "x" * 2001}
    assert messages(long) == {
        "systemPrompt": [
            "Has 2001 characters; at most 2000 are allowed. See ANAM_SYSTEM_PROMPT_MAX_LENGTH."
        ]
    }
    assert PersonaConfigSchema(system_prompt_max_length=2001).load(long) == long
    assert PersonaConfigSchema(system_prompt_max_length=None).load(long) == long


def test_no_message_quotes_the_prompt() -> None:
    """Whatever else is wrong, messages hold names and rules only."""
    broken = {**PERSONA, "avatarId": PROMPT, "llmId": PROMPT, "skipGreeting": PROMPT}
    errors = messages(broken, PersonaConfigSchema(system_prompt_max_length=1))
    assert set(errors) == {"avatarId", "llmId", "skipGreeting", "systemPrompt"}
    assert "SENTINEL" not in str(errors)


def test_an_unpublished_value_passes_with_a_warning_where_that_is_wanted() -> None:
    """ANAM_UNKNOWN_VALUES, down to nested schemas; closed lists stay closed."""
    config = {**PERSONA, "avatarModel": "cara-9", "directorNotes": {"presetStyle": "grim"}}
    lenient = PersonaConfigSchema(unknown_values="warn")
    with pytest.warns(PersonaWarning, match="Must be one of") as warned:
        assert lenient.load(config) == config
    assert len(warned) == 2
    errors = messages(config)
    assert set(errors) == {"avatarModel", "directorNotes"}
    assert "ANAM_UNKNOWN_VALUES" in str(errors)
    assert "Did you mean cara-4?" in messages({**PERSONA, "avatarModel": "cara4"})["avatarModel"][0]
    assert list(messages({**PERSONA, "type": "x"}, lenient)) == ["type"]


def test_a_named_llm_that_anam_does_not_document_is_warned_of() -> None:
    """It is passed on as it is."""
    with pytest.warns(PersonaWarning, match="NEW_LLM_V2"):
        assert PersonaConfigSchema().load({**PERSONA, "llmId": "NEW_LLM_V2"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*ALL_FIELDS, *ALL_FIELDS.values()]) | st.text(), JSON))
def test_any_json_object_is_loaded_or_refused(data: dict[str, Any]) -> None:
    """Nothing but ValidationError ever comes out."""
    try:
        loaded = PersonaConfigSchema(partial=True).load(data)
    except ValidationError:
        return
    assert set(loaded) <= set(ALL_FIELDS)
