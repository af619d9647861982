"""JSON Schema of personas, generated from the marshmallow schemas, for completion in editors."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields
from marshmallow.validate import Length, Range

from flask_anam.core.schemas.fields import (
    Choice,
    FreeObject,
    NestedObject,
    StrictBoolean,
    StrictList,
    StrictNumber,
    StrictString,
)
from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.core.schemas.persona import PersonaConfigSchema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Fields of an entry that Anam does not receive.
_PERSONA_KEYS: dict[str, Any] = {
    "label": {"type": "string", "description": "The name shown to people."},
    "permission": {"type": "string", "description": "A permission needed besides anam:talk."},
    "fallback": {"type": "string", "description": "The persona used when Anam lost this one."},
    "apiKey": {
        "description": "The key of this persona's account.",
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/secret"}],
    },
}
_BOUNDS: dict[str, Any] = {
    "oneOf": [
        {"const": True},
        {"type": "array", "minItems": 1},
        {
            "type": "object",
            "properties": {key: {"type": "number"} for key in ("min", "max", "maxLength")},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ]
}
_SECRET = {
    "description": "The environment variable that holds the value.",
    "type": "object",
    "properties": {"secret": {"type": "string", "minLength": 1}},
    "required": ["secret"],
    "additionalProperties": False,
}
#: What an entry must have: the id of a stored persona, or the required fields of an inline one.
_KINDS = [
    {"required": ["personaId"]},
    {"required": ["name", "avatarId", "llmId"]},
    {"required": ["name", "avatarId", "environment"]},
]


def persona_json_schema(*, whole_file: bool) -> dict[str, Any]:
    """Return the JSON Schema of a file with one persona or, with `whole_file`, with several."""
    persona = schema_of(PersonaConfigSchema())
    beside = dict(schema_of(MintRequestSchema())["properties"])
    del beside["personaConfig"]
    persona["properties"] |= {"overrides": _overrides(list(persona["properties"])), **beside}
    persona["properties"] |= _PERSONA_KEYS
    persona["anyOf"] = _KINDS
    file = {"type": "object", "properties": {}, "additionalProperties": persona}
    body: dict[str, Any] = file if whole_file else persona
    body["properties"] = {"$schema": {"type": "string"}, **body["properties"]}
    head = {"$schema": DIALECT, "title": "Flask-Anam persona" + ("s" if whole_file else "")}
    return {**head, **body, "$defs": {"secret": _SECRET}}


def schema_of(schema: Schema, *, secrets: bool = True) -> dict[str, Any]:
    """Return a schema as JSON Schema; with `secrets`, strings may be read from the environment."""
    properties = {f.data_key or name: _field(f, secrets) for name, f in schema.load_fields.items()}
    required = [f.data_key or name for name, f in schema.load_fields.items() if f.required]
    result: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        result["required"] = required
    result["additionalProperties"] = getattr(schema, "is_open", False)
    return result


def _overrides(names: list[str]) -> dict[str, Any]:
    settable = [name for name in names if name not in {"personaId", "type"}]
    return {
        "description": "Fields that a browser may set, with the bounds of each.",
        "oneOf": [
            {"type": "array", "items": {"enum": settable}},
            {
                "type": "object",
                "properties": dict.fromkeys(settable, _BOUNDS),
                "additionalProperties": False,
            },
        ],
    }


def _field(field: fields.Field[Any], secrets: bool) -> dict[str, Any]:
    result = _type(field, secrets)
    if field.allow_none:
        result["type"] = [result["type"], "null"]
    for rule in field.validators:
        if isinstance(rule, Length):
            result |= _bounds(rule, "minLength", "maxLength")
        if isinstance(rule, Range):
            result |= _bounds(rule, "minimum", "maximum")
    if secrets and isinstance(field, StrictString) and not isinstance(field, Choice):
        result = {"anyOf": [result, {"$ref": "#/$defs/secret"}]}
    keywords = {name: field.metadata.get(name) for name in ("description", "default", "pattern")}
    example = field.metadata.get("example")
    keywords["examples"] = None if example is None else [example]
    return {**result, **{name: value for name, value in keywords.items() if value is not None}}


def _type(field: fields.Field[Any], secrets: bool) -> dict[str, Any]:
    if isinstance(field, NestedObject):
        return schema_of(field.schema, secrets=secrets)
    if isinstance(field, StrictList):
        return {"type": "array", "items": _field(field.inner, secrets)}
    if isinstance(field, Choice):
        return {"type": "string", "enum": list(field.allowed)}
    if isinstance(field, StrictNumber):
        return {"type": "integer" if field.whole else "number"}
    kinds = {StrictString: "string", StrictBoolean: "boolean", FreeObject: "object"}
    return {"type": next(name for kind, name in kinds.items() if isinstance(field, kind))}


def _bounds(rule: Length | Range, low: str, high: str) -> dict[str, Any]:
    equal = getattr(rule, "equal", None)
    least, most = (rule.min, rule.max) if equal is None else (equal, equal)
    return {name: value for name, value in ((low, least), (high, most)) if value is not None}
