#!/usr/bin/env python3
"""Take the rules of a mint out of Anam's OpenAPI, for the tests.

    tools/mint-schema.py path/to/anam-openapi.json

Writes tests/core/schemas/anam_mint_schema.json: names, types, enums, ranges, lengths, formats and
what is required; no descriptions and no examples.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OPERATION = "/v1/auth/session-token"
OUT = Path(__file__).parent.parent / "tests" / "core" / "schemas" / "anam_mint_schema.json"
RULES = (
    *("type", "enum", "format", "nullable", "required", "additionalProperties"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"),
)


def rules_of(schema: Any, api: dict[str, Any]) -> dict[str, Any]:
    """Return the rules of a schema of the OpenAPI, with its references in place."""
    while "$ref" in schema:
        node: Any = api
        for name in schema["$ref"].removeprefix("#/").split("/"):
            node = node[name]
        schema = node
    kept = {name: schema[name] for name in RULES if name in schema}
    if "properties" in schema:
        named = schema["properties"].items()
        kept["properties"] = {name: rules_of(part, api) for name, part in named}
    if "items" in schema:
        kept["items"] = rules_of(schema["items"], api)
    for name in ("oneOf", "anyOf", "allOf"):
        if name in schema:
            kept[name] = [rules_of(part, api) for part in schema[name]]
    return kept


def main(source: str) -> None:
    """Write the rules that stand in an OpenAPI file."""
    api = json.loads(Path(source).read_text(encoding="utf-8"))
    body = api["paths"][OPERATION]["post"]["requestBody"]["content"]["application/json"]["schema"]
    version = api["info"]["version"]
    note = f"Anam's OpenAPI {version}, POST {OPERATION}; written by tools/mint-schema.py"
    text = json.dumps({"source": note, "schema": rules_of(body, api)}, indent=1)
    OUT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
