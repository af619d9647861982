"""The published rules for a mint: for each at least one body that fits and one that does not."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from flask_anam.sandbox.api.mint_rules import validate_mint, validate_start

_UUID = "00000000-0000-4000-8000-000000000000"


def _persona(**fields: Any) -> dict[str, Any]:
    return {"personaConfig": {"llmId": "l", **fields}}


def _options(*, model: str | None = None, **fields: Any) -> dict[str, Any]:
    persona = {"llmId": "l", "enableAudioPassthrough": True}
    extra = {} if model is None else {"avatarModel": model}
    return {"personaConfig": {**persona, **extra}, "sessionOptions": fields}


def _tool(**fields: Any) -> dict[str, Any]:
    return _persona(tools=[{"type": "client", "name": "open", **fields}])


def _schema(size: int, filler: str = "x") -> dict[str, Any]:
    """Return a JSON Schema that takes `size` bytes as compact UTF-8."""
    room = size - len('{"a":""}')
    return {"a": filler * (room // len(filler.encode()))}


def _egress(**fields: Any) -> dict[str, Any]:
    daily = {"roomUrl": "https://team.daily.co/room"}
    return _options(egress={"mode": "daily", "daily": daily, **fields})


_PERSONA_TEXTS = ("personaId", "name", "avatarId", "voiceId", "llmId", "systemPrompt")
_PERSONA_FLAGS = ("skipGreeting", "uninterruptibleGreeting", "enableAudioPassthrough")
_DETECTION = {
    "endOfSpeechSensitivity": (0, 1),
    "silenceBeforeSkipTurnSeconds": (0, 900),
    "silenceBeforeSessionEndSeconds": (0, 7200),
    "silenceBeforeAutoEndTurnSeconds": (0.5, 10),
    "speechEnhancementLevel": (0, 1),
}

_GOOD: list[dict[str, Any]] = [
    {"clientLabel": "", "personaConfig": {}},
    {"personaId": "p"},
    _persona(anything={"new": [1]}),
    *(_persona(**{name: ""}) for name in _PERSONA_TEXTS),
    *(_persona(**{name: False}) for name in _PERSONA_FLAGS),
    *(_persona(avatarModel=model) for model in ("cara-3", "cara-4", "cara-4-latest")),
    _persona(maxSessionLengthSeconds=600.5),
    _persona(maxSessionLengthSeconds=10**400),
    _persona(initialMessage=None),
    _persona(initialMessage=""),
    _persona(languageCode="fr"),
    *(
        _persona(voiceDetectionOptions={name: limit})
        for name, limits in _DETECTION.items()
        for limit in limits
    ),
    _persona(voiceGenerationOptions={}),
    _persona(voiceGenerationOptions={"stability": 0, "similarityBoost": 1, "speed": 0.7}),
    _persona(voiceGenerationOptions={"style": 1, "useSpeakerBoost": True, "model": "m"}),
    _persona(voiceGenerationOptions={"volume": 0.5, "speed": 1.5, "emotion": "scared"}),
    _persona(voiceGenerationOptions={"volume": 2, "speed": 2}),
    _persona(voiceGenerationOptions={"speed": 0.5, "unknown": 1}),
    _persona(directorNotes={"presetStyle": "warm", "expressivity": 0}),
    _persona(directorNotes={"customStylePrompt": "\U0001f600" * 2000, "expressivity": 1}),
    _persona(toolIds=[]),
    _persona(toolIds=[_UUID, _UUID.upper()]),
    _persona(tools=[]),
    _tool(description="d" * 1024, parameters=_schema(10_000)),
    _tool(parameters=_schema(10_000, "\u00e9")),
    _tool(parameters={"lonely": "\ud800"}),
    _persona(tools=[{"type": "system", "name": "s", "parameters": _schema(10_001)}]),
    _persona(tools=[{"type": "server", "subtype": "knowledge", "name": "k"}]),
    _persona(
        tools=[
            {"type": "client", "name": "one"},
            {"type": "server", "subtype": "webhook", "name": "two", "queryParameters": {}},
        ]
    ),
    _options(sessionReplay={"enableSessionReplay": False}),
    _options(videoQuality="high"),
    _options(videoQuality="auto"),
    _options(region="eu"),
    _options(videoWidth=720, videoHeight=480, model="cara-3"),
    _options(videoWidth=1152, videoHeight=768, model="cara-4"),
    _options(videoWidth=768, videoHeight=1152, model="cara-4-latest"),
    _options(videoWidth=720.0, videoHeight=480),
    _options(videoWidth=1152, videoHeight=768),
    _egress(),
    _egress(daily={"roomUrl": "https://d.daily.co/r", "token": "t", "userName": "u"}),
    {**_persona(), "environment": {"anything": 1}, "clientMetadata": {}},
]

#: Bodies that break one rule, each with the path of the message.
_BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "personaConfig"),
    ({"clientLabel": 1, **_persona()}, "clientLabel"),
    ({"personaConfig": None}, "personaConfig"),
    ({"personaConfig": []}, "personaConfig"),
    ({"personaId": 7}, "personaId"),
    ({**_persona(), "environment": "x"}, "environment"),
    ({**_persona(), "clientMetadata": 1}, "clientMetadata"),
    ({**_persona(), "sessionOptions": []}, "sessionOptions"),
    *((_persona(**{name: 1}), f"personaConfig.{name}") for name in _PERSONA_TEXTS),
    *((_persona(**{name: None}), f"personaConfig.{name}") for name in _PERSONA_TEXTS),
    *((_persona(**{name: "true"}), f"personaConfig.{name}") for name in _PERSONA_FLAGS),
    (_persona(avatarModel="cara-2"), "personaConfig.avatarModel"),
    (_persona(avatarModel=["cara-3"]), "personaConfig.avatarModel"),
    (_persona(maxSessionLengthSeconds="600"), "personaConfig.maxSessionLengthSeconds"),
    (_persona(maxSessionLengthSeconds=True), "personaConfig.maxSessionLengthSeconds"),
    (_persona(initialMessage=1), "personaConfig.initialMessage"),
    (_persona(languageCode="eng"), "personaConfig.languageCode"),
    (_persona(languageCode="e\n"), "personaConfig.languageCode"),
    (_persona(voiceDetectionOptions=1), "personaConfig.voiceDetectionOptions"),
    *(
        (
            _persona(voiceDetectionOptions={name: limit}),
            f"personaConfig.voiceDetectionOptions.{name}",
        )
        for name, (low, high) in _DETECTION.items()
        for limit in (low - 0.1, high + 0.1, "1")
    ),
    (_persona(voiceGenerationOptions=[]), "personaConfig.voiceGenerationOptions"),
    *(
        (_persona(voiceGenerationOptions=options), f"personaConfig.voiceGenerationOptions{field}")
        for options, field in (
            ({"speed": 2.1}, ".speed"),
            ({"stability": 0.5, "speed": 1.3}, ".speed"),
            ({"emotion": "neutral", "speed": 1.6}, ".speed"),
            ({"stability": 1.1}, ".stability"),
            ({"similarityBoost": -1}, ".similarityBoost"),
            ({"style": "x"}, ".style"),
            ({"useSpeakerBoost": 1}, ".useSpeakerBoost"),
            ({"model": 1}, ".model"),
            ({"volume": 0.4}, ".volume"),
            ({"emotion": "happy"}, ".emotion"),
            ({"stability": 0.5, "volume": 1}, ""),
        )
    ),
    (_persona(directorNotes="warm"), "personaConfig.directorNotes"),
    (_persona(directorNotes={"presetStyle": "cold"}), "personaConfig.directorNotes.presetStyle"),
    (
        _persona(directorNotes={"customStylePrompt": "x" * 2001}),
        "personaConfig.directorNotes.customStylePrompt",
    ),
    (_persona(directorNotes={"expressivity": 1.1}), "personaConfig.directorNotes.expressivity"),
    (
        _persona(directorNotes={"presetStyle": "sad", "customStylePrompt": "x"}),
        "personaConfig.directorNotes",
    ),
    (_persona(toolIds=_UUID), "personaConfig.toolIds"),
    (_persona(toolIds=[_UUID, "x"]), "personaConfig.toolIds.1"),
    (_persona(tools={}), "personaConfig.tools"),
    (_persona(tools=["x"]), "personaConfig.tools.0"),
    (_persona(tools=[{"type": "client"}]), "personaConfig.tools.0.name"),
    (_persona(tools=[{"name": "x"}]), "personaConfig.tools.0.type"),
    (_tool(type="CLIENT"), "personaConfig.tools.0.type"),
    (_tool(name=1), "personaConfig.tools.0.name"),
    (_tool(description="d" * 1025), "personaConfig.tools.0.description"),
    (_tool(parameters=[]), "personaConfig.tools.0.parameters"),
    (_tool(type="system", parameters="free"), "personaConfig.tools.0.parameters"),
    (_tool(parameters=_schema(10_001)), "personaConfig.tools.0.parameters"),
    (_tool(parameters=_schema(10_002, "\u00e9")), "personaConfig.tools.0.parameters"),
    (_tool(type="server"), "personaConfig.tools.0.subtype"),
    (_tool(type="server", subtype="rag"), "personaConfig.tools.0.subtype"),
    (
        _tool(type="server", subtype="webhook", queryParameters=_schema(10_001)),
        "personaConfig.tools.0.queryParameters",
    ),
    (
        _persona(tools=[{"type": "client", "name": "a"}, {"type": "system", "name": "a"}]),
        "personaConfig.tools.1.name",
    ),
    (_options(sessionReplay=True), "sessionOptions.sessionReplay"),
    (
        _options(sessionReplay={"enableSessionReplay": 1}),
        "sessionOptions.sessionReplay.enableSessionReplay",
    ),
    (_options(videoQuality="low"), "sessionOptions.videoQuality"),
    (_options(videoWidth=720), "sessionOptions"),
    (_options(videoHeight=480), "sessionOptions"),
    (_options(videoWidth=720.5, videoHeight=480), "sessionOptions.videoWidth"),
    (_options(videoWidth="720", videoHeight=480), "sessionOptions.videoWidth"),
    (_options(videoWidth=640, videoHeight=480), "sessionOptions.videoWidth"),
    (_options(videoWidth=1152, videoHeight=768, model="cara-3"), "sessionOptions.videoWidth"),
    (_options(videoWidth=720, videoHeight=480, model="cara-4"), "sessionOptions.videoWidth"),
    (_options(egress={}), "sessionOptions.egress.mode"),
    (_egress(mode="livekit"), "sessionOptions.egress.mode"),
    (_options(egress={"mode": "daily"}), "sessionOptions.egress.daily"),
    (_egress(daily={}), "sessionOptions.egress.daily.roomUrl"),
    (_egress(daily={"roomUrl": "room"}), "sessionOptions.egress.daily.roomUrl"),
    (_egress(daily={"roomUrl": "http://["}), "sessionOptions.egress.daily.roomUrl"),
    (
        _egress(daily={"roomUrl": "https://d.daily.co/r", "token": 1}),
        "sessionOptions.egress.daily.token",
    ),
    ({**_egress(), "personaConfig": {"llmId": "l"}}, "sessionOptions.egress"),
]


@pytest.mark.parametrize("body", _GOOD)
def test_a_body_within_the_rules_is_accepted(body: dict[str, Any]) -> None:
    """Limits themselves are still within, and unknown fields do no harm."""
    assert validate_mint(body).messages == []


@pytest.mark.parametrize(("body", "path"), _BAD)
def test_a_body_that_breaks_a_rule_is_refused_with_the_field(
    body: dict[str, Any], path: str
) -> None:
    """There is one message, at the field that is wrong."""
    problems = validate_mint(body)
    assert [".".join(where) for where, _ in problems.messages] == [path]
    node = problems.tree()
    for name in path.split("."):
        node = node[name]
    assert len(node["_errors"]) == 1
    assert problems.summary().startswith(f"{path}: ")


def test_all_mistakes_are_told_at_once(mint: Callable[..., requests.Response]) -> None:
    """The 400 has a message for people and a tree of details for programs."""
    answer = mint({"clientLabel": 1, "personaConfig": {"name": 1, "toolIds": ["x"]}})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "Invalid request body",
        "message": "clientLabel: Must be a string.",
        "details": {
            "_errors": [],
            "clientLabel": {"_errors": ["Must be a string."]},
            "personaConfig": {
                "_errors": [],
                "name": {"_errors": ["Must be a string."]},
                "toolIds": {"_errors": [], "0": {"_errors": ["Must be a UUID."]}},
            },
        },
    }


def test_a_start_with_a_token_looks_at_the_metadata_only() -> None:
    """The config came with the token, so a second one is ignored."""
    assert validate_start({"personaConfig": 1}).messages == []
    assert validate_start({"clientMetadata": []}).summary() == "clientMetadata: Must be an object."
