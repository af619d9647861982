"""Schemas of the nested options of a persona: voice detection and generation, notes, tools.

Source of names, types, ranges and lists: Anam's OpenAPI (July 2026).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, validates_schema

from flask_anam.core.schemas.base import VendorSchema
from flask_anam.core.schemas.fields import (
    Choice,
    FreeObject,
    MaxLength,
    StrictBoolean,
    StrictNumber,
    StrictString,
    camel,
    describe_value,
    doc,
    validator,
)
from flask_anam.core.schemas.secret import is_deferred

#: Bytes of UTF-8 that one inline tool schema may have at most, as compact JSON.
TOOL_SCHEMA_BYTES = 10_000
_SNAKE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")


def not_blank(value: str) -> str | None:
    """Return a message for a text without a visible character, else None."""
    return None if value.strip() else "Must not be blank."


def url(value: str) -> str | None:
    """Return a message for what is not an absolute URL, else None."""
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme and parts.netloc:
        return None
    return f"Must be a URL such as https://example.com/x, got {describe_value(value)}."


def _schema_size(value: Mapping[str, Any]) -> int | None:
    """Return the size of a tool's schema in bytes, or None when it is not valid JSON."""
    try:
        text = json.dumps(
            value,
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
            default=_deferred_text,
        )
        return len(text.encode())
    except (TypeError, ValueError, RecursionError):
        return None


def _deferred_text(value: object) -> str:
    if not is_deferred(value):
        raise TypeError
    return ""


def _writable(value: Mapping[str, Any]) -> str | None:
    return "Must be a JSON Schema of plain JSON." if _schema_size(value) is None else None


class VoiceDetectionOptionsSchema(VendorSchema):
    """Schema of the options for detecting the user's speech."""

    end_of_speech_sensitivity = StrictNumber(
        0, 1, **doc("How readily a pause counts as the end of what the user says.", 0.5)
    )
    silence_before_skip_turn_seconds = StrictNumber(
        0, 900, **doc("Seconds of silence after which the user's turn is skipped.", 5)
    )
    silence_before_session_end_seconds = StrictNumber(
        0, 7200, **doc("Seconds of silence after which the session ends.", 60)
    )
    silence_before_auto_end_turn_seconds = StrictNumber(
        0.5, 10, **doc("Seconds of silence after which the user's turn ends.", 5)
    )
    speech_enhancement_level = StrictNumber(
        0, 1, **doc("How much noise is removed from the user's speech; 0 for none.", 0.8)
    )


#: Kind of voice -> its options, with the range of each number.
VOICE_KINDS: dict[str, dict[str, tuple[float, float] | None]] = {
    "ElevenLabs V1": {"stability": (0, 1), "similarityBoost": (0, 1), "speed": (0.7, 1.2)},
    "ElevenLabs V2": {
        "stability": (0, 1),
        "similarityBoost": (0, 1),
        "style": (0, 1),
        "useSpeakerBoost": None,
        "speed": (0.7, 1.2),
        "model": None,
    },
    "Cartesia Sonic-3": {"volume": (0.5, 2), "speed": (0.6, 1.5), "emotion": None},
    "Fish Audio": {"volume": (0.5, 2), "speed": (0.5, 2)},
}


def voice_kinds(options: Mapping[str, Any]) -> list[str]:
    """Return the kinds of voice that have all these options."""
    return [kind for kind, known in VOICE_KINDS.items() if set(options) <= set(known)]


def _kinds_with(option: str) -> str:
    return " and ".join(kind for kind, known in VOICE_KINDS.items() if option in known)


class VoiceGenerationOptionsSchema(VendorSchema):
    """Schema of the options of a voice: those of one of four kinds of voice."""

    stability = StrictNumber(0, 1, **doc("How even the voice is; ElevenLabs.", 0.5))
    similarity_boost = StrictNumber(
        0, 1, **doc("How close the voice keeps to its original; ElevenLabs.", 0.75)
    )
    style = StrictNumber(0, 1, **doc("How strongly the original's style shows; ElevenLabs V2.", 0))
    use_speaker_boost = StrictBoolean(**doc("More likeness to the original; ElevenLabs V2.", True))
    model = StrictString(**doc("The id of the speech model; ElevenLabs V2.", "eleven_turbo_v2_5"))
    volume = StrictNumber(0.5, 2, **doc("Loudness as a factor; Cartesia and Fish Audio.", 1))
    emotion = Choice(
        ("neutral", "calm", "angry", "content", "sad", "scared"),
        **doc("The mood of the voice; Cartesia.", "calm"),
    )
    speed = StrictNumber(
        0.5,
        2,
        **doc(
            "Pace as a factor: 0.7 to 1.2 for ElevenLabs, 0.6 to 1.5 for Cartesia, 0.5 to 2 for "
            "Fish Audio.",
            1,
        ),
    )

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_kind(self, data: Mapping[str, Any], original: Any, **_kwargs: Any) -> None:
        given = self.given(original) & {field.data_key for field in self.load_fields.values()}
        kinds = voice_kinds(dict.fromkeys(given))
        if not kinds:
            text = "; ".join(f"{name} is of {_kinds_with(name)}" for name in sorted(given))
            raise ValidationError(f"Mixes options of different kinds of voice: {text}.")
        speed = data.get("speed")
        if isinstance(speed, int | float):
            self._check_speed(speed, kinds)

    @staticmethod
    def _check_speed(speed: float, kinds: list[str]) -> None:
        spans = {kind: VOICE_KINDS[kind]["speed"] for kind in kinds}
        if not any(span and span[0] <= speed <= span[1] for span in spans.values()):
            text = "; ".join(f"{s[0]:g} to {s[1]:g} for {kind}" for kind, s in spans.items() if s)
            raise ValidationError({"speed": [f"Must be {text}, got {speed!r}."]})


