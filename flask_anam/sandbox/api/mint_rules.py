"""The rules for a mint and a start, as published. Source: Anam OpenAPI, July 2026.

Fields that the vendor does not publish are accepted, as the vendor does.
"""

import json
from collections.abc import Mapping
from typing import Any

from flask_anam.sandbox.api.validators import (
    Check,
    Path,
    Problems,
    both,
    flag,
    items,
    number,
    record,
    text,
    url,
)

UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
#: Largest inline tool schema, in bytes of UTF-8.
TOOL_SCHEMA_BYTES = 10_000

_LANDSCAPE, _PORTRAIT = (1152, 768), (768, 1152)
_VIDEO_SIZES = {
    "cara-3": [(720, 480)],
    "cara-4": [_LANDSCAPE, _PORTRAIT],
    "cara-4-latest": [_LANDSCAPE, _PORTRAIT],
}
_STYLES = ("happy", "warm", "playful", "supportive", "sad", "angry", "distressed")
_EMOTIONS = ("neutral", "calm", "angry", "content", "sad", "scared")
_PROMPT_FIELDS = ("systemPrompt", "initialMessage", "skipGreeting", "uninterruptibleGreeting")

_VOICE_DETECTION = record(
    {
        "endOfSpeechSensitivity": number(0, 1),
        "silenceBeforeSkipTurnSeconds": number(0, 900),
        "silenceBeforeSessionEndSeconds": number(0, 7200),
        "silenceBeforeAutoEndTurnSeconds": number(0.5, 10),
        "speechEnhancementLevel": number(0, 1),
    }
)

#: The options of each voice provider; a request must fit one of them.
_VOICE_GENERATION: tuple[Mapping[str, Check], ...] = (
    {"stability": number(0, 1), "similarityBoost": number(0, 1), "speed": number(0.7, 1.2)},
    {
        "stability": number(0, 1),
        "similarityBoost": number(0, 1),
        "style": number(0, 1),
        "useSpeakerBoost": flag,
        "speed": number(0.7, 1.2),
        "model": text(),
    },
    {"volume": number(0.5, 2), "speed": number(0.6, 1.5), "emotion": text(choices=_EMOTIONS)},
    {"volume": number(0.5, 2), "speed": number(0.5, 2)},
)


def _voice_generation(value: Any, path: Path, problems: Problems) -> None:
    known = {name for fields in _VOICE_GENERATION for name in fields}
    used = known & set(value)
    candidates = [fields for fields in _VOICE_GENERATION if used <= set(fields)]
    if not candidates:
        problems.add(path, "Mixes the options of different voice providers.")
        return
    attempts: list[Problems] = []
    for fields in candidates:
        attempt = Problems()
        record(fields)(value, path, attempt)
        attempts.append(attempt)
    problems.found += min(attempts, key=lambda attempt: len(attempt.found)).found


def _one_style(value: Any, path: Path, problems: Problems) -> None:
    if "presetStyle" in value and "customStylePrompt" in value:
        problems.add(path, "presetStyle and customStylePrompt exclude each other.")


def _small_schema(value: Any, path: Path, problems: Problems) -> None:
    if not isinstance(value, dict):
        problems.add(path, "Must be an object.")
        return
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    size = len(written.encode("utf-8", "surrogatepass"))
    if size > TOOL_SCHEMA_BYTES:
        problems.add(path, f"Must take at most {TOOL_SCHEMA_BYTES} bytes, takes {size}.")


_ANY_TOOL: dict[str, Check] = {
    "type": text(choices=("client", "server", "system")),
    "name": text(),
    "description": text(longest=1024),
    "parameters": record({}),
}
_SCHEMAS: dict[str, Check] = {"parameters": _small_schema, "queryParameters": _small_schema}


def _tool_of_its_type(value: Any, path: Path, problems: Problems) -> None:
    if value["type"] == "server":
        subtype = {"subtype": text(choices=("knowledge", "webhook"))}
        record(subtype, required=["subtype"])(value, path, problems)
    if value["type"] == "client" or value.get("subtype") == "webhook":
        record(_SCHEMAS)(value, path, problems)


def _names_once(value: Any, path: Path, problems: Problems) -> None:
    seen = set()
    for index, tool in enumerate(value):
        if tool["name"] in seen:
            problems.add((*path, str(index), "name"), "Another tool has this name already.")
        seen.add(tool["name"])


_TOOL = both(record(_ANY_TOOL, required=["type", "name"]), _tool_of_its_type)

