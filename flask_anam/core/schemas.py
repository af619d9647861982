"""What Anam receives with a mint: persona config, session options, and how they go together.

Names, types, ranges and lists are those of Anam's OpenAPI (July 2026). Fields marked ``sdk`` are
not in it, but Anam's own SDKs send them (js-sdk 4.27, Python 0.12, LiveKit plugin 1.8).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError
from marshmallow import validates_schema as checks_all
from marshmallow.validate import Length

from flask_anam.core.fields import (
    Choice,
    Flag,
    Free,
    Items,
    Number,
    Part,
    Text,
    VendorSchema,
    is_late,
    when,
    written,
)
from flask_anam.errors import PersonaWarning

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_NAMED_ID = re.compile(r"[A-Z][A-Z0-9_]{2,63}")
#: Named LLM ids that Anam documents; CUSTOMER_CLIENT_V1 turns its LLM off.
KNOWN_LLM_NAMES = ("CUSTOMER_CLIENT_V1",)
#: Bytes of UTF-8 that one inline tool schema may take.
TOOL_SCHEMA_BYTES = 10_000
#: Output sizes that each avatar model supports; for others Anam decides.
VIDEO_SIZES = {"cara-3": {(720, 480)}, "cara-4": {(1152, 768), (768, 1152)}}
VIDEO_SIZES["cara-4-latest"] = VIDEO_SIZES["cara-4"]
_SDK = {"sdk": True}


def _uuid(value: str) -> str | None:
    return None if _UUID.fullmatch(value) else "Not a UUID. Copy the id from lab.anam.ai."


def _llm_id(value: str) -> str | None:
    if _UUID.fullmatch(value):
        return None
    if not _NAMED_ID.fullmatch(value):
        return "Neither a UUID nor a named id such as CUSTOMER_CLIENT_V1."
    if value not in KNOWN_LLM_NAMES:
        text = f"llmId: {value} is not a named id that Anam documents; it is passed on as it is."
        warnings.warn(text, PersonaWarning, stacklevel=2)
    return None


def _not_blank(value: str) -> str | None:
    return None if value.strip() else "Must not be blank."


def _language(value: str) -> str | None:
    two = re.fullmatch("[A-Za-z]{2}", value)
    return None if two else "Must be an ISO 639-1 code of two letters, e.g. en."


def _url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    return None if parts.scheme and parts.netloc else "Must be a URL such as https://example.com/x."


def _small(value: Mapping[str, Any]) -> str | None:
    size = len(written(value))
    if size > TOOL_SCHEMA_BYTES:
        return f"Takes {size} bytes as JSON; at most {TOOL_SCHEMA_BYTES} are allowed."
    return None


class VoiceDetectionOptionsSchema(VendorSchema):
    """How the user's speech is detected."""

    end_of_speech_sensitivity = Number(0, 1)
    silence_before_skip_turn_seconds = Number(0, 900)
    silence_before_session_end_seconds = Number(0, 7200)
    silence_before_auto_end_turn_seconds = Number(0.5, 10)
    speech_enhancement_level = Number(0, 1)


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


class VoiceGenerationOptionsSchema(VendorSchema):
    """How the persona's voice sounds: the options of one of four kinds of voice."""

    stability = Number(0, 1)
    similarity_boost = Number(0, 1)
    style = Number(0, 1)
    use_speaker_boost = Flag()
    model = Text()
    volume = Number(0.5, 2)
    emotion = Choice(("neutral", "calm", "angry", "content", "sad", "scared"))
    speed = Number(0.5, 2)

    @checks_all(skip_on_field_errors=False)
    def _check_kind(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        kinds = voice_kinds(data)
        if not kinds:
            lists = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in VOICE_KINDS.items())
            raise ValidationError(f"Mixes options of different kinds of voice ({lists}).")
        speed = data.get("speed")
        if isinstance(speed, int | float) and not isinstance(speed, bool):
            self._check_speed(speed, kinds)

    @staticmethod
    def _check_speed(speed: float, kinds: list[str]) -> None:
        spans = {kind: VOICE_KINDS[kind]["speed"] for kind in kinds}
        if not any(span and span[0] <= speed <= span[1] for span in spans.values()):
            told = "; ".join(f"{s[0]:g} to {s[1]:g} for {kind}" for kind, s in spans.items() if s)
            raise ValidationError({"speed": [f"Must be {told}, got {speed!r}."]})


