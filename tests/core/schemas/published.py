"""What Anam publishes about a mint: an oracle that shares no code with the library.

The machine-readable rules come from anam_mint_schema.json; `_prose` adds those that the OpenAPI
only tells in words. Two of its ``oneOf`` cannot be meant literally, since its own example fits
both alternatives of the persona config: the fields of both are checked there, and the options of
a voice must be those of one kind.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Node = dict[str, Any]
SCHEMA: Node = json.loads(Path(__file__).with_name("anam_mint_schema.json").read_text())["schema"]
INLINE, STATEFUL = SCHEMA["properties"]["personaConfig"]["oneOf"]
SIZES = {
    "cara-3": [(720, 480)],
    "cara-4": [(1152, 768), (768, 1152)],
    "cara-4-latest": [(1152, 768), (768, 1152)],
}


def broken(body: Node) -> set[str]:
    """Return the dotted paths of what breaks a published rule; empty for a right body."""
    return {*_check(SCHEMA, body, ""), *_prose(body)}


def part(value: object, *names: str) -> Any:
    """Return what stands at a path, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def is_uuid(value: str) -> bool:
    """Whether a text is a UUID in its usual spelling."""
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def _check(node: Node, value: Any, path: str) -> Iterator[str]:
    if value is None and node.get("nullable"):
        return
    if not _has_type(node.get("type", ""), value):
        yield path
    elif "oneOf" in node:
        yield from _alternatives(node["oneOf"], value, path)
    elif isinstance(value, dict):
        yield from (_at(path, name) for name in node.get("required", ()) if name not in value)
        for name, inner in node.get("properties", {}).items():
            if name in value:
                yield from _check(inner, value[name], _at(path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check(node["items"], item, _at(path, str(index)))
    elif not _fits(node, value):
        yield path


def _alternatives(nodes: list[Node], value: Any, path: str) -> Iterator[str]:
    if not all("properties" in node for node in nodes):
        if all(list(_check(node, value, path)) for node in nodes):
            yield path
        return
    if not isinstance(value, dict):
        yield path
        return
    known = {name for node in nodes for name in node["properties"]} & set(value)
    chosen = [node for node in nodes if known <= set(node["properties"])]
    if chosen:
        yield from min((list(_check(node, value, path)) for node in chosen), key=len)
    elif path == "personaConfig":
        yield from (problem for node in nodes for problem in _check(node, value, path))
    else:
        yield path


def _has_type(kind: str, value: Any) -> bool:
    if kind in {"number", "integer"}:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "number" or value % 1 == 0)
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool}
    return isinstance(value, kinds.get(kind, object))


def _fits(node: Node, value: Any) -> bool:
    if not isinstance(value, str):
        return bool(node.get("minimum", -math.inf) <= value <= node.get("maximum", math.inf))
    forms = {"uuid": is_uuid, "uri": _is_uri}
    return (
        value in node.get("enum", [value])
        and len(value) <= node.get("maxLength", math.inf)
        and ("format" not in node or forms[node["format"]](value))
    )


def _is_uri(value: str) -> bool:
    try:
        return bool(urlsplit(value).scheme and urlsplit(value).netloc)
    except ValueError:
        return False


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _prose(body: Node) -> Iterator[str]:
    """Yield what breaks the rules that the OpenAPI tells in its descriptions."""
    if "personaConfig" not in body:
        yield "personaConfig"
    config, options = part(body, "personaConfig"), part(body, "sessionOptions")
    if not isinstance(body.get("environment", {}), dict):
        yield "environment"
    if isinstance(config, dict):
        yield from _prose_of_config(config)
    if isinstance(options, dict):
        yield from _prose_of_options(options, config)


def _prose_of_config(config: Node) -> Iterator[str]:
    language = config.get("languageCode")
    if isinstance(language, str) and not re.fullmatch("[A-Za-z]{2}", language):
        yield "personaConfig.languageCode"
    if not isinstance(config.get("enableAudioPassthrough", False), bool):
        yield "personaConfig.enableAudioPassthrough"
    notes = part(config, "directorNotes")
    if isinstance(notes, dict) and {"presetStyle", "customStylePrompt"} <= set(notes):
        yield "personaConfig.directorNotes.presetStyle"
    seen: list[Any] = []
    for index, tool in enumerate(config["tools"] if _listed(config, "tools") else ()):
        if isinstance(tool, dict):
            path = f"personaConfig.tools.{index}"
            yield from (f"{path}.{name}" for name in _prose_of_tool(tool))
            if tool.get("name", index) in seen:
                yield f"{path}.name"
            seen.append(tool.get("name"))


def _listed(config: Node, name: str) -> bool:
    return isinstance(config.get(name), list)


def _prose_of_tool(tool: Node) -> Iterator[str]:
    if tool.get("type") == "server" and tool.get("subtype") not in ("knowledge", "webhook"):
        yield "subtype"
    webhook = tool.get("type") == "server" and tool.get("subtype") == "webhook"
    named = {"parameters": webhook or tool.get("type") == "client", "queryParameters": webhook}
    for name, limited in named.items():
        schema = tool.get(name, {})
        if limited and isinstance(schema, dict):
            text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
            if len(text.encode("utf-8", "surrogatepass")) > 10_000:
                yield name
    if webhook and not isinstance(tool.get("queryParameters", {}), dict):
        yield "queryParameters"


def _prose_of_options(options: Node, config: Any) -> Iterator[str]:
    sides = ("videoWidth", "videoHeight")
    missing = [side for side in sides if side not in options]
    if len(missing) == 1:
        yield f"sessionOptions.{missing[0]}"
    size = tuple(options.get(side) for side in sides)
    if not missing and all(_has_type("integer", side) for side in size):
        all_sizes = [size for sizes in SIZES.values() for size in sizes]
        if size not in SIZES.get(str(part(config, "avatarModel")), all_sizes):
            yield "sessionOptions.videoWidth"
    egress = options.get("egress")
    if isinstance(egress, dict) and isinstance(config, dict):
        if part(config, "enableAudioPassthrough") in (None, False):
            yield "sessionOptions.egress"
        if egress.get("mode") == "daily" and "daily" not in egress:
            yield "sessionOptions.egress.daily"