_PERSONA_CONFIG = record(
    {
        "personaId": text(),
        "name": text(),
        "avatarId": text(),
        "avatarModel": text(choices=tuple(_VIDEO_SIZES)),
        "voiceId": text(),
        "llmId": text(),
        "systemPrompt": text(),
        "maxSessionLengthSeconds": number(),
        "skipGreeting": flag,
        "uninterruptibleGreeting": flag,
        "initialMessage": text(nullable=True),
        "voiceDetectionOptions": _VOICE_DETECTION,
        "languageCode": text(pattern="[A-Za-z]{2}", form="an ISO 639-1 code of two letters"),
        "voiceGenerationOptions": both(record({}), _voice_generation),
        "directorNotes": both(
            record(
                {
                    "presetStyle": text(choices=_STYLES),
                    "customStylePrompt": text(longest=2000),
                    "expressivity": number(0, 1),
                }
            ),
            _one_style,
        ),
        "tools": both(items(_TOOL), _names_once),
        "toolIds": items(text(pattern=UUID, form="a UUID")),
        "enableAudioPassthrough": flag,
    }
)


def _egress_complete(value: Any, path: Path, problems: Problems) -> None:
    if "daily" not in value:
        problems.add((*path, "daily"), "Is required for the mode daily.")


def _both_sides(value: Any, path: Path, problems: Problems) -> None:
    if ("videoWidth" in value) != ("videoHeight" in value):
        problems.add(path, "Give videoWidth and videoHeight together, or neither.")


_DAILY = record({"roomUrl": url, "token": text(), "userName": text()}, required=["roomUrl"])
_EGRESS = record({"mode": text(choices=["daily"]), "daily": _DAILY}, required=["mode"])
_SESSION_OPTIONS = both(
    record(
        {
            "sessionReplay": record({"enableSessionReplay": flag}),
            "videoQuality": text(choices=("high", "auto")),
            "videoWidth": number(whole=True),
            "videoHeight": number(whole=True),
            "egress": both(_EGRESS, _egress_complete),
        }
    ),
    _both_sides,
)


def _options_fit_persona(value: Any, path: Path, problems: Problems) -> None:
    options, persona = value.get("sessionOptions", {}), value.get("personaConfig", {})
    if "egress" in options and persona.get("enableAudioPassthrough") is not True:
        message = "Needs personaConfig.enableAudioPassthrough to be true."
        problems.add((*path, "sessionOptions", "egress"), message)
    if "videoWidth" in options:
        model = persona.get("avatarModel")
        sizes = (
            _VIDEO_SIZES[model] if model else [s for all_ in _VIDEO_SIZES.values() for s in all_]
        )
        if (options["videoWidth"], options["videoHeight"]) not in sizes:
            names = ", ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))
            message = f"video_dimensions_not_supported: must be one of {names}."
            problems.add((*path, "sessionOptions", "videoWidth"), message)


def _has_persona(value: Any, path: Path, problems: Problems) -> None:
    if "personaConfig" not in value and "personaId" not in value:
        problems.add((*path, "personaConfig"), "Is required.")


_BODY = both(
    both(
        record(
            {
                "clientLabel": text(),
                "personaConfig": _PERSONA_CONFIG,
                "personaId": text(),
                "sessionOptions": _SESSION_OPTIONS,
                "environment": record({}),
                "clientMetadata": record({}),
            }
        ),
        _has_persona,
    ),
    _options_fit_persona,
)
_START_WITH_TOKEN = record({"clientMetadata": record({})})


def check_body(body: Any) -> Problems:
    """Return what is wrong with the body of a mint, or of a start with the API key."""
    problems = Problems()
    _BODY(body, (), problems)
    return problems


def check_start(body: Any) -> Problems:
    """Return what is wrong with the body of a start with a session token."""
    problems = Problems()
    _START_WITH_TOKEN(body, (), problems)
    return problems


def token_type(body: Mapping[str, Any]) -> str:
    """Return the `type` claim that a mint with this valid body gets.

    ``legacy`` tokens come from a persona without a language model, from a `personaId` outside
    `personaConfig`, and from one inside it that is mixed with a prompt or greeting. Source: field
    reports of the vendor's behaviour; the OpenAPI does not say.
    """
    persona = body.get("personaConfig", {})
    if "personaId" in body:
        return "legacy"
    if "personaId" in persona:
        return "legacy" if any(name in persona for name in _PROMPT_FIELDS) else "stateful"
    return "ephemeral" if "llmId" in persona else "legacy"
