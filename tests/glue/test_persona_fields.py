"""What is declared reaches Anam exactly: every option group, both kinds, both spellings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hosts import ADA, PERSONA, TOKEN_PATH, client_of, make_app, mint_body

from flask_anam import PersonaWarning
from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api.catalog import PERSONA_ID, TOOL_ID

URL = "https://example.com/hook"
PARAMETERS = {"type": "object", "properties": {"zebra": {}, "alpha": {"type": "string"}}}

#: What Python writes, and what Anam must receive beside the persona config.
GROUPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "talk": (
        {
            "max_session_length_seconds": 600,
            "skip_greeting": False,
            "uninterruptible_greeting": True,
            "initial_message": None,
            "language_code": "de",
            "avatar_model": "cara-4",
        },
        {
            "maxSessionLengthSeconds": 600,
            "skipGreeting": False,
            "uninterruptibleGreeting": True,
            "initialMessage": None,
            "languageCode": "de",
            "avatarModel": "cara-4",
        },
    ),
    "voice detection": (
        {
            "voice_detection_options": {
                "speech_enhancement_level": 0.8,
                "end_of_speech_sensitivity": 0,
                "silence_before_skip_turn_seconds": 900,
                "silence_before_session_end_seconds": 60,
                "silence_before_auto_end_turn_seconds": 0.5,
            }
        },
        {
            "voiceDetectionOptions": {
                "speechEnhancementLevel": 0.8,
                "endOfSpeechSensitivity": 0,
                "silenceBeforeSkipTurnSeconds": 900,
                "silenceBeforeSessionEndSeconds": 60,
                "silenceBeforeAutoEndTurnSeconds": 0.5,
            }
        },
    ),
    "ElevenLabs V1": (
        {"voice_generation_options": {"speed": 0.7, "similarity_boost": 1, "stability": 0.5}},
        {"voiceGenerationOptions": {"speed": 0.7, "similarityBoost": 1, "stability": 0.5}},
    ),
    "ElevenLabs V2": (
        {"voice_generation_options": {"use_speaker_boost": False, "style": 0, "model": "m"}},
        {"voiceGenerationOptions": {"useSpeakerBoost": False, "style": 0, "model": "m"}},
    ),
    "Cartesia": (
        {"voice_generation_options": {"emotion": "calm", "volume": 2, "speed": 0.6}},
        {"voiceGenerationOptions": {"emotion": "calm", "volume": 2, "speed": 0.6}},
    ),
    "Fish Audio": (
        {"voice_generation_options": {"volume": 0.5, "speed": 2}},
        {"voiceGenerationOptions": {"volume": 0.5, "speed": 2}},
    ),
    "preset style": (
        {"director_notes": {"preset_style": "warm", "expressivity": 0.5}},
        {"directorNotes": {"presetStyle": "warm", "expressivity": 0.5}},
    ),
    "own style": (
        {"director_notes": {"custom_style_prompt": "calm"}},
        {"directorNotes": {"customStylePrompt": "calm"}},
    ),
    "client tool": (
        {"tools": [{"type": "client", "name": "go", "parameters": PARAMETERS}]},
        {"tools": [{"type": "client", "name": "go", "parameters": PARAMETERS}]},
    ),
    "knowledge tool": (
        {
            "tools": [
                {"type": "server", "subtype": "knowledge", "name": "k", "document_folder_ids": []}
            ]
        },
        {
            "tools": [
                {"type": "server", "subtype": "knowledge", "name": "k", "documentFolderIds": []}
            ]
        },
    ),
    "webhook tool": (
        {
            "tools": (
                {
                    "name": "w",
                    "subtype": "webhook",
                    "type": "server",
                    "url": URL,
                    "query_parameters": PARAMETERS,
                    "headers": {"X-b_c": "1"},
                },
            )
        },
        {
            "tools": [
                {
                    "name": "w",
                    "subtype": "webhook",
                    "type": "server",
                    "url": URL,
                    "queryParameters": PARAMETERS,
                    "headers": {"X-b_c": "1"},
                }
            ]
        },
    ),
    "system tool": (
        {"tools": [{"type": "system", "name": "end_call"}], "tool_ids": [TOOL_ID]},
        {"tools": [{"type": "system", "name": "end_call"}], "toolIds": [TOOL_ID]},
    ),
    "client LLM": ({"llm_id": "CUSTOMER_CLIENT_V1"}, {"llmId": "CUSTOMER_CLIENT_V1"}),
}
SNAKE = {
    "system_prompt": PERSONA["systemPrompt"],
    "avatar_id": PERSONA["avatarId"],
    "name": "Zoë",
    "llm_id": PERSONA["llmId"],
}
CAMEL = {
    "systemPrompt": PERSONA["systemPrompt"],
    "avatarId": PERSONA["avatarId"],
    "name": "Zoë",
    "llmId": PERSONA["llmId"],
}


def received(sandbox: Sandbox, entry: dict[str, Any], **config: Any) -> str:
    """Declare a persona, ask for a token, and return the JSON text that Anam got."""
    app = make_app(sandbox, ANAM_PERSONAS={"p": entry}, **config)
    answer = client_of(app, ADA).post(TOKEN_PATH, json={})
    assert answer.status_code == 200, answer.text
    return json.dumps(mint_body(sandbox))


@pytest.mark.parametrize(("written", "sent"), GROUPS.values(), ids=GROUPS)
def test_snake_case_arrives_in_camel_case_and_in_order(
    sandbox: Sandbox, written: dict[str, Any], sent: dict[str, Any]
) -> None:
    """The JSON text is equal: unset fields left out, nothing reordered, changed or lost."""
    entry = {**{k: v for k, v in SNAKE.items() if k not in written}, **written}
    wanted = {**{k: v for k, v in CAMEL.items() if k not in sent}, **sent}
    assert received(sandbox, entry) == json.dumps({"personaConfig": wanted})
    assert sandbox.ledger.mints[-1].type == "ephemeral"


@pytest.mark.parametrize(("_written", "sent"), GROUPS.values(), ids=GROUPS)
def test_camel_case_arrives_as_it_is(
    sandbox: Sandbox, _written: dict[str, Any], sent: dict[str, Any]
) -> None:
    """The vendor's own spelling gives the very same request."""
    wanted = {**{k: v for k, v in CAMEL.items() if k not in sent}, **sent}
    assert received(sandbox, wanted) == json.dumps({"personaConfig": wanted})


