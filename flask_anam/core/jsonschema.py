"""Writes the marshmallow schemas of personas as JSON Schema, for editors and for the docs."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields
from marshmallow.validate import Length, Range

from flask_anam.core.fields import Choice, Flag, Free, Items, Number, Part, Text
from flask_anam.core.schemas import PersonaConfigSchema, SessionOptionsSchema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Fields of an entry that are about the persona and not sent to Anam.
_ABOUT: dict[str, Any] = {
    "label": {"type": "string", "description": "The name shown to people."},
    "permission": {"type": "string", "description": "A permission needed besides anam:talk."},
    "overrides": {"type": ["array", "object"], "description": "Fields that a browser may set."},
    "fallback": {"type": "string", "description": "The persona used when Anam lost this one."},
    "apiKey": {"$ref": "#/$defs/secret", "description": "The key of this persona's account."},
    "clientLabel": {"type": "string"},
    "environment": {"type": "object", "description": "Settings of an integration, e.g. LiveKit."},
}
_SECRET = {
    "description": "A value, or the environment variable that holds it.",
    "oneOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"secret": {"type": "string"}},
            "required": ["secret"],
            "additionalProperties": False,
        },
    ],
}


def persona_json_schema(*, whole_file: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of a persona in a file, or of a file with several."""
    persona = schema_of(PersonaConfigSchema())
    persona["properties"] |= {"sessionOptions": schema_of(SessionOptionsSchema()), **_ABOUT}
    persona["anyOf"] = [{"required": ["personaId"]}, {"required": ["name", "avatarId"]}]
    body = {"type": "object", "additionalProperties": persona} if whole_file else persona
    head = {"$schema": DIALECT, "title": "Flask-Anam persona" + ("s" if whole_file else "")}
    return {**head, **body, "$defs": {"secret": _SECRET}}


def schema_of(schema: Schema) -> dict[str, Any]:
    """Return a schema as JSON Schema."""
    properties = {f.data_key or name: _field(f) for name, f in schema.load_fields.items()}
    required = [f.data_key or name for name, f in schema.load_fields.items() if f.required]
    written: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        written["required"] = required
    written["additionalProperties"] = getattr(schema, "is_open", False)
    return written


def _field(field: fields.Field[Any]) -> dict[str, Any]:
    written = _type(field)
    if field.allow_none:
        written["type"] = [written["type"], "null"]
    for rule in field.validators:
        if isinstance(rule, Length):
            written |= _bounds(rule, "minLength", "maxLength")
        if isinstance(rule, Range):
            written |= _bounds(rule, "minimum", "maximum")
    description = field.metadata.get("description")
    return {**written, "description": description} if description else written


def _type(field: fields.Field[Any]) -> dict[str, Any]:
    if isinstance(field, Part):
        return schema_of(field.schema)
    if isinstance(field, Items):
        return {"type": "array", "items": _field(field.inner)}
    if isinstance(field, Choice):
        return {"type": "string", "enum": list(field.allowed)}
    if isinstance(field, Number):
        return {"type": "integer" if field.whole else "number"}
    kinds: tuple[tuple[type, str], ...] = ((Text, "string"), (Flag, "boolean"), (Free, "object"))
    return {"type": next(name for kind, name in kinds if isinstance(field, kind))}


def _bounds(rule: Length | Range, low: str, high: str) -> dict[str, Any]:
    return {name: value for name, value in ((low, rule.min), (high, rule.max)) if value is not None}
