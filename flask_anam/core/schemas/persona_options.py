"""The parts of a persona config: voice detection, voice generation, director notes, tools.

Names, types, ranges and lists are those of Anam's OpenAPI (July 2026).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError
from marshmallow import validates_schema as checks_all

from flask_anam.core.schemas.base import VendorSchema
from flask_anam.core.schemas.fields import (
    AtMost,
    Choice,
    Flag,
    Free,
    Number,
    Text,
    about,
    camel,
    found,
    is_late,
    when,
)

#: Bytes of UTF-8 that one inline tool schema may take.
TOOL_SCHEMA_BYTES = 10_000
_SNAKE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")


def not_blank(value: str) -> str | None:
    """Refuse a text without a visible character."""
    return None if value.strip() else "Must not be blank."


def url(value: str) -> str | None:
    """Refuse what is no absolute URL."""
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme and parts.netloc:
        return None
    return f"Must be a URL such as https://example.com/x, got {found(value)}."


def _schema_size(value: Mapping[str, Any]) -> int | None:
    """Return the bytes that a tool's schema takes, or None when it cannot be written as JSON."""
    try:
        text = json.dumps(
            value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_late_text
        )
        return len(text.encode())
    except (TypeError, ValueError, RecursionError):
        return None


def _late_text(value: object) -> str:
    if not is_late(value):
        raise TypeError
    return ""


def _writable(value: Mapping[str, Any]) -> str | None:
    return "Must be a JSON Schema of plain JSON." if _schema_size(value) is None else None


class VoiceDetectionOptionsSchema(VendorSchema):
    """How the user's speech is detected."""

    end_of_speech_sensitivity = Number(
        0, 1, **about("How readily a pause counts as the end of what the user says.", 0.5)
    )
    silence_before_skip_turn_seconds = Number(
        0, 900, **about("Seconds of silence after which the user's turn is skipped.", 5)
    )
    silence_before_session_end_seconds = Number(
        0, 7200, **about("Seconds of silence after which the session ends.", 60)
    )
    silence_before_auto_end_turn_seconds = Number(
        0.5, 10, **about("Seconds of silence after which the user's turn ends.", 5)
    )
    speech_enhancement_level = Number(
        0, 1, **about("How much noise is taken out of the user's speech; 0 for none.", 0.8)
    )


#: The options that each kind of voice takes, with the range of each.
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
    """Return the kinds of voice that take all these options."""
    return [kind for kind, known in VOICE_KINDS.items() if set(options) <= set(known)]


def _kinds_with(option: str) -> str:
    return " and ".join(kind for kind, known in VOICE_KINDS.items() if option in known)


class VoiceGenerationOptionsSchema(VendorSchema):
    """How the persona's voice sounds: the options of one of four kinds of voice."""

    stability = Number(0, 1, **about("How even the voice is; ElevenLabs.", 0.5))
    similarity_boost = Number(
        0, 1, **about("How close the voice keeps to its original; ElevenLabs.", 0.75)
    )
    style = Number(0, 1, **about("How strongly the original's style shows; ElevenLabs V2.", 0))
    use_speaker_boost = Flag(**about("More likeness to the original; ElevenLabs V2.", True))
    model = Text(**about("The id of the speech model; ElevenLabs V2.", "eleven_turbo_v2_5"))
    volume = Number(0.5, 2, **about("Loudness as a factor; Cartesia and Fish Audio.", 1))
    emotion = Choice(
        ("neutral", "calm", "angry", "content", "sad", "scared"),
        **about("The mood of the voice; Cartesia.", "calm"),
    )
    speed = Number(
        0.5,
        2,
        **about(
            "Pace as a factor: 0.7 to 1.2 for ElevenLabs, 0.6 to 1.5 for Cartesia, 0.5 to 2 for "
            "Fish Audio.",
            1,
        ),
    )

    @checks_all(skip_on_field_errors=False, pass_original=True)
    def _check_kind(self, data: Mapping[str, Any], original: Any, **_kwargs: Any) -> None:
        given = self.given(original) & {field.data_key for field in self.load_fields.values()}
        kinds = voice_kinds(dict.fromkeys(given))
        if not kinds:
            told = "; ".join(f"{name} is of {_kinds_with(name)}" for name in sorted(given))
            raise ValidationError(f"Mixes options of different kinds of voice: {told}.")
        speed = data.get("speed")
        if isinstance(speed, int | float):
            self._check_speed(speed, kinds)

    @staticmethod
    def _check_speed(speed: float, kinds: list[str]) -> None:
        spans = {kind: VOICE_KINDS[kind]["speed"] for kind in kinds}
        if not any(span and span[0] <= speed <= span[1] for span in spans.values()):
            told = "; ".join(f"{s[0]:g} to {s[1]:g} for {kind}" for kind, s in spans.items() if s)
            raise ValidationError({"speed": [f"Must be {told}, got {speed!r}."]})