def test_a_stored_persona_is_sent_by_its_id(sandbox: Sandbox) -> None:
    """A stateful persona: the id inside the persona config, and a token of that type."""
    entry = {"persona_id": PERSONA_ID, "enable_audio_passthrough": True, "type": "stateful"}
    wanted = {"personaId": PERSONA_ID, "enableAudioPassthrough": True, "type": "stateful"}
    assert received(sandbox, entry) == json.dumps({"personaConfig": wanted})
    assert sandbox.ledger.mints[-1].type == "stateful"


SESSIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "replay": (
        {"session_replay": {"enable_session_replay": False}, "video_quality": "high"},
        {"sessionReplay": {"enableSessionReplay": False}, "videoQuality": "high"},
    ),
    "size": (
        {"video_height": 480, "video_width": 720},
        {"videoHeight": 480, "videoWidth": 720},
    ),
    "egress": (
        {"egress": {"mode": "daily", "daily": {"room_url": URL, "user_name": "A", "token": "t"}}},
        {"egress": {"mode": "daily", "daily": {"roomUrl": URL, "userName": "A", "token": "t"}}},
    ),
    "region": (
        {"region_policy": "strict", "region": "eu", "show_ai_avatar_disclosure": True},
        {"regionPolicy": "strict", "region": "eu", "showAIAvatarDisclosure": True},
    ),
}


@pytest.mark.parametrize(("written", "sent"), SESSIONS.values(), ids=SESSIONS)
def test_session_options_and_label_stand_beside_the_persona(
    sandbox: Sandbox, written: dict[str, Any], sent: dict[str, Any]
) -> None:
    """What is not of the persona is sent beside it; our own keys are not sent at all."""
    config = {**PERSONA, "enableAudioPassthrough": True}
    ours = {"label": "Help", "permission": "anam:metrics", "overrides": ["languageCode"]}
    entry = {**config, "client_label": "web", **ours, "session_options": written}
    wanted = {"personaConfig": config, "clientLabel": "web", "sessionOptions": sent}
    assert received(sandbox, entry) == json.dumps(wanted)
    assert str(sandbox.ledger.mints[-1].client_label).startswith("web.")


def test_an_environment_may_bring_the_llm(sandbox: Sandbox) -> None:
    """With an environment no llmId is needed, and what it holds is not touched."""
    environment = {"livekit_url": "wss://x", "nested": [{"b": 1, "a": None}]}
    config = {name: value for name, value in PERSONA.items() if name != "llmId"}
    app = make_app(sandbox, ANAM_PERSONAS={"p": {**config, "environment": environment}})
    assert app.extensions["anam"].registry.find("p")
    answer = client_of(app, ADA).post(TOKEN_PATH, json={})
    # The sandbox takes any persona without llmId for a legacy one, and is refused for that.
    assert answer.get_json()["code"] == "anam_rejected"
    sent = json.dumps(mint_body(sandbox))
    assert sent == json.dumps({"personaConfig": config, "environment": environment})


def test_an_unknown_value_is_sent_on_when_that_is_wanted(sandbox: Sandbox) -> None:
    """ANAM_UNKNOWN_VALUES = "warn" warns and leaves the judgement to Anam."""
    entry = {**PERSONA, "avatarModel": "cara-5"}
    with pytest.warns(PersonaWarning, match="Persona 'p': avatarModel: Must be one of cara-3"):
        app = make_app(sandbox, ANAM_PERSONAS={"p": entry}, ANAM_UNKNOWN_VALUES="warn")
    answer = client_of(app, ADA).post(TOKEN_PATH, json={})
    assert answer.get_json()["code"] == "anam_rejected"
    assert mint_body(sandbox) == {"personaConfig": entry}
