"""What a developer is told about a wrong persona, at start-up and at request time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hosts import ADA, PERSONA, PROMPT, TOKEN_PATH, client_of, make_app

from flask_anam import ConfigError, FlaskAnam, PersonaWarning
from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api.catalog import PERSONA_ID

ROOM = {"mode": "daily", "daily": {"roomUrl": "https://x.daily.co/r"}}
SWITCH = 'If Anam has added it since, set ANAM_UNKNOWN_VALUES = "warn".'
MODELS = "cara-3, cara-4, cara-4-latest"
LARGE = {"a": "é" * 5000}


def tool(**fields: Any) -> dict[str, Any]:
    """Return a change that gives a persona one tool."""
    return {"tools": [{"type": "client", "name": "go", **fields}]}


def session(**options: Any) -> dict[str, Any]:
    """Return a change that gives a persona session options."""
    return {"sessionOptions": options}


#: A change of the persona, and what start-up says of it.
TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "typing error": ({"voiceld": "x"}, "voiceld: Unknown field. Did you mean voiceId?"),
    "snake typing error": (
        {"sytem_prompt": "x"},
        "sytem_prompt: Unknown field. Did you mean systemPrompt?",
    ),
    "our own key": ({"permision": "x"}, "permision: Unknown field. Did you mean permission?"),
    "wrong place": (
        {"endOfSpeechSensitivity": 1},
        "endOfSpeechSensitivity: Unknown field here. It belongs in voiceDetectionOptions.",
    ),
    "wrong place of options": (
        {"videoQuality": "high"},
        "videoQuality: Unknown field here. It belongs in sessionOptions.",
    ),
    "range": (
        {"voiceDetectionOptions": {"endOfSpeechSensitivity": 2}},
        "voiceDetectionOptions.endOfSpeechSensitivity: Must be between 0 and 1, got 2.",
    ),
    "type": ({"skipGreeting": "yes"}, "skipGreeting: Must be true or false, got a string of 3"),
    "null": ({"languageCode": None}, "languageCode: Must not be null. Leave the field out"),
    "list": ({"toolIds": "x"}, "toolIds: Must be a list, got a string of 1 character."),
    "object": ({"directorNotes": 5}, "directorNotes: Must be an object, got the number 5."),
    "enum": (
        {"avatarModel": "cara4"},
        (
            f"avatarModel: Must be one of {MODELS}, got a string of 5 characters. "
            f"Did you mean cara-4? {SWITCH}"
        ),
    ),
    "nested enum": ({"directorNotes": {"presetStyle": "warn"}}, f"Did you mean warm? {SWITCH}"),
    "emotion": ({"voiceGenerationOptions": {"emotion": "happy"}}, SWITCH),
    "id": ({"avatarId": "liv"}, "avatarId: Not a UUID but a string of 3 characters. Copy the id"),
    "language": ({"languageCode": "english"}, "languageCode: Must be an ISO 639-1 code of two"),
    "prompt": (
        {"systemPrompt": "x" * 2001},
        "systemPrompt: Has 2001 characters; at most 2000 are allowed. See ANAM_SYSTEM_PROMPT_MAX",
    ),
    "mixed voices": (
        {"voiceGenerationOptions": {"stability": 1, "volume": 1}},
        "voiceGenerationOptions: Mixes options of different kinds of voice: stability is of ",
    ),
    "speed of a voice": (
        {"voiceGenerationOptions": {"emotion": "calm", "speed": 1.6}},
        "voiceGenerationOptions.speed: Must be 0.6 to 1.5 for Cartesia Sonic-3, got 1.6.",
    ),
    "two styles": (
        {"directorNotes": {"presetStyle": "sad", "customStylePrompt": "x"}},
        "directorNotes.presetStyle: presetStyle and customStylePrompt exclude each other",
    ),
    "kind of tool": (tool(type="clint"), "tools.0.type: Must be one of client, server, system"),
    "tool description": (tool(description="x" * 1025), "tools.0.description: Has 1025 characters"),
    "tool size": (
        tool(parameters=LARGE),
        "tools.0.parameters: Takes 10008 bytes as JSON; at most 10000 are allowed. Create",
    ),
    "tool without subtype": (tool(type="server"), "tools.0.subtype: A server tool needs it"),
    "tool header": (tool(headers={"X": 5}), "tools.0.headers.X: Must be a string, got the number"),
    "tool url": (tool(url="example.com"), "tools.0.url: Must be a URL such as https://"),
    "twin tools": (
        {"tools": [{"type": "client", "name": "a"}] * 2},
        "tools.1.name: Another tool has this name already.",
    ),
    "one side": (
        session(videoWidth=720),
        "sessionOptions.videoHeight: Give videoWidth and videoHeight together.",
    ),
    "size of the model": (
        {"avatarModel": "cara-3", **session(videoWidth=1152, videoHeight=768)},
        "sessionOptions.videoWidth: cara-3 supports 720x480, not 1152x768.",
    ),
    "egress": (
        session(egress=ROOM),
        "sessionOptions.egress: Needs enableAudioPassthrough: true in the persona config.",
    ),
    "region": (
        session(regionPolicy="strict"),
        "sessionOptions.region: Missing: the region policy strict needs it.",
    ),
    "legacy by no LLM": ({"llmId": ...}, 'llmId: Missing. Without an LLM Anam mints a "legacy"'),
    "legacy by a mix": ({"personaId": PERSONA_ID}, "systemPrompt: Not together with personaId"),
    "twice": ({"avatar_id": PERSONA["avatarId"]}, "avatarId: Given twice, as avatarId and in"),
    "retired": ({"personality": "x"}, "personality: No longer supported. Write it into systemP"),
    "preset": ({"personaPreset": "x"}, "personaPreset: No longer supported. Name the avatarId"),
    "fillers": ({"filler_phrases": True}, "filler_phrases: No longer supported. Write into sys"),
    "no JSON": ({"environment": {"a": [1, {2}]}}, "environment.a.1: Cannot be written as JSON."),
    "not a number": ({"environment": {"a": float("nan")}}, "environment.a: Cannot be written as"),
}


@pytest.mark.parametrize(("change", "expected"), TOLD.values(), ids=TOLD)
def test_start_up_names_field_rule_and_cure(
    sandbox: Sandbox, change: dict[str, Any], expected: str
) -> None:
    """A static persona with a mistake stops the app; the message never quotes its prompt."""
    changed = {**PERSONA, **change}
    entry = {name: value for name, value in changed.items() if value is not ...}
    with pytest.raises(ConfigError) as caught:
        make_app(sandbox, ANAM_PERSONAS={"support": entry})
    text = caught.value.text
    assert text.startswith("Persona 'support' is not valid:")
    assert expected in text
    assert PROMPT not in text
    assert "xxxx" not in text


def test_several_mistakes_are_told_at_once_line_by_line(sandbox: Sandbox) -> None:
    """Nobody has to start the app once for each mistake."""
    entry = {**PERSONA, "avatarId": 1, "voiceld": "x", "personality": "x"}
    with pytest.raises(ConfigError) as caught:
        make_app(sandbox, ANAM_PERSONAS={"support": entry})
    first, *lines = caught.value.text.splitlines()
    assert first == "Persona 'support' is not valid:"
    assert sorted(line.split(":")[0].strip() for line in lines) == [
        *("avatarId", "personality", "voiceld"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [("brainType", "llmId", PERSONA["llmId"]), ("brain_type", "llmId", PERSONA["llmId"])],
)
def test_a_deprecated_name_is_translated_with_a_warning(
    sandbox: Sandbox, old: str, new: str, value: str
) -> None:
    """The replacement is named, and Anam gets the new name."""
    entry = {**{k: v for k, v in PERSONA.items() if k != new}, old: value}
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated: use {new}"):
        app = make_app(sandbox, ANAM_PERSONAS={"support": entry})
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).status_code == 200
    assert (sandbox.ledger.mints[0].persona_config or {})[new] == value


def test_the_old_name_of_a_persona_id_is_translated(sandbox: Sandbox) -> None:
    """`id` of older docs is personaId today."""
    with pytest.warns(DeprecationWarning, match="Persona 'support': id is deprecated"):
        app = make_app(sandbox, ANAM_PERSONAS={"support": {"id": PERSONA_ID}})
    client_of(app, ADA).post(TOKEN_PATH, json={})
    assert sandbox.ledger.mints[0].persona_config == {"personaId": PERSONA_ID}


WARNED = {
    "unknown LLM name": ({"llmId": "CUSTOMER_CLIENT_V9"}, "llmId: CUSTOMER_CLIENT_V9 is not a"),
    "director notes": (
        {"avatarModel": "cara-3", "directorNotes": {"presetStyle": "warm"}},
        "directorNotes are ignored by Anam with avatarModel cara-3; use cara-4.",
    ),
}


@pytest.mark.parametrize(("change", "expected"), WARNED.values(), ids=WARNED)
def test_what_may_not_do_what_it_says_is_warned_of_once(
    sandbox: Sandbox, change: dict[str, Any], expected: str
) -> None:
    """Accepted, sent, and said at start-up with the name of the persona."""
    anam = FlaskAnam()
    anam.add_persona("p", {**PERSONA, **change})
    with pytest.warns(PersonaWarning, match=expected) as caught:
        app = make_app(sandbox, anam=anam, ANAM_PERSONAS={})
    assert [str(warning.message).startswith("Persona 'p': ") for warning in caught] == [True]
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).status_code == 200


def _raising(user: object) -> Any:
    raise KeyError(PROMPT)


def _looped(user: object) -> Any:
    loop: dict[str, Any] = {**PERSONA}
    loop["environment"] = loop
    return loop


NONSENSE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "raises": (_raising, "its callable raised KeyError at test_persona_errors.py, line"),
    "none": (lambda user: None, "must return a persona config (a mapping), got NoneType"),
    "text": (lambda user: PROMPT, "got str"),
    "list": (lambda user: [PERSONA], "got list"),
    "wrong": (lambda user: {**PERSONA, "name": 5}, "name: Must be a string, got the number 5."),
    "empty": (lambda user: {}, "name: Missing."),
    "odd names": (lambda user: {**PERSONA, 7: 1, None: 2}, "7: Unknown field."),
    "no JSON": (lambda user: {**PERSONA, "environment": {"a": object()}}, "environment.a: Cannot"),
    "no options": (lambda user: {**PERSONA, "sessionOptions": []}, "sessionOptions: Must be an"),
    "late nonsense": (lambda user: {**PERSONA, "name": lambda: lambda: 1}, "name: Cannot be"),
    "late list": (lambda user: {**PERSONA, "sessionOptions": lambda: 7}, "sessionOptions: Must"),
    "late error": (lambda user: {**PERSONA, "name": lambda: 1 / 0}, "raised TypeError|ZeroDiv"),
    "loop": (_looped, "raised RecursionError"),
    "arguments": (dict.copy, "raised TypeError"),
}


@pytest.mark.parametrize(("source", "expected"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_of_a_callable_is_persona_invalid(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, source: Callable[[Any], Any], expected: str
) -> None:
    """JSON with a stable code, never a 500 page; the log says what is wrong."""
    anam = FlaskAnam()
    anam.add_persona("p", source)
    app = make_app(sandbox, anam=anam, ANAM_PERSONAS={})
    answer = client_of(app, ADA).post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["code"]) == (500, "persona_invalid")
    assert any(text in logged.text for text in expected.split("|"))
    assert PROMPT not in logged.text + answer.text
    assert sandbox.ledger.requests == ()


def test_legacy_tokens_are_refused_at_mint_too(sandbox: Sandbox) -> None:
    """Should Anam mint one all the same, the browser never sees it and the cure is told."""
    sandbox.fail_next(200, json={"sessionToken": sandbox.issue_token({}, type="legacy")})
    answer = client_of(make_app(sandbox), ADA).post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["code"]) == (502, "anam_rejected")
    assert 'type "legacy"' in answer.get_json()["error"]
    assert "llmId" in answer.get_json()["error"]


DECLARATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown fallback": ({"fallback": "suport"}, "'suport', which is not a persona (known: other"),
    "near fallback": ({"fallback": "suport"}, "Did you mean support?"),
    "own fallback": ({"fallback": "support"}, "'support' falls back to itself."),
    "guarded fallback": ({"fallback": "vip"}, "needs the permission 'vip:talk'"),
    "override": ({"overrides": ["languageCod"]}, "Did you mean languageCode?"),
    "override of the id": ({"overrides": ["personaId"]}, "not a field that a browser could set"),
    "bounds": ({"overrides": {"languageCode": "de"}}, "must be True, a list of allowed values"),
    "api key": ({"apiKey": ""}, "api_key of persona 'support' must be a non-empty ASCII string"),
    "api key callable": ({"apiKey": lambda first: ""}, "must take no arguments, or persona type"),
    "label": ({"label": ""}, "The label of persona 'support' must be a non-empty string."),
}


@pytest.mark.parametrize(("change", "expected"), DECLARATIONS.values(), ids=DECLARATIONS)
def test_wrong_declarations_stop_the_app(
    sandbox: Sandbox, change: dict[str, Any], expected: str
) -> None:
    """What is about a persona is checked as strictly as what is sent."""
    others = {"other": PERSONA, "vip": {**PERSONA, "permission": "vip:talk"}}
    with pytest.raises(ConfigError) as caught:
        make_app(sandbox, ANAM_PERSONAS={"support": {**PERSONA, **change}, **others})
    assert expected in caught.value.text