class DirectorNotesSchema(VendorSchema):
    """Schema of the director notes: how the avatar acts; Anam ignores them before Cara 4."""

    preset_style = Choice(
        ("happy", "warm", "playful", "supportive", "sad", "angry", "distressed"),
        **doc("A ready-made style; not together with customStylePrompt.", "warm"),
    )
    custom_style_prompt = StrictString(
        validate=MaxLength(2000),
        **doc("A style in your own words; not together with presetStyle.", "Calm, a slight nod"),
    )
    expressivity = StrictNumber(
        0, 1, **doc("How strongly the avatar follows the style; 1 may look unsteady.", 0.5)
    )

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_one_style(self, _data: Any, original: Any, **_kwargs: Any) -> None:
        if {"presetStyle", "customStylePrompt"} <= self.given(original):
            text = "presetStyle and customStylePrompt exclude each other: give one of them."
            raise ValidationError({"presetStyle": [text]})


class ToolSchema(VendorSchema):
    """Schema of an inline tool; unknown fields pass, since Anam accepts more of them per kind."""

    is_open = True

    type = Choice(
        ("client", "server", "system"),
        closed=True,
        required=True,
        **doc("The kind of tool.", "client"),
    )
    subtype = Choice(
        ("knowledge", "webhook"),
        closed=True,
        **doc("The kind of a server tool, which needs it.", "webhook"),
    )
    name = StrictString(
        required=True,
        validate=validator(not_blank),
        **doc("What the LLM calls it; no two tools of a persona share it.", "open_calendar"),
    )
    description = StrictString(
        validate=MaxLength(1024), **doc("When the LLM should call it.", "Opens the calendar.")
    )
    parameters = FreeObject(
        validate=validator(_writable),
        **doc(
            "JSON Schema of what the LLM passes, at most 10,000 bytes as JSON.", {"type": "object"}
        ),
    )
    query_parameters = FreeObject(
        validate=validator(_writable),
        **doc("The same for a webhook's query, at most 10,000 bytes.", {"type": "object"}),
    )
    url = StrictString(
        validate=validator(url),
        **doc("What a webhook calls.", "https://example.com/hooks/order", form="URL"),
    )
    headers = FreeObject(
        keys=StrictString(),
        values=StrictString(),
        **doc(
            "Headers of a webhook call. Tokens of such personas are never stored.",
            {"Authorization": {"secret": "HOOK_KEY"}},
        ),
    )

    def outer_name(self, name: Any) -> Any:
        """Return the camelCase name, for unknown fields too."""
        outer = super().outer_name(name)
        return camel(outer) if isinstance(outer, str) and _SNAKE.fullmatch(outer) else outer

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_subtype(self, data: Mapping[str, Any], original: Any, **_kwargs: Any) -> None:
        if data.get("type") == "server" and "subtype" not in self.given(original):
            raise ValidationError({"subtype": ["A server tool needs it: knowledge or webhook."]})

    @validates_schema(skip_on_field_errors=False)
    def _check_sizes(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        limited = {"client": ["parameters"], "webhook": ["parameters", "queryParameters"]}
        kind = data.get("subtype") if data.get("type") == "server" else data.get("type")
        for name in limited.get(kind, ()) if isinstance(kind, str) else ():
            value = data.get(name)
            size = _schema_size(value) if isinstance(value, Mapping) else None
            if size is not None and size > TOOL_SCHEMA_BYTES:
                text = f"Takes {size} bytes as JSON; at most {TOOL_SCHEMA_BYTES} are allowed."
                cure = "Create the tool at lab.anam.ai and name it in toolIds."
                raise ValidationError({name: [f"{text} {cure}"]})
