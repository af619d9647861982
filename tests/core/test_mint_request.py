"""The whole body of a mint: session options, what JSON can carry, and late values."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import Schema

from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.core.schemas.session_options import SessionOptionsSchema
from flask_anam.errors import PersonaWarning
from flask_anam.web.schemas import TokenRequestSchema

from .conftest import PERSONA, messages


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("videoWidth", 0),
        ("videoWidth", "720"),
        ("videoHeight", 7.5),
        ("videoQuality", None),
        ("sessionReplay", True),
        ("egress", {"x": float("nan")}),
        ("egress", {"mode": "daily"}),
        ("egress", {"mode": "sip", "daily": {"roomUrl": "https://x.daily.co/r"}}),
        ("egress", {"mode": "daily", "daily": {}}),
        ("egress", {"mode": "daily", "daily": {"roomUrl": "room"}}),
        ("region", " "),
        ("regionPolicy", "always"),
        ("videoQuality", "low"),
        ("showAIAvatarDisclosure", "yes"),
        ("unheardOf", 1),
    ],
)
def test_a_wrong_session_option_is_refused(option: str, value: Any) -> None:
    """The same strictness as for persona configs."""
    rest = {"videoWidth": {"videoHeight": 1}, "videoHeight": {"videoWidth": 1}}.get(option, {})
    assert list(messages({**rest, option: value}, SessionOptionsSchema())) == [option]


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"videoWidth": 1152}, "videoHeight"),
        ({"videoHeight": 768}, "videoWidth"),
        ({"regionPolicy": "strict"}, "region"),
    ],
    ids=str,
)
def test_some_session_options_need_another_one(options: dict[str, Any], missing: str) -> None:
    """Width and height, and the region of a strict policy."""
    assert list(messages(options, SessionOptionsSchema())) == [missing]


TO_DAILY = {"mode": "daily", "daily": {"roomUrl": "https://x.daily.co/r"}}
BODIES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {"egress": TO_DAILY}, False),
    ({"enableAudioPassthrough": False}, {"egress": TO_DAILY}, False),
    ({"enableAudioPassthrough": True}, {"egress": TO_DAILY}, True),
    ({}, {"videoWidth": 720, "videoHeight": 480}, True),
    ({}, {"videoWidth": 721, "videoHeight": 480}, False),
    ({"avatarModel": "cara-3"}, {"videoWidth": 1152, "videoHeight": 768}, False),
    ({"avatarModel": "cara-4"}, {"videoWidth": 1152, "videoHeight": 768}, True),
    ({"avatarModel": "cara-4"}, {"videoWidth": 720, "videoHeight": 480}, False),
]


@pytest.mark.parametrize(("more", "options", "good"), BODIES, ids=str)
def test_config_and_options_must_go_together(
    more: dict[str, Any], options: dict[str, Any], good: bool
) -> None:
    """Egress needs the audio passed through; a size must be one of the model's."""
    body = {"personaConfig": {**PERSONA, **more}, "sessionOptions": options}
    if good:
        assert MintRequestSchema().load(body) == body
    else:
        assert list(messages(body, MintRequestSchema())) == ["sessionOptions"]


def test_director_notes_on_an_older_model_are_warned_of() -> None:
    """Anam takes and ignores them."""
    config = {**PERSONA, "avatarModel": "cara-3", "directorNotes": {"expressivity": 1}}
    with pytest.warns(PersonaWarning, match="directorNotes are ignored"):
        MintRequestSchema().load({"personaConfig": config})


NOT_JSON: list[Any] = [float("nan"), {1, 2}, b"x", object(), "\ud800", {"\ud800": 1}]
NOT_JSON += [{1: 1, "b": 2}, [float("inf")]]


def in_tool(more: dict[str, Any]) -> dict[str, Any]:
    """Return a body whose persona has a tool with more fields."""
    tool = {"type": "client", "name": "t", **more}
    return {"personaConfig": {**PERSONA, "tools": [tool]}}


PLACES: list[tuple[str, Schema]] = [
    ("parameters", MintRequestSchema()),
    ("queryParameters", MintRequestSchema()),
    ("unheardOf", MintRequestSchema()),
    ("environment", MintRequestSchema()),
    ("overrides", TokenRequestSchema()),
]
in_places = pytest.mark.parametrize(("place", "schema"), PLACES, ids=[name for name, _ in PLACES])


def put(place: str, value: object) -> dict[str, Any]:
    """Return a body with a value inside an object that is passed on unseen."""
    if place == "overrides":
        return {"overrides": {"x": value}}
    if place == "environment":
        return {"personaConfig": PERSONA, "environment": {"x": value}}
    return in_tool({place: {"x": value}})


@in_places
@pytest.mark.parametrize("value", NOT_JSON, ids=[str(number) for number in range(len(NOT_JSON))])
def test_what_json_cannot_carry_is_refused(place: str, schema: Schema, value: Any) -> None:
    """In every object that is passed on unseen, however deep."""
    for inside in (value, [value], {"deep": [{"er": value}]}):
        found = messages(put(place, inside), schema)
        assert "['Cannot be written as JSON.']" in str(found)


@in_places
def test_what_is_nested_without_end_is_refused(place: str, schema: Schema) -> None:
    """A value that holds itself, or one that is deeper than the stack."""
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    for value in (loop, deep):
        assert "Cannot be written as JSON" in str(messages(put(place, value), schema))


def test_late_values_pass_unchecked() -> None:
    """A callable stands for a value that is known, and checked, when a token is minted."""

    def late() -> str:
        return "known later"

    for place in ("parameters", "unheardOf", "headers"):
        body = in_tool({place: {"x": late}})
        assert MintRequestSchema().load(body) == body
    for field in PERSONA:
        assert PersonaConfigSchema().load({**PERSONA, field: late})[field] is late
    for part in ("personaConfig", "sessionOptions", "environment", "clientLabel"):
        body = {"personaConfig": PERSONA, part: late}
        assert MintRequestSchema().load(body) == body
    sized = {"personaConfig": PERSONA, "sessionOptions": {"videoWidth": late, "videoHeight": 480}}
    assert MintRequestSchema().load(sized) == sized


@pytest.mark.parametrize(
    "headers",
    [[], "x", {"X": 1}, {1: "x"}, {"\ud800": "x"}, {"X": "\ud800"}, {"X": None}],
    ids=ascii,
)
def test_headers_of_a_tool_are_text(headers: Any) -> None:
    """Names and values."""
    found = messages(in_tool({"headers": headers}), MintRequestSchema())
    assert list(found["personaConfig"]["tools"][0]) == ["headers"]


def test_the_schema_of_a_tool_has_a_size() -> None:
    """10,000 bytes of UTF-8, as Anam says; not characters."""
    fits = {"x": "é" * 4990}
    assert MintRequestSchema().load(in_tool({"parameters": fits}))
    found = messages(in_tool({"parameters": {"x": "é" * 5000}}), MintRequestSchema())
    assert "at most 10000 are allowed" in str(found)
