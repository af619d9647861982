"""marshmallow schemas: what Anam receives, and what browsers may send us.

Vendor schemas accept camelCase and snake_case, load to the camelCase form that Anam receives and
dump to the same. Field names, types and ranges are those of Anam's OpenAPI (July 2026).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from marshmallow import (
    EXCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validates_schema,
)
from marshmallow.validate import Length, Range

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_NAMED_ID = re.compile(r"[A-Z][A-Z0-9_]{2,63}")


def _is_uuid(value: str) -> None:
    if not _UUID.fullmatch(value):
        raise ValidationError("Not a UUID. Copy the id from lab.anam.ai.")


def _is_uuid_or_name(value: str) -> None:
    if not _UUID.fullmatch(value) and not _NAMED_ID.fullmatch(value):
        raise ValidationError("Neither a UUID nor a named id such as CUSTOMER_CLIENT_V1.")


def _is_not_blank(value: str) -> None:
    if not value.strip():
        raise ValidationError("Must not be blank.")


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join("AI" if part == "ai" else part.capitalize() for part in tail)


class Text(fields.String):
    """A string that can be sent as UTF-8."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValidationError("Holds a character that UTF-8 cannot carry.") from None
        return value


class Number(fields.Float):
    """A finite number given as a number: no strings, no booleans. Whole numbers stay whole."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        super()._deserialize(value, attr, data, **kwargs)
        return value

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return value


class Flag(fields.Boolean):
    """True or False and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Object(fields.Dict):
    """An object of Anam's, passed on as it is: anything that JSON can carry."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=Text(), **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        loaded = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        try:
            json.dumps(loaded, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            raise ValidationError("Holds something that JSON cannot carry.") from None
        return loaded


class StrictSchema(Schema):
    """Refuse unknown fields, naming the nearest known one."""

    class Meta:
        unknown = EXCLUDE  # they are refused below, with a better message than marshmallow's

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _refuse_unknown(self, _data: Any, original: Any, **_kwargs: Any) -> None:
        if not isinstance(original, Mapping):
            return
        known = {f.data_key or name for name, f in self.load_fields.items()}
        found = {
            str(name): [_unknown_field(str(name), known)]
            for name in original
            if name not in known and not self._is_known(name)
        }
        if found:
            raise ValidationError(dict(found))

    def _is_known(self, _name: object) -> bool:
        """Whether a field may also be spelled like this."""
        return False


def _unknown_field(name: str, known: set[str]) -> str:
    near = get_close_matches(_camel(name), known, n=1) or get_close_matches(name, known, n=1)
    return f"Unknown field. Did you mean {near[0]}?" if near else "Unknown field."


class VendorSchema(StrictSchema):
    """A schema of Anam's: camelCase outside, snake_case accepted, unset fields left out."""

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give each field its camelCase name on both sides."""
        field_obj.data_key = field_obj.attribute = _camel(field_name)

    def _is_known(self, name: object) -> bool:
        return name in self.load_fields

    @pre_load
    def _to_camel_case(self, data: Any, **_kwargs: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        renamed: dict[Any, Any] = {}
        for name, value in data.items():
            key = _camel(name) if name in self.load_fields else name
            if key in renamed:
                raise ValidationError({key: [f"Given twice, as {key} and in another spelling."]})
            renamed[key] = value
        return renamed

    @post_load(pass_original=True)
    def _keep_order(self, data: dict[str, Any], original: Any, **_kwargs: Any) -> dict[str, Any]:
        order = [_camel(name) for name in original]
        return {name: data[name] for name in order if name in data}


class PersonaConfigSchema(VendorSchema):
    """A persona config: either ``personaId`` alone (stateful) or a persona described inline.

    Args:
        system_prompt_max_length: characters; None for no limit. Anam publishes none.

    ``load()`` returns the normalised config in camelCase; it raises
    `marshmallow.ValidationError` whose ``messages`` hold field names and rules, never a prompt.
    Instances may be shared between threads.

    """

    persona_id = Text(validate=_is_uuid)
    name = Text(validate=[_is_not_blank, Length(max=255)])
    avatar_id = Text(validate=_is_uuid)
    avatar_model = Text(validate=_is_not_blank)
    voice_id = Text(validate=_is_uuid)
    llm_id = Text(validate=_is_uuid_or_name)
    system_prompt = Text()
    max_session_length_seconds = Number(validate=Range(min=1))
    skip_greeting = Flag()
    uninterruptible_greeting = Flag()
    initial_message = Text(allow_none=True)
    language_code = Text(validate=Length(min=2, max=16))
    voice_detection_options = Object()
    voice_generation_options = Object()
    director_notes = Object()
    tools = fields.List(Object())
    tool_ids = fields.List(Text(validate=_is_uuid))
    enable_audio_passthrough = Flag()

    def __init__(self, *, system_prompt_max_length: int | None = 2000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system_prompt_max_length = system_prompt_max_length

    @validates_schema(skip_on_field_errors=False)
    def _check_kind(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        if self.partial:
            return
        if "personaId" in data:
            mixed = [name for name in data if name not in _BESIDE_PERSONA_ID]
            if mixed:
                text = "Not together with personaId: Anam would answer with a legacy token."
                raise ValidationError({name: [text] for name in mixed})
            return
        missing = [name for name in _INLINE_REQUIRED if name not in data]
        if missing:
            raise ValidationError({name: [_MISSING] for name in missing})

    @validates_schema(skip_on_field_errors=False)
    def _check_prompt(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        length, limit = len(data.get("systemPrompt", "")), self.system_prompt_max_length
        if limit is not None and length > limit:
            text = f"Has {length} characters; at most {limit} are allowed."
            raise ValidationError({"systemPrompt": [f"{text} See ANAM_SYSTEM_PROMPT_MAX_LENGTH."]})


_INLINE_REQUIRED = ("name", "avatarId", "voiceId", "llmId")
_MISSING = "Missing. A persona without personaId needs name, avatarId, voiceId and llmId."
#: Fields that say how a session runs rather than who the persona is.
_BESIDE_PERSONA_ID = frozenset({"personaId", "enableAudioPassthrough", "maxSessionLengthSeconds"})


class SessionOptionsSchema(VendorSchema):
    """Options of the session, sent beside the persona config."""

    session_replay = Object()
    video_quality = Text()
    video_width = fields.Integer(strict=True, validate=Range(min=1))
    video_height = fields.Integer(strict=True, validate=Range(min=1))
    egress = Object()
    region = Text()
    region_policy = Text()
    show_ai_avatar_disclosure = Flag()


class TokenRequestSchema(StrictSchema):
    """What a browser may send to the token endpoint."""

    persona_type = Text(data_key="personaType", validate=Length(min=1, max=100))
    slot = Text(validate=Length(min=1, max=64))
    overrides = fields.Dict(keys=Text(), load_default=dict)
    refused = Text(validate=Length(equal=16))


class SessionReportSchema(StrictSchema):
    """What a browser sends when a conversation has started."""

    token_id = Text(required=True, data_key="tokenId", validate=Length(equal=16))
    session_id = Text(required=True, data_key="sessionId", validate=Length(min=1, max=64))


class ValidateRequestSchema(StrictSchema):
    """What a browser sends to have a session token looked at."""

    session_token = Text(required=True, data_key="sessionToken", validate=Length(max=8192))
