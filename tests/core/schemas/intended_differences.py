"""Where we refuse what the published rules allow, and why: the one table of it.

The page "Personas" of the docs shows the same table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from core.schemas.published import INLINE, SCHEMA, STATEFUL, Node, is_uuid, part

from flask_anam.sandbox.api import catalog

UUID = catalog.AVATAR_ID
GOOD: Node = {"name": "Cara", "avatarId": UUID, "voiceId": UUID, "llmId": UUID}
#: Fields that Anam's SDKs send but its OpenAPI lacks.
SDK = {
    "": {"environment"},
    "personaConfig": {"type", "enableAudioPassthrough"},
    "sessionOptions": {"region", "regionPolicy", "showAIAvatarDisclosure"},
}
RETIRED = {"personaPreset", "personality", "fillerPhrases", "useFillerPhrases"}
PROMPT_LIMIT = 2000
_BESIDE = {"personaId", "type", "enableAudioPassthrough", "maxSessionLengthSeconds"}
_PERSONA = {*INLINE["properties"], *STATEFUL["properties"], *SDK["personaConfig"]}


@dataclass(frozen=True)
class Difference:
    """A rule of ours that is not published.

    Attributes:
        name: what is refused.
        why: the reason.
        where: yields the dotted paths that we refuse for it in a body.
        witness: a body that the published rules allow and we refuse for nothing else.

    """

    name: str
    why: str
    where: Callable[[Node], Iterator[str]]
    witness: Node


def ours(body: Node) -> set[str]:
    """Return the dotted paths that we refuse beyond the published rules."""
    return {path for row in TABLE for path in row.where(body)}


def _config(body: Node) -> Node:
    config = part(body, "personaConfig")
    return config if isinstance(config, dict) else {}


def _tools(body: Node) -> Iterator[tuple[str, Node]]:
    tools = _config(body).get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict):
            yield f"personaConfig.tools.{index}", tool


def _without(*names: str) -> Callable[[Node], Iterator[str]]:
    def where(body: Node) -> Iterator[str]:
        config = part(body, "personaConfig")
        if isinstance(config, dict) and "personaId" not in config:
            for name in names:
                brings_llm = name == "llmId" and body.get("environment")
                if name not in config and not brings_llm:
                    yield f"personaConfig.{name}"

    return where


def _mixed(body: Node) -> Iterator[str]:
    config = _config(body)
    if "personaId" in config:
        yield from (f"personaConfig.{name}" for name in set(config) & (_PERSONA - _BESIDE))


def _bad_ids(body: Node) -> Iterator[str]:
    for name in ("personaId", "avatarId", "voiceId", "llmId"):
        value = _config(body).get(name)
        named = name == "llmId" and re.fullmatch("[A-Z][A-Z0-9_]{2,63}", str(value))
        if isinstance(value, str) and not named and not is_uuid(value):
            yield f"personaConfig.{name}"


def _long_prompt(body: Node) -> Iterator[str]:
    prompt = _config(body).get("systemPrompt")
    if isinstance(prompt, str) and len(prompt) > PROMPT_LIMIT:
        yield "personaConfig.systemPrompt"


def _strange(body: Node) -> Iterator[str]:
    yield from _strange_in(SCHEMA, body, "")


def _strange_in(node: Node, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict) or node.get("additionalProperties"):
        return
    known: Node = dict(node.get("properties", {}))
    for alternative in node.get("oneOf", ()):
        known |= alternative.get("properties", {})
    if not known:
        return
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        if name in known:
            yield from _strange_in(known[name], inner, here)
        elif name not in SDK.get(path, ()) and not (path == "personaConfig" and name in RETIRED):
            yield here


def _retired(body: Node) -> Iterator[str]:
    yield from (f"personaConfig.{name}" for name in RETIRED & set(_config(body)))


def _sdk_types(body: Node) -> Iterator[str]:
    options = part(body, "sessionOptions")
    options = options if isinstance(options, dict) else {}
    if _config(body).get("type", "stateful") not in ("ephemeral", "stateful"):
        yield "personaConfig.type"
    region = options.get("region", "x")
    if not isinstance(region, str) or not region.strip():
        yield "sessionOptions.region"
    policy = options.get("regionPolicy", "strict")
    if policy not in ("preferred", "strict"):
        yield "sessionOptions.regionPolicy"
    if not isinstance(options.get("showAIAvatarDisclosure", True), bool):
        yield "sessionOptions.showAIAvatarDisclosure"
    if options.get("regionPolicy") == "strict" and "region" not in options:
        yield "sessionOptions.region"


def _no_time(body: Node) -> Iterator[str]:
    value = _config(body).get("maxSessionLengthSeconds", 1)
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 1:
        yield "personaConfig.maxSessionLengthSeconds"


def _huge(body: Node) -> Iterator[str]:
    value = _config(body).get("maxSessionLengthSeconds", 1)
    if isinstance(value, int) and value > 2**1024:
        yield "personaConfig.maxSessionLengthSeconds"


def _blank(body: Node) -> Iterator[str]:
    named = [("personaConfig", _config(body)), *_tools(body)]
    for path, holder in named:
        name = holder.get("name")
        if isinstance(name, str) and not name.strip():
            yield f"{path}.name"


def _tool_fields(body: Node) -> Iterator[str]:
    for path, tool in _tools(body):
        if tool.get("type") != "server" and tool.get("subtype", "webhook") not in (
            "knowledge",
            "webhook",
        ):
            yield f"{path}.subtype"
        if not isinstance(tool.get("queryParameters", {}), dict):
            yield f"{path}.queryParameters"
        if "://" not in str(tool.get("url", "x://")):
            yield f"{path}.url"
        headers = tool.get("headers", {})
        if not isinstance(headers, dict):
            yield f"{path}.headers"
        elif not all(isinstance(value, str) for value in headers.values()):
            yield from (
                f"{path}.headers.{key}" for key, v in headers.items() if not isinstance(v, str)
            )


def _surrogates(body: Node, path: str = "") -> Iterator[str]:
    for name, value in body.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from _surrogates(value, here)
        elif isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            yield here


def _with(**fields: Any) -> Node:
    return {"personaConfig": {**GOOD, **fields}}


def _tool(**fields: Any) -> Node:
    return _with(tools=[{"type": "client", "name": "open", **fields}])


TABLE = (
    Difference(
        "`llmId` is required in a persona described inline, unless there is an `environment`",
        'without it Anam mints a "legacy" token, which its SDKs refuse',
        _without("llmId"),
        {"personaConfig": {name: value for name, value in GOOD.items() if name != "llmId"}},
    ),
    Difference(
        "`name` and `avatarId` are required in a persona described inline",
        "without them the mint would succeed, and the start of the session would fail",
        _without("name", "avatarId"),
        {"personaConfig": {"llmId": UUID}},
    ),
    Difference(
        "`personaId` can only be combined with fields that concern the session",
        'other combinations give a "legacy" token',
        _mixed,
        {"personaConfig": {"personaId": UUID, "systemPrompt": "x"}},
    ),
    Difference(
        "ids are UUIDs; `llmId` may be a name in capitals such as `CUSTOMER_CLIENT_V1`",
        "an incompletely copied id is detected at start-up",
        _bad_ids,
        _with(voiceId="lucy"),
    ),
    Difference(
        "`systemPrompt` has at most `ANAM_SYSTEM_PROMPT_MAX_LENGTH` characters",
        "the example in Anam's guide checks for 2000; the API publishes no limit",
        _long_prompt,
        _with(systemPrompt="x" * (PROMPT_LIMIT + 1)),
    ),
    Difference(
        "unknown fields are refused, except in `tools` and `environment`",
        "Anam ignores them silently, so a typing error would have no effect",
        _strange,
        _with(voiceld=UUID),
    ),
    Difference(
        "`personaPreset`, `personality`, `fillerPhrases` and `useFillerPhrases` are refused",
        "they belong to an older API and have no effect any more",
        _retired,
        _with(personality="x"),
    ),
    Difference(
        "fields that only the SDKs send are validated by the types in the SDKs",
        "the OpenAPI document does not describe them; a wrong value would go unnoticed",
        _sdk_types,
        {"personaConfig": GOOD, "sessionOptions": {"regionPolicy": "strict"}},
    ),
    Difference(
        "`maxSessionLengthSeconds` is at least 1",
        "a session of zero seconds is useless",
        _no_time,
        _with(maxSessionLengthSeconds=0),
    ),
    Difference(
        "numbers fit into a double",
        "JavaScript reads them as doubles",
        _huge,
        _with(maxSessionLengthSeconds=10**400),
    ),
    Difference(
        "names of personas and tools are not blank",
        "a blank name is a mistake",
        _blank,
        _with(name=" "),
    ),
    Difference(
        "`subtype`, `queryParameters`, `url` and `headers` are validated in every tool",
        "they have the same meaning wherever Anam documents them",
        _tool_fields,
        _tool(headers={"X": 1}),
    ),
    Difference(
        "texts can be encoded as UTF-8",
        "a lone surrogate would make the request fail",
        _surrogates,
        _with(systemPrompt="\ud800"),
    ),
)
