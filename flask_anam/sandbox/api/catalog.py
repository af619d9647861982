"""Catalog of made-up avatars, voices, models, tools and one persona, with stable ids."""

import uuid
from typing import Any

#: Ids that the vendor's documentation uses in its examples. Source: Anam OpenAPI, July 2026.
AVATAR_ID = "071b0286-4cce-4808-bee2-e642f1062de3"
VOICE_ID = "de23e340-1416-4dd8-977d-065a7ca11697"
LLM_ID = "a7cf662c-2ace-4de1-a21e-ef0fbf144bb7"
#: Ids from the vendor's page on session tokens, and another default model.
OTHER_AVATAR_ID = "30fa96d0-26c4-4e55-94a0-517025942e18"
OTHER_VOICE_ID = "6bfbe25a-979d-40f3-a92b-5394170af54b"
OTHER_LLM_ID = "0934d97d-0c3a-4f33-91b0-5e136a0ef466"
#: The one stored persona, and the one stored tool.
PERSONA_ID = "11111111-2222-4333-8444-555555555555"
TOOL_ID = "22222222-3333-4444-8555-666666666666"

#: A runtime persona that mints an ``ephemeral`` token.
EXAMPLE_PERSONA = {
    "name": "Cara",
    "avatarId": AVATAR_ID,
    "voiceId": VOICE_ID,
    "llmId": LLM_ID,
    "systemPrompt": "You are a helpful assistant in a test.",
}

Entry = dict[str, Any]

_FILES = "https://sandbox.invalid"
_TIMES = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z"}


def _stable_id(kind: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{_FILES}/{kind}/{name}"))


def _avatar(id_: str, name: str, variant: str, style: str, models: list[str]) -> Entry:
    return {
        "id": id_,
        "displayName": name,
        "variantName": variant,
        "imageUrl": f"{_FILES}/avatars/{id_}.png",
        "landscapeImageUrl": f"{_FILES}/avatars/{id_}-landscape.png",
        "portraitImageUrl": None,
        "videoUrl": None,
        "idleVideoUrl": None,
        **_TIMES,
        "createdByOrganizationId": None,
        "availableVersions": models,
        "activeVersion": models[0],
        "description": f"{name}, a made-up face of the sandbox, {variant}.",
        "displayTags": ["sandbox", variant],
        "renderStyle": style,
    }


def _voice(id_: str, name: str, provider: str, gender: str, country: str) -> Entry:
    return {
        "id": id_,
        "displayName": name,
        "provider": provider,
        "providerVoiceId": f"sandbox-{name.lower()}",
        "providerModelId": "sandbox-speech-1",
        "sampleUrl": f"{_FILES}/voices/{id_}.mp3",
        "previewSampleUrl": f"{_FILES}/voices/{id_}.mp3",
        "gender": gender,
        "country": country,
        "description": f"{name}, a made-up voice of the sandbox.",
        "displayTags": ["sandbox"],
        "isZdr": False,
        "createdByOrganizationId": None,
        **_TIMES,
    }


def _llm(id_: str, name: str, model: str, *, default: bool) -> Entry:
    return {
        "id": id_,
        "displayName": name,
        "description": f"{name}, a made-up model of the sandbox.",
        "llmFormat": "openai",
        "urls": [{"url": f"{_FILES}/v1/chat/completions", "region": "default"}],
        "modelName": model,
        "temperature": 0.7,
        "maxTokens": 1024,
        "deploymentName": None,
        "apiVersion": None,
        "metadata": {},
        "displayTags": ["sandbox"],
        "isDefault": default,
        "isGlobal": default,
        "isZdr": False,
        "reasoningEffort": "default",
        "reasoningFormat": "hidden",
        "createdByOrganizationId": None,
        **_TIMES,
    }


AVATARS: tuple[Entry, ...] = (
    _avatar(AVATAR_ID, "Liv", "home", "realistic", ["cara-4", "cara-3"]),
    _avatar(OTHER_AVATAR_ID, "Alex", "desk", "realistic", ["cara-3"]),
    _avatar(_stable_id("avatars", "Pixel"), "Pixel", "studio", "animated_3d", ["cara-4"]),
    _avatar(_stable_id("avatars", "Ink"), "Ink", "paper", "illustrated", ["cara-4"]),
)

VOICES: tuple[Entry, ...] = (
    _voice(VOICE_ID, "Lucy", "ELEVENLABS", "FEMALE", "GB"),
    _voice(OTHER_VOICE_ID, "Alex", "CARTESIA", "MALE", "US"),
    *(
        _voice(_stable_id("voices", name), name, "CARTESIA", gender, country)
        for name, gender, country in (
            ("Amara", "FEMALE", "NG"),
            ("Bruno", "MALE", "BR"),
            ("Chiara", "FEMALE", "IT"),
            ("Dev", "MALE", "IN"),
            ("Elif", "FEMALE", "TR"),
            ("Finn", "MALE", "IE"),
            ("Greta", "FEMALE", "DE"),
            ("Hana", "FEMALE", "JP"),
            ("Ivo", "MALE", "CZ"),
            ("Jules", "NEUTRAL", "FR"),
        )
    ),
)

LLMS: tuple[Entry, ...] = (
    _llm(LLM_ID, "Sandbox Large", "sandbox-large", default=True),
    _llm(OTHER_LLM_ID, "Sandbox Small", "sandbox-small", default=True),
    _llm(_stable_id("llms", "own"), "Our Own Model", "sandbox-own", default=False),
)

TOOLS: tuple[Entry, ...] = (
    {
        "id": TOOL_ID,
        "name": "open_calendar",
        "description": "Opens the calendar of the client's page.",
        "type": "CLIENT",
        "config": {"parameters": {"type": "object", "properties": {"date": {"type": "string"}}}},
        "disableInterruptions": False,
        **_TIMES,
        "usageCount": 1,
    },
)

_PERSONA_CORE: Entry = {
    "id": PERSONA_ID,
    "name": "Cara",
    "description": "A helpful assistant who lives in the sandbox.",
    "personaPreset": "",
    "avatar": AVATARS[0],
    "voice": VOICES[0],
    "voiceSpeed": 1,
    **_TIMES,
}

#: Personas as the list shows them.
PERSONA_SUMMARIES: tuple[Entry, ...] = (
    {**_PERSONA_CORE, "isDefaultPersona": False, "languageCode": "inherit"},
)

#: Personas as they are shown one by one.
PERSONAS: tuple[Entry, ...] = (
    {
        **_PERSONA_CORE,
        "avatarModel": "cara-4",
        "llmId": LLM_ID,
        "brain": {"personality": None, "systemPrompt": EXAMPLE_PERSONA["systemPrompt"]},
        "tools": list(TOOLS),
        "knowledge": [],
        "shareLinks": [],
        "primaryShareLink": None,
        "enableAudioPassthrough": False,
        "skipGreeting": False,
        "zeroDataRetention": False,
        "voiceDetectionOptions": None,
        "voiceGenerationOptions": None,
        "widgetConfig": {},
    },
)