class DirectorNotesSchema(VendorSchema):
    """How the avatar performs; Anam ignores it unless the avatar model is Cara 4."""

    preset_style = Choice(
        ("happy", "warm", "playful", "supportive", "sad", "angry", "distressed"),
        **about("A ready-made style; not together with customStylePrompt.", "warm"),
    )
    custom_style_prompt = Text(
        validate=AtMost(2000),
        **about("A style in your own words; not together with presetStyle.", "Calm, a slight nod"),
    )
    expressivity = Number(
        0, 1, **about("How strongly the avatar follows the style; 1 may look unsteady.", 0.5)
    )

    @checks_all(skip_on_field_errors=False, pass_original=True)
    def _check_one_style(self, _data: Any, original: Any, **_kwargs: Any) -> None:
        if {"presetStyle", "customStylePrompt"} <= self.given(original):
            text = "presetStyle and customStylePrompt exclude each other: give one of them."
            raise ValidationError({"presetStyle": [text]})


class ToolSchema(VendorSchema):
    """An inline tool. Anam accepts further fields per kind, so unknown ones pass here."""

    is_open = True

    type = Choice(
        ("client", "server", "system"), closed=True, required=True, **about("Its kind.", "client")
    )
    subtype = Choice(
        ("knowledge", "webhook"),
        closed=True,
        **about("The kind of a server tool, which needs it.", "webhook"),
    )
    name = Text(
        required=True,
        validate=when(not_blank),
        **about("What the LLM calls it; no two tools of a persona share it.", "open_calendar"),
    )
    description = Text(
        validate=AtMost(1024), **about("When the LLM should call it.", "Opens the calendar.")
    )
    parameters = Free(
        validate=when(_writable),
        **about(
            "JSON Schema of what the LLM passes, at most 10,000 bytes as JSON.", {"type": "object"}
        ),
    )
    query_parameters = Free(
        validate=when(_writable),
        **about("The same for a webhook's query, at most 10,000 bytes.", {"type": "object"}),
    )
    url = Text(
        validate=when(url),
        **about("What a webhook calls.", "https://example.com/hooks/order", form="URL"),
    )
    headers = Free(
        keys=Text(),
        values=Text(),
        **about(
            "Headers of a webhook call. Tokens of such personas are never stored.",
            {"Authorization": {"secret": "HOOK_KEY"}},
        ),
    )

    def outer_name(self, name: Any) -> Any:
        """Return the camelCase name, of fields we do not know as well."""
        outer = super().outer_name(name)
        return camel(outer) if isinstance(outer, str) and _SNAKE.fullmatch(outer) else outer

    @checks_all(skip_on_field_errors=False, pass_original=True)
    def _check_subtype(self, data: Mapping[str, Any], original: Any, **_kwargs: Any) -> None:
        if data.get("type") == "server" and "subtype" not in self.given(original):
            raise ValidationError({"subtype": ["A server tool needs it: knowledge or webhook."]})

    @checks_all(skip_on_field_errors=False)
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
