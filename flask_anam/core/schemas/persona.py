"""Schema of a persona config.

Source of names, types, ranges and lists: Anam's OpenAPI (July 2026). Fields marked ``sdk`` are
not in it, but Anam's own SDKs send them (js-sdk 4.27, Python 0.12, LiveKit plugin 1.8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import ValidationError, validates_schema

from flask_anam.core.schemas.base import VendorSchema
from flask_anam.core.schemas.fields import (
    Choice,
    NestedObject,
    StrictBoolean,
    StrictList,
    StrictNumber,
    StrictString,
    camel,
    describe_value,
    doc,
    validator,
    warn,
)
from flask_anam.core.schemas.persona_options import (
    DirectorNotesSchema,
    ToolSchema,
    VoiceDetectionOptionsSchema,
    VoiceGenerationOptionsSchema,
    not_blank,
)
from flask_anam.core.schemas.session_options import SessionOptionsSchema

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_NAMED_ID = re.compile(r"[A-Z][A-Z0-9_]{2,63}")
#: Named LLM ids that Anam documents; CUSTOMER_CLIENT_V1 turns Anam's LLM off.
KNOWN_LLM_NAMES = ("CUSTOMER_CLIENT_V1",)


def _uuid(value: str) -> str | None:
    if _UUID.fullmatch(value):
        return None
    return f"Not a UUID but {describe_value(value)}. Copy the id from lab.anam.ai."


def _llm_id(value: str) -> str | None:
    if _UUID.fullmatch(value):
        return None
    if not _NAMED_ID.fullmatch(value):
        return (
            "Neither a UUID nor a named id such as CUSTOMER_CLIENT_V1, but "
            f"{describe_value(value)}. Copy the id from lab.anam.ai."
        )
    if value not in KNOWN_LLM_NAMES:
        warn(f"llmId: {value} is not a named id that Anam documents; it is sent as it is.")
    return None


def _language(value: str) -> str | None:
    if re.fullmatch("[A-Za-z]{2}", value):
        return None
    return f"Must be an ISO 639-1 code of two letters, e.g. en, got {describe_value(value)}."


class PersonaConfigSchema(VendorSchema):
    """Schema of a persona config: a stored persona (``personaId``) or one described inline.

    ``load()`` takes a mapping with names in camelCase or snake_case and returns a dict in
    camelCase, as ``dump()`` does. It raises `marshmallow.ValidationError`, whose ``messages``
    have field names and rules and never a prompt. Thread-safe.

    Source of names, ranges and lists: Anam's OpenAPI (July 2026).

    Args:
        system_prompt_max_length: characters; None for no limit. Anam publishes none.
        unknown_values: what to do with values outside a published list: "error" refuses them,
            "warn" accepts them with a `PersonaWarning`, "ignore" accepts them.
        needs_llm: False where an ``environment`` (LiveKit, for instance) brings the LLM.

    Example:
        >>> PersonaConfigSchema().load({"persona_id": "071b0286-4cce-4808-bee2-e642f1062de3"})
        {'personaId': '071b0286-4cce-4808-bee2-e642f1062de3'}

    """

    persona_id = StrictString(
        validate=validator(_uuid),
        **doc("A persona stored at Anam.", "11111111-2222-4333-8444-555555555555", form="UUID"),
    )
    type = Choice(
        ("ephemeral", "stateful"),
        closed=True,
        **doc("The kind of persona, as the SDKs name it.", "ephemeral", sdk=True),
    )
    name = StrictString(
        validate=validator(not_blank), **doc("What the persona calls itself.", "Alex")
    )
    avatar_id = StrictString(
        validate=validator(_uuid),
        **doc("The avatar, its face.", "071b0286-4cce-4808-bee2-e642f1062de3", form="UUID"),
    )
    avatar_model = Choice(
        ("cara-3", "cara-4", "cara-4-latest"),
        **doc("The model that moves the face; -latest is by invitation.", "cara-4"),
    )
    voice_id = StrictString(
        validate=validator(_uuid),
        **doc("The voice it speaks with.", "de23e340-1416-4dd8-977d-065a7ca11697", form="UUID"),
    )
    llm_id = StrictString(
        validate=validator(_llm_id),
        **doc(
            "The LLM: an id, or CUSTOMER_CLIENT_V1 when your own code answers.",
            "a7cf662c-2ace-4de1-a21e-ef0fbf144bb7",
            form="UUID or name in capitals",
        ),
    )
    system_prompt = StrictString(
        **doc("Who it is and how it behaves.", "You help people choose a bicycle.")
    )
    max_session_length_seconds = StrictNumber(
        1, **doc("The longest that a session may last, in seconds.", 600)
    )
    skip_greeting = StrictBoolean(**doc("Whether it waits for the user to speak first.", False))
    uninterruptible_greeting = StrictBoolean(
        **doc("Whether the user cannot talk over its greeting.", False)
    )
    initial_message = StrictString(
        allow_none=True,
        **doc("What it says first; empty or null lets the LLM choose the words.", "Hello!"),
    )
    language_code = StrictString(
        validate=validator(_language),
        **doc("The language it listens for, ISO 639-1.", "en", form="two letters"),
    )
    voice_detection_options = NestedObject(
        VoiceDetectionOptionsSchema, **doc("How speech is detected.", None)
    )
    voice_generation_options = NestedObject(
        VoiceGenerationOptionsSchema, **doc("How its voice sounds: one of four kinds.", None)
    )
    director_notes = NestedObject(
        DirectorNotesSchema, **doc("How the avatar performs; Cara 4 only.", None)
    )
    tools = StrictList(NestedObject(ToolSchema), **doc("Tools described here.", None))
    tool_ids = StrictList(
        StrictString(validate=validator(_uuid)),
        **doc("Tools stored at Anam.", ["22222222-3333-4444-8555-666666666666"]),
    )
    enable_audio_passthrough = StrictBoolean(
        **doc("Whether your code sends the audio to be spoken.", True, sdk=True)
    )

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

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        if camel(name) in _SESSION_FIELDS:
            return "Unknown field here. It belongs in sessionOptions."
        return super()._unknown(name, known)

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_kind(self, _data: Any, original: Any, **_kwargs: Any) -> None:
        if self.partial or not isinstance(original, Mapping):
            return
        given = self.given(original)
        if "personaId" in given:
            known = {field.data_key for field in self.load_fields.values()}
            mixed = sorted(given & known - _BESIDE_PERSONA_ID)
            if mixed:
                # Only the first message has the reason and the cure.
                texts = dict.fromkeys(mixed, "Not together with personaId either.")
                texts[mixed[0]] = _MIXED
                raise ValidationError({name: [text] for name, text in texts.items()})
            return
        missing = [name for name in self._required if name not in given]
        if missing:
            texts = {"llmId": _NO_LLM}
            raise ValidationError({name: [texts.get(name, _MISSING)] for name in missing})

    @validates_schema(skip_on_field_errors=False)
    def _check_prompt(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        prompt, limit = data.get("systemPrompt", ""), self.system_prompt_max_length
        if limit is not None and isinstance(prompt, str) and len(prompt) > limit:
            text = f"Has {len(prompt)} characters; at most {limit} are allowed."
            raise ValidationError({"systemPrompt": [f"{text} See ANAM_SYSTEM_PROMPT_MAX_LENGTH."]})

    @validates_schema(skip_on_field_errors=False)
    def _check_tool_names(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        tools = data.get("tools")
        seen: set[Any] = set()
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            name = tool.get("name") if isinstance(tool, Mapping) else None
            if name in seen and name is not None:
                text = "Another tool has this name already."
                raise ValidationError({"tools": {index: {"name": [text]}}})
            seen.add(name)


_SESSION_FIELDS = {field.data_key for field in SessionOptionsSchema().load_fields.values()}
_MISSING = "Missing. A persona without personaId needs name, avatarId and llmId."
_NO_LLM = (
    'Missing. Without an LLM Anam mints a "legacy" token, which its SDKs refuse. Copy an id from '
    "lab.anam.ai, or use CUSTOMER_CLIENT_V1 when your own code answers."
)
_MIXED = (
    'Not together with personaId: Anam would mint a "legacy" token. Change the stored persona, or '
    "describe the whole persona inline."
)
#: Fields accepted beside personaId: they say how a session runs, not who the persona is.
_BESIDE_PERSONA_ID = frozenset(
    {"personaId", "type", "enableAudioPassthrough", "maxSessionLengthSeconds"}
)
