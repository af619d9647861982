"""The marshmallow schemas: what a persona config may be, and what a browser may send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from flask_anam.core.schemas import (
    PersonaConfigSchema,
    SessionOptionsSchema,
    SessionReportSchema,
    TokenRequestSchema,
    ValidateRequestSchema,
)

from .conftest import PERSONA, PROMPT, UUID

SNAKE: dict[str, Any] = {
    "name": "Alex",
    "avatar_id": PERSONA["avatarId"],
    "voice_id": PERSONA["voiceId"],
    "llm_id": PERSONA["llmId"],
    "system_prompt": PROMPT,
}
ALL_FIELDS = {
    "personaId": "persona_id",
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
OPTIONS = {
    "sessionReplay": ("session_replay", {"enableSessionReplay": False}),
    "videoQuality": ("video_quality", "high"),
    "videoWidth": ("video_width", 1152),
    "videoHeight": ("video_height", 768),
    "egress": ("egress", {"mode": "daily"}),
    "region": ("region", "eu"),
    "regionPolicy": ("region_policy", "strict"),
    "showAIAvatarDisclosure": ("show_ai_avatar_disclosure", True),
}


def messages(data: Any, schema: Schema | None = None) -> dict[str, Any]:
    """Return what a schema says against some data."""
    with pytest.raises(ValidationError) as caught:
        (schema or PersonaConfigSchema()).load(data)
    found = caught.value.messages
    assert isinstance(found, dict)
    return found


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
        found = messages({spelling: object()}, PersonaConfigSchema(partial=True))
        assert list(found) == [camel]
        assert "Unknown" not in str(found)


@pytest.mark.parametrize("camel", OPTIONS)
def test_each_session_option_is_known_in_both_spellings(camel: str) -> None:
    """Either spelling comes out as the SDKs send it."""
    snake, value = OPTIONS[camel]
    assert SessionOptionsSchema().load({camel: value}) == {camel: value}
    assert SessionOptionsSchema().load({snake: value}) == {camel: value}


def test_the_order_is_kept() -> None:
    """What Anam receives stands in the order it was written in."""
    backwards = dict(reversed(SNAKE.items()))
    assert list(PersonaConfigSchema().load(backwards)) == list(reversed(PERSONA))


def test_a_field_given_in_both_spellings_is_refused() -> None:
    """Which of the two counts is nothing to guess."""
    found = messages({**PERSONA, "avatar_id": UUID})
    assert found == {"avatarId": ["Given twice, as avatarId and in another spelling."]}


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
    found = messages({**PERSONA, "zzz": 1, 7: 1})
    assert found == {"zzz": ["Unknown field."], "7": ["Unknown field."]}


@pytest.mark.parametrize("missing", ["name", "avatarId", "voiceId", "llmId"])
def test_an_inline_persona_needs_four_fields(missing: str) -> None:
    """Without personaId these make the persona; a missing llmId would give a legacy token."""
    found = messages({k: v for k, v in PERSONA.items() if k != missing})
    assert list(found) == [missing]
    assert "needs name, avatarId, voiceId and llmId" in found[missing][0]


def test_persona_id_alone_is_enough() -> None:
    """A stateful persona; how the session runs may stand beside it."""
    beside = {"personaId": UUID, "enableAudioPassthrough": True, "maxSessionLengthSeconds": 60}
    assert PersonaConfigSchema().load({"persona_id": UUID}) == {"personaId": UUID}
    assert PersonaConfigSchema().load(beside) == beside


@pytest.mark.parametrize("other", ["name", "systemPrompt", "voiceId", "llmId"])
def test_persona_id_mixed_with_inline_fields_is_refused(other: str) -> None:
    """The mix gives a legacy token, which Anam's SDKs refuse."""
    found = messages({"personaId": UUID, other: PERSONA[other]})
    assert list(found) == [other]
    assert "legacy" in found[other][0]