class DirectorNotesSchema(VendorSchema):
    """How the avatar performs; Anam ignores it unless the avatar model is Cara 4."""

    preset_style = Choice(("happy", "warm", "playful", "supportive", "sad", "angry", "distressed"))
    custom_style_prompt = Text(validate=Length(max=2000))
    expressivity = Number(0, 1)

    @checks_all(skip_on_field_errors=False)
    def _check_one_style(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        if "presetStyle" in data and "customStylePrompt" in data:
            text = "presetStyle and customStylePrompt exclude each other: give one of them."
            raise ValidationError({"presetStyle": [text]})


class ToolSchema(VendorSchema):
    """An inline tool. Anam accepts further fields per kind, so unknown ones pass here."""

    is_open = True

    type = Choice(("client", "server", "system"), closed=True, required=True)
    subtype = Choice(("knowledge", "webhook"), closed=True)
    name = Text(required=True, validate=when(_not_blank))
    description = Text(validate=Length(max=1024))
    parameters = Free(validate=when(_small))
    query_parameters = Free(validate=when(_small))
    url = Text(validate=when(_url))
    headers = Free(keys=Text(), values=Text())

    @checks_all(skip_on_field_errors=False)
    def _check_subtype(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        if data.get("type") == "server" and "subtype" not in data:
            raise ValidationError({"subtype": ["A server tool needs it: knowledge or webhook."]})


class PersonaConfigSchema(VendorSchema):
    """A persona config: either ``personaId`` alone (stateful) or a persona described inline.

    Args:
        system_prompt_max_length: characters; None for no limit. Anam publishes none.
        unknown_values: "error" refuses values outside a published list, "warn" lets them pass
            with a `PersonaWarning`.
        needs_llm: False where an ``environment`` (LiveKit, for instance) brings the LLM.

    ``load()`` takes camelCase or snake_case and returns the normalised config in camelCase, as
    ``dump()`` does; it raises `marshmallow.ValidationError` whose ``messages`` hold field names
    and rules, never a prompt. Instances may be shared between threads.

    """

    persona_id = Text(validate=when(_uuid))
    type = Choice(("ephemeral", "stateful"), closed=True, metadata=_SDK)
    name = Text(validate=when(_not_blank))
    avatar_id = Text(validate=when(_uuid))
    avatar_model = Choice(("cara-3", "cara-4", "cara-4-latest"))
    voice_id = Text(validate=when(_uuid))
    llm_id = Text(validate=when(_llm_id))
    system_prompt = Text()
    max_session_length_seconds = Number(1)
    skip_greeting = Flag()
    uninterruptible_greeting = Flag()
    initial_message = Text(allow_none=True)
    language_code = Text(validate=when(_language))
    voice_detection_options = Part(VoiceDetectionOptionsSchema)
    voice_generation_options = Part(VoiceGenerationOptionsSchema)
    director_notes = Part(DirectorNotesSchema)
    tools = Items(Part(ToolSchema))
    tool_ids = Items(Text(validate=when(_uuid)))
    enable_audio_passthrough = Flag(metadata=_SDK)

    deprecated = {  # noqa: RUF012 - a constant table
        "id": "personaId",
        "brainType": "llmId",
        "personaPreset": "!Name the avatarId and voiceId that the preset stood for.",
        "personality": "!Write it into systemPrompt.",
        "fillerPhrases": "!Write into systemPrompt how the persona fills pauses.",
        "useFillerPhrases": "!Write into systemPrompt how the persona fills pauses.",
    }

    def __init__(
        self,
        *,
        system_prompt_max_length: int | None = 2000,
        needs_llm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.system_prompt_max_length = system_prompt_max_length
        self._required = ("name", "avatarId", "llmId") if needs_llm else ("name", "avatarId")

    @checks_all(pass_original=True, skip_on_field_errors=False)
    def _check_kind(self, _data: Any, original: Any, **_kwargs: Any) -> None:
        if self.partial or not isinstance(original, Mapping):
            return
        data = [self.outer_name(name) for name in original]  # also those whose value is wrong
        if "personaId" in data:
            mixed = [name for name in data if name not in _BESIDE_PERSONA_ID]
            if mixed:
                raise ValidationError({str(name): [_MIXED] for name in mixed})
            return
        missing = [name for name in self._required if name not in data]
        if missing:
            raise ValidationError({name: [_MISSING] for name in missing})

    @checks_all(skip_on_field_errors=False)
    def _check_prompt(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        prompt, limit = data.get("systemPrompt", ""), self.system_prompt_max_length
        if limit is not None and isinstance(prompt, str) and len(prompt) > limit:
            text = f"Has {len(prompt)} characters; at most {limit} are allowed."
            raise ValidationError({"systemPrompt": [f"{text} See ANAM_SYSTEM_PROMPT_MAX_LENGTH."]})

    @checks_all(skip_on_field_errors=False)
    def _check_tool_names(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        tools = data.get("tools")
        seen: set[Any] = set()
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            name = tool.get("name") if isinstance(tool, Mapping) else None
            if name in seen and name is not None:
                text = "Another tool has this name already."
                raise ValidationError({"tools": {index: {"name": [text]}}})
            seen.add(name)


_MISSING = (
    "Missing. A persona without personaId needs name, avatarId and llmId; without an LLM Anam "
    'mints a "legacy" token, which its SDKs refuse. Use llmId CUSTOMER_CLIENT_V1 for none.'
)
_MIXED = (
    'Not together with personaId: Anam would mint a "legacy" token. Change the stored persona, or '
    "describe the whole persona inline."
)
#: Fields that say how a session runs rather than who the persona is.
_BESIDE_PERSONA_ID = frozenset(
    {"personaId", "type", "enableAudioPassthrough", "maxSessionLengthSeconds"}
)


class SessionReplaySchema(VendorSchema):
    """Whether Anam records the session."""

    enable_session_replay = Flag()


class DailySchema(VendorSchema):
    """The Daily room that the avatar joins."""

    room_url = Text(required=True, validate=when(_url))
    token = Text()
    user_name = Text()


class EgressSchema(VendorSchema):
    """Where audio and video go instead of the browser."""

    mode = Choice(("daily",), required=True)
    daily = Part(DailySchema)

    @checks_all(skip_on_field_errors=False)
    def _check_complete(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        if data.get("mode") == "daily" and "daily" not in data:
            raise ValidationError({"daily": ["Missing: the mode daily needs it."]})


class SessionOptionsSchema(VendorSchema):
    """Options of the session, sent beside the persona config.

    ``load()`` takes camelCase or snake_case and returns camelCase, as ``dump()`` does; it raises
    `marshmallow.ValidationError`. Instances may be shared between threads.
    """

    session_replay = Part(SessionReplaySchema)
    video_quality = Choice(("high", "auto"))
    video_width = Number(1, whole=True)
    video_height = Number(1, whole=True)
    egress = Part(EgressSchema)
    region = Text(validate=when(_not_blank), metadata=_SDK)
    region_policy = Choice(("preferred", "strict"), metadata=_SDK)
    show_ai_avatar_disclosure = Flag(data_key="showAIAvatarDisclosure", metadata=_SDK)

    @checks_all(skip_on_field_errors=False)
    def _check_pairs(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        if ("videoWidth" in data) != ("videoHeight" in data):
            missing = "videoHeight" if "videoWidth" in data else "videoWidth"
            raise ValidationError({missing: ["Give videoWidth and videoHeight together."]})
        if data.get("regionPolicy") == "strict" and "region" not in data:
            raise ValidationError({"region": ["Missing: the region policy strict needs it."]})


class MintRequestSchema(VendorSchema):
    """The whole body of a mint, and the rules between its parts."""

    client_label = Text()
    persona_config = Part(PersonaConfigSchema, required=True)
    session_options = Part(SessionOptionsSchema)
    environment = Free(keys=Text(), metadata=_SDK)

    def __init__(self, persona_config: PersonaConfigSchema | None = None, **kwargs: Any) -> None:
        """Use that schema for the persona config, with the rules it was made with."""
        self._persona_config = persona_config or PersonaConfigSchema()
        super().__init__(unknown_values=self._persona_config.unknown_values, **kwargs)

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        """Put the given schema in its place."""
        if field_name == "persona_config":
            field_obj.nested = self._persona_config
        super().on_bind_field(field_name, field_obj)

    @checks_all(skip_on_field_errors=False)
    def _check_egress(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        config, options = _object(data, "personaConfig"), _object(data, "sessionOptions")
        through = config.get("enableAudioPassthrough")
        if "egress" in options and through is not True and not is_late(through):
            text = "Needs enableAudioPassthrough: true in the persona config."
            raise ValidationError({"sessionOptions": {"egress": [text]}})

    @checks_all(skip_on_field_errors=False)
    def _check_model(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        config, options = _object(data, "personaConfig"), _object(data, "sessionOptions")
        model = config.get("avatarModel")
        if "directorNotes" in config and model == "cara-3":
            text = "directorNotes are ignored by Anam with avatarModel cara-3; use cara-4."
            warnings.warn(text, PersonaWarning, stacklevel=2)
        size = (options.get("videoWidth"), options.get("videoHeight"))
        sizes = VIDEO_SIZES.get(model, set()) if isinstance(model, str) else _ALL_SIZES
        if all(isinstance(side, int) for side in size) and sizes and size not in sizes:
            allowed = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
            text = f"{model or 'Anam'} supports {allowed}, not {size[0]}x{size[1]}."
            raise ValidationError({"sessionOptions": {"videoWidth": [text]}})


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of a body; an empty one when it is missing, wrong or a late value."""
    part = data.get(name)
    return part if isinstance(part, Mapping) else {}


_ALL_SIZES = {size for sizes in VIDEO_SIZES.values() for size in sizes}
