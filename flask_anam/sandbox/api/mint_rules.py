"""Validation rules for a mint and a start of a session. Source: Anam OpenAPI, July 2026.

Fields that the vendor does not publish are accepted, as the vendor does.
"""

import itertools
import json
from collections.abc import Mapping
from typing import Any

from flask_anam.sandbox.api.validators import (
    Path,
    ValidationErrors,
    Validator,
    array_of,
    boolean,
    chain,
    number,
    object_of,
    string,
    url,
)

UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
#: Largest inline tool schema, in bytes of UTF-8.
MAX_TOOL_SCHEMA = 10_000

#: Sizes of the picture by avatar model, in pixels.
_VIDEO_SIZES = {
    "cara-3": [(720, 480)],
    "cara-4": [(1152, 768), (768, 1152)],
    "cara-4-latest": [(1152, 768), (768, 1152)],
}
_STYLES = ("happy", "warm", "playful", "supportive", "sad", "angry", "distressed")
_EMOTIONS = ("neutral", "calm", "angry", "content", "sad", "scared")
_PROMPT_FIELDS = ("systemPrompt", "initialMessage", "skipGreeting", "uninterruptibleGreeting")

_VOICE_DETECTION = object_of(
    {
        "endOfSpeechSensitivity": number(0, 1),
        "silenceBeforeSkipTurnSeconds": number(0, 900),
        "silenceBeforeSessionEndSeconds": number(0, 7200),
        "silenceBeforeAutoEndTurnSeconds": number(0.5, 10),
        "speechEnhancementLevel": number(0, 1),
    }
)

#: The options of each voice provider; a request must match one of them.
_VOICE_GENERATION: tuple[Mapping[str, Validator], ...] = (
    {"stability": number(0, 1), "similarityBoost": number(0, 1), "speed": number(0.7, 1.2)},
    {
        "stability": number(0, 1),
        "similarityBoost": number(0, 1),
        "style": number(0, 1),
        "useSpeakerBoost": boolean,
        "speed": number(0.7, 1.2),
        "model": string(),
    },
    {"volume": number(0.5, 2), "speed": number(0.6, 1.5), "emotion": string(choices=_EMOTIONS)},
    {"volume": number(0.5, 2), "speed": number(0.5, 2)},
)


def _matches_one_provider(value: Any, path: Path, errors: ValidationErrors) -> None:
    known = {name for fields in _VOICE_GENERATION for name in fields}
    used = known & set(value)
    candidates = [fields for fields in _VOICE_GENERATION if used <= set(fields)]
    if not candidates:
        errors.add(path, "Mixes the options of different voice providers.")
        return
    attempts: list[ValidationErrors] = []
    for fields in candidates:
        attempt = ValidationErrors()
        object_of(fields)(value, path, attempt)
        attempts.append(attempt)
    errors.messages += min(attempts, key=lambda attempt: len(attempt.messages)).messages


def _has_one_style(value: Any, path: Path, errors: ValidationErrors) -> None:
    if "presetStyle" in value and "customStylePrompt" in value:
        errors.add(path, "presetStyle and customStylePrompt exclude each other.")


def _small_schema(value: Any, path: Path, errors: ValidationErrors) -> None:
    if not isinstance(value, dict):
        errors.add(path, "Must be an object.")
        return
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TOOL_SCHEMA:
        errors.add(path, f"Must take at most {MAX_TOOL_SCHEMA} bytes, takes {size}.")


_ANY_TOOL: dict[str, Validator] = {
    "type": string(choices=("client", "server", "system")),
    "name": string(),
    "description": string(max_length=1024),
    "parameters": object_of({}),
}
_TOOL_SCHEMAS: dict[str, Validator] = {
    "parameters": _small_schema,
    "queryParameters": _small_schema,
}


def _tool_of_its_type(value: Any, path: Path, errors: ValidationErrors) -> None:
    if value["type"] == "server":
        subtype = {"subtype": string(choices=("knowledge", "webhook"))}
        object_of(subtype, required=["subtype"])(value, path, errors)
    if value["type"] == "client" or value.get("subtype") == "webhook":
        object_of(_TOOL_SCHEMAS)(value, path, errors)