WRONG: list[tuple[str, list[Any]]] = [
    ("personaId", ["x", "", UUID + "0", None, 5]),
    ("name", ["", "  ", "x" * 256, None, 5, b"Alex", "\ud800"]),
    ("avatarId", ["alex", UUID[:-1], UUID.replace("-", ""), f"{UUID}\n", None]),
    ("voiceId", ["", "x"]),
    ("llmId", ["", "lower_case", "AB", "1ABC", "A" * 65, None]),
    ("avatarModel", ["", " ", 3, None]),
    ("systemPrompt", [None, 5, ["x"], b"prompt", "\udfff"]),
    ("maxSessionLengthSeconds", [0, -1, 0.5, "60", True, None, float("nan"), float("inf")]),
    ("maxSessionLengthSeconds", [10**400]),
    ("skipGreeting", ["yes", 1, 0, None]),
    ("uninterruptibleGreeting", ["true"]),
    ("initialMessage", [5, b"x", "\ud800"]),
    ("languageCode", ["", "e", "x" * 17, None]),
    ("voiceDetectionOptions", [[], "x", None, {1: 2}]),
    ("voiceGenerationOptions", [{"speed": float("nan")}, {"speed": {1, 2}}, {"a": {1: 2, "b": 3}}]),
    ("directorNotes", ["x", {"expressivity": float("inf")}, {"x": b"bytes"}]),
    ("tools", [{}, "x", ["x"], [{"when": object()}], None]),
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
    ("name", "x" * 255),
    ("name", "Zoë 🦜"),
    ("maxSessionLengthSeconds", 60),
    ("maxSessionLengthSeconds", 90.5),
    ("initialMessage", None),
    ("initialMessage", "Hello"),
    ("languageCode", "en"),
    ("voiceGenerationOptions", {"speed": 1.1, "deep": {"er": [1, None, "x"]}}),
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
    found = messages(broken, PersonaConfigSchema(system_prompt_max_length=1))
    assert set(found) == {"avatarId", "llmId", "skipGreeting", "systemPrompt"}
    assert "SENTINEL" not in str(found)


@pytest.mark.parametrize("data", [None, [], "x", 5, b"{}"], ids=repr)
@pytest.mark.parametrize("schema", [PersonaConfigSchema(), SessionOptionsSchema()])
def test_what_is_no_object_is_refused(schema: Schema, data: Any) -> None:
    """A list or a text in the place of a config is an error, not an exception."""
    assert messages(data, schema)["_schema"] == ["Invalid input type."]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("videoWidth", 0),
        ("videoWidth", "720"),
        ("videoHeight", 7.5),
        ("videoQuality", None),
        ("sessionReplay", True),
        ("egress", {"x": float("nan")}),
        ("showAIAvatarDisclosure", "yes"),
        ("unheardOf", 1),
    ],
)
def test_a_wrong_session_option_is_refused(option: str, value: Any) -> None:
    """The same strictness as for persona configs."""
    assert list(messages({option: value}, SessionOptionsSchema())) == [option]


BROWSER: list[tuple[Schema, dict[str, Any], str]] = [
    (TokenRequestSchema(), {"personaType": ""}, "personaType"),
    (TokenRequestSchema(), {"personaType": "x" * 101}, "personaType"),
    (TokenRequestSchema(), {"personaType": None}, "personaType"),
    (TokenRequestSchema(), {"persona_type": "x"}, "persona_type"),
    (TokenRequestSchema(), {"slot": ""}, "slot"),
    (TokenRequestSchema(), {"slot": "x" * 65}, "slot"),
    (TokenRequestSchema(), {"slot": 5}, "slot"),
    (TokenRequestSchema(), {"overrides": []}, "overrides"),
    (TokenRequestSchema(), {"overrides": None}, "overrides"),
    (TokenRequestSchema(), {"refused": "x" * 15}, "refused"),
    (TokenRequestSchema(), {"refused": "x" * 17}, "refused"),
    (TokenRequestSchema(), {"systemPrompt": PROMPT}, "systemPrompt"),
    (SessionReportSchema(), {"tokenId": "x" * 16}, "sessionId"),
    (SessionReportSchema(), {"sessionId": "s"}, "tokenId"),
    (SessionReportSchema(), {"tokenId": "x" * 16, "sessionId": "s" * 65}, "sessionId"),
    (SessionReportSchema(), {"tokenId": "x", "sessionId": "s"}, "tokenId"),
    (ValidateRequestSchema(), {}, "sessionToken"),
    (ValidateRequestSchema(), {"sessionToken": "x" * 8193}, "sessionToken"),
]


@pytest.mark.parametrize(
    ("schema", "data", "field"), BROWSER, ids=[f"{f} {str(d)[:40]}" for _, d, f in BROWSER]
)
def test_what_a_browser_may_not_send_is_refused(
    schema: Schema, data: dict[str, Any], field: str
) -> None:
    """Unknown fields and bad lengths: the answer names the field and no value."""
    found = messages(data, schema)
    assert list(found) == [field]
    assert "SENTINEL" not in str(found)


def test_what_a_browser_may_send_is_loaded() -> None:
    """All fields are optional; overrides default to none."""
    assert TokenRequestSchema().load({}) == {"overrides": {}}
    given = {"personaType": "a", "slot": "s", "overrides": {"x": 1}, "refused": "r" * 16}
    assert TokenRequestSchema().load(given) == {
        "persona_type": "a",
        "slot": "s",
        "overrides": {"x": 1},
        "refused": "r" * 16,
    }
    report = {"tokenId": "t" * 16, "sessionId": "s"}
    assert SessionReportSchema().load(report) == {"token_id": "t" * 16, "session_id": "s"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*ALL_FIELDS, *ALL_FIELDS.values()]) | st.text(), JSON))
def test_any_json_object_is_loaded_or_refused(data: dict[str, Any]) -> None:
    """Nothing but ValidationError ever comes out."""
    try:
        loaded = PersonaConfigSchema(partial=True).load(data)
    except ValidationError:
        return
    assert set(loaded) <= set(ALL_FIELDS)
