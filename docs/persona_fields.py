"""Generator of the list of persona fields in personas.md, from the marshmallow schemas.

``write_persona_page`` writes ``_generated_persona_fields.md``, which ``personas.md`` includes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marshmallow.validate import Length

from flask_anam.core.schemas.fields import (
    Choice,
    FreeObject,
    NestedObject,
    StrictBoolean,
    StrictList,
    StrictNumber,
    StrictString,
)
from flask_anam.core.schemas.mint_request import VIDEO_SIZES, MintRequestSchema

if TYPE_CHECKING:
    from marshmallow import Schema, fields
    from sphinx.application import Sphinx

PAGE = Path(__file__).with_name("_generated_persona_fields.md")
HEAD = "| Field | Type and range | Example | Meaning |\n|---|---|---|---|\n"
SDK_MARK = " (SDK)"


def write_persona_page(_app: Sphinx | None = None) -> None:
    """Write the list of fields, only when it changes; connect it to ``builder-inited``."""
    text = render()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")


def render() -> str:
    """Return every field of a persona as Markdown tables, one for each object."""
    body = MintRequestSchema()
    config = body.fields["persona_config"]
    sections = [_section("Persona config", _schema_of(config))]
    sections += _sections_in(_schema_of(config))
    sections.append(_section("Beside the persona config", body, without="personaConfig"))
    options = body.fields["session_options"]
    sections += [_section("sessionOptions", _schema_of(options))]
    sections += _sections_in(_schema_of(options), "sessionOptions.")
    sizes = [
        f"`{model}`: {' or '.join(f'{w}x{h}' for w, h in sorted(pairs))}"
        for model, pairs in VIDEO_SIZES.items()
    ]
    note = f"Sizes that each avatar model supports: {'; '.join(sizes)}.\n"
    return "\n".join([*sections, note])


def _section(title: str, schema: Schema, *, without: str = "") -> str:
    rows = [_row(f) for f in schema.load_fields.values() if f.data_key != without]
    return f"### {title}\n\n{HEAD}" + "\n".join(rows) + "\n"


def _sections_in(schema: Schema, path: str = "") -> Iterator[str]:
    for field in schema.load_fields.values():
        part = field.inner if isinstance(field, StrictList) else field
        if isinstance(part, NestedObject):
            name = f"{path}{field.data_key}"
            yield _section(f"{name}[]" if isinstance(field, StrictList) else name, _schema_of(part))
            yield from _sections_in(_schema_of(part), f"{name}.")


def _schema_of(field: fields.Field[Any]) -> Schema:
    assert isinstance(field, NestedObject)  # noqa: S101 - only parts come here
    return field.schema


def _row(field: fields.Field[Any]) -> str:
    facts = field.metadata
    name = f"`{field.data_key}`{SDK_MARK if facts.get('sdk') else ''}"
    kind = _kind(field) + (", needed" if field.required else "")
    if facts.get("default") is not None:
        kind += f"; default `{json.dumps(facts['default'])}`"
    example = facts.get("example")
    shown = "" if example is None else f"`{json.dumps(example)}`"
    return f"| {name} | {kind} | {shown} | {facts.get('description', '')} |"


def _kind(field: fields.Field[Any]) -> str:
    if "form" in field.metadata:
        return str(field.metadata["form"])
    if isinstance(field, NestedObject):
        return "object, see below"
    if isinstance(field, StrictList):
        return "list of " + ("objects" if isinstance(field.inner, NestedObject) else "strings")
    if isinstance(field, Choice):
        return " or ".join(f"`{value}`" for value in field.allowed)
    if isinstance(field, StrictNumber):
        return _number(field)
    longest = [rule.max for rule in field.validators if isinstance(rule, Length)]
    names = ((StrictString, "string"), (StrictBoolean, "true or false"), (FreeObject, "object"))
    named = next(name for kind, name in names if isinstance(field, kind))
    limit = f", at most {longest[0]} characters" if longest else ""
    return named + limit + (" or null" if field.allow_none else "")


def _number(field: StrictNumber) -> str:
    kind = "whole number" if field.whole else "number"
    if field.high is None:
        return f"{kind}, at least {field.low:g}"
    return f"{kind}, {field.low:g} to {field.high:g}"


if __name__ == "__main__":
    write_persona_page()