def _has_unique_names(value: Any, path: Path, errors: ValidationErrors) -> None:
    seen = set()
    for index, tool in enumerate(value):
        if tool["name"] in seen:
            errors.add((*path, str(index), "name"), "Another tool has this name already.")
        seen.add(tool["name"])


_TOOL = chain(object_of(_ANY_TOOL, required=["type", "name"]), _tool_of_its_type)

_PERSONA_CONFIG = object_of(
    {
        "personaId": string(),
        "name": string(),
        "avatarId": string(),
        "avatarModel": string(choices=tuple(_VIDEO_SIZES)),
        "voiceId": string(),
        "llmId": string(),
        "systemPrompt": string(),
        "maxSessionLengthSeconds": number(),
        "skipGreeting": boolean,
        "uninterruptibleGreeting": boolean,
        "initialMessage": string(nullable=True),
        "voiceDetectionOptions": _VOICE_DETECTION,
        "languageCode": string(
            pattern="[A-Za-z]{2}", description="an ISO 639-1 code of two letters"
        ),
        "voiceGenerationOptions": chain(object_of({}), _matches_one_provider),
        "directorNotes": chain(
            object_of(
                {
                    "presetStyle": string(choices=_STYLES),
                    "customStylePrompt": string(max_length=2000),
                    "expressivity": number(0, 1),
                }
            ),
            _has_one_style,
        ),
        "tools": chain(array_of(_TOOL), _has_unique_names),
        "toolIds": array_of(string(pattern=UUID, description="a UUID")),
        "enableAudioPassthrough": boolean,
    }
)


def _has_daily(value: Any, path: Path, errors: ValidationErrors) -> None:
    if "daily" not in value:
        errors.add((*path, "daily"), "Is required for the mode daily.")


def _has_both_sides(value: Any, path: Path, errors: ValidationErrors) -> None:
    if ("videoWidth" in value) != ("videoHeight" in value):
        errors.add(path, "Give videoWidth and videoHeight together, or neither.")


_DAILY = object_of({"roomUrl": url, "token": string(), "userName": string()}, required=["roomUrl"])
_EGRESS = object_of({"mode": string(choices=["daily"]), "daily": _DAILY}, required=["mode"])
_SESSION_OPTIONS = chain(
    object_of(
        {
            "sessionReplay": object_of({"enableSessionReplay": boolean}),
            "videoQuality": string(choices=("high", "auto")),
            "videoWidth": number(whole=True),
            "videoHeight": number(whole=True),
            "egress": chain(_EGRESS, _has_daily),
        }
    ),
    _has_both_sides,
)


def _has_persona(value: Any, path: Path, errors: ValidationErrors) -> None:
    if "personaConfig" not in value and "personaId" not in value:
        errors.add((*path, "personaConfig"), "Is required.")


def _options_match_persona(value: Any, path: Path, errors: ValidationErrors) -> None:
    options, persona = value.get("sessionOptions", {}), value.get("personaConfig", {})
    if "egress" in options and persona.get("enableAudioPassthrough") is not True:
        message = "Needs personaConfig.enableAudioPassthrough to be true."
        errors.add((*path, "sessionOptions", "egress"), message)
    if "videoWidth" in options:
        model = persona.get("avatarModel")
        sizes = _VIDEO_SIZES[model] if model else [*itertools.chain(*_VIDEO_SIZES.values())]
        if (options["videoWidth"], options["videoHeight"]) not in sizes:
            names = ", ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))
            message = f"video_dimensions_not_supported: must be one of {names}."
            errors.add((*path, "sessionOptions", "videoWidth"), message)


_BODY = chain(
    object_of(
        {
            "clientLabel": string(),
            "personaConfig": _PERSONA_CONFIG,
            "personaId": string(),
            "sessionOptions": _SESSION_OPTIONS,
            "environment": object_of({}),
            "clientMetadata": object_of({}),
        }
    ),
    _has_persona,
    _options_match_persona,
)
_START_WITH_TOKEN = object_of({"clientMetadata": object_of({})})


def validate_mint(body: Any) -> ValidationErrors:
    """Return what is wrong with the body of a mint, or of a start with the API key."""
    errors = ValidationErrors()
    _BODY(body, (), errors)
    return errors


def validate_start(body: Any) -> ValidationErrors:
    """Return what is wrong with the body of a start with a session token."""
    errors = ValidationErrors()
    _START_WITH_TOKEN(body, (), errors)
    return errors


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
