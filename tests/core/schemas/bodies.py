"""Bodies of a mint for hypothesis: right ones, odd ones, and ones broken in exactly one place."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from core.schemas.intended_differences import UUID
from core.schemas.published import SCHEMA, SIZES, Node
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
#: A break: the path that is wrong then, and the broken body.
Break = tuple[str, Node]

_INLINE: Node = {
    "name": "Cara",
    "avatarId": UUID,
    "avatarModel": "cara-4",
    "voiceId": UUID,
    "llmId": UUID,
    "systemPrompt": "You help.",
    "maxSessionLengthSeconds": 600,
    "skipGreeting": False,
    "uninterruptibleGreeting": True,
    "initialMessage": None,
    "voiceDetectionOptions": {
        "endOfSpeechSensitivity": 0.5,
        "silenceBeforeSkipTurnSeconds": 900,
        "silenceBeforeSessionEndSeconds": 60.5,
        "silenceBeforeAutoEndTurnSeconds": 0.5,
        "speechEnhancementLevel": 0,
    },
    "languageCode": "en",
    "directorNotes": {"presetStyle": "warm", "expressivity": 1},
    "tools": [
        {"type": "client", "name": "a", "description": "d" * 1024, "parameters": {}},
        {"type": "server", "subtype": "knowledge", "name": "b"},
        {"type": "system", "name": "c"},
    ],
    "toolIds": [UUID],
    "enableAudioPassthrough": True,
}
_OPTIONS: Node = {
    "sessionReplay": {"enableSessionReplay": False},
    "videoQuality": "auto",
    "videoWidth": 1152,
    "videoHeight": 768,
    "egress": {
        "mode": "daily",
        "daily": {"roomUrl": "https://x.daily.co/y", "token": "t", "userName": "u"},
    },
}
_VOICES: dict[str, Node] = {
    "ElevenLabs V1": {"stability": 0.5, "similarityBoost": 1, "speed": 0.7},
    "ElevenLabs V2": {"style": 0, "useSpeakerBoost": True, "model": "m", "speed": 1.2},
    "Cartesia Sonic-3": {"volume": 2, "speed": 1.5, "emotion": "calm"},
    "Fish Audio": {"volume": 0.5, "speed": 2},
}
#: Bodies with every option group, one for each kind of voice, and a stored persona.
FULL: dict[str, Node] = {
    **{
        kind: {
            "clientLabel": "web",
            "personaConfig": {**_INLINE, "voiceGenerationOptions": voice},
            "sessionOptions": _OPTIONS,
        }
        for kind, voice in _VOICES.items()
    },
    "stored": {
        "personaConfig": {"personaId": UUID, "enableAudioPassthrough": True},
        "sessionOptions": _OPTIONS,
    },
}

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
_OBJECT = st.dictionaries(st.text(max_size=4), _JSON, max_size=3)
_TEXT = st.text(max_size=12)
_IDS = {"personaId", "avatarId", "voiceId", "llmId"}
_STRANGE = ["customerRef", "avatar", "prompt", "x-y", "A"]
_SIDES = ("videoWidth", "videoHeight")


@st.composite
def right(draw: Draw) -> Node:
    """Return a body that both the published rules and we accept."""
    body = draw(_by(SCHEMA, friendly=True))
    body["personaConfig"] = draw(_persona(friendly=True))
    return _made_fit(draw, body)


@st.composite
def odd(draw: Draw) -> Node:
    """Return a body that the published rules accept, and we perhaps not."""
    body = draw(_by(SCHEMA, friendly=False))
    body["personaConfig"] = draw(_persona(friendly=False))
    body = _made_fit(draw, body)
    for place in ("personaConfig", "sessionOptions", "voiceDetectionOptions", ""):
        config = body["personaConfig"]
        holder = body if not place else body.get(place, config.get(place))
        if isinstance(holder, dict) and draw(st.integers(0, 3)) == 0:
            holder[draw(st.sampled_from(_STRANGE))] = draw(_JSON)
    for name, value in draw(st.lists(st.sampled_from(_ODD), max_size=2)):
        body["personaConfig"][name] = copy.deepcopy(value)
    if "sessionOptions" in body:
        body["sessionOptions"].update(draw(st.lists(st.sampled_from(_ODD_OPTIONS), max_size=2)))
    return body


_ODD: list[tuple[str, Any]] = [
    ("personality", "kind"),
    ("fillerPhrases", True),
    ("type", "legacy"),
    ("type", "stateful"),
    ("maxSessionLengthSeconds", 10**400),
    ("maxSessionLengthSeconds", 0.5),
    ("systemPrompt", "x" * 2001),
    ("systemPrompt", "\ud800"),
    ("personaId", UUID),
    ("personaId", "p"),
    ("llmId", "NEW_NAMED_LLM"),
    ("tools", [{"type": "client", "name": " ", "subtype": "own"}]),
    ("tools", [{"type": "system", "name": "a", "queryParameters": 1, "url": "x"}]),
    ("tools", [{"type": "client", "name": "a", "headers": {"X": 1, "Y": "y"}}]),
    ("tools", [{"type": "client", "name": "a", "headers": "X: 1", "anything": [1]}]),
]
_ODD_OPTIONS: list[tuple[str, Any]] = [
    ("region", ""),
    ("region", "eu"),
    ("region", 7),
    ("regionPolicy", "strict"),
    ("regionPolicy", "lax"),
    ("showAIAvatarDisclosure", "yes"),
    ("showAIAvatarDisclosure", False),
]


@st.composite
def broken_once(draw: Draw) -> list[Break]:
    """Return two ways to break one right body: a path, and it broken there and nowhere else."""
    body = draw(right())
    makers: dict[str, list[Callable[[], Node]]] = {}
    for path, make in breaks(body):
        makers.setdefault(path, []).append(make)
    # Evenly spread, while a choice of hypothesis would favour what comes first.
    which = zlib.crc32(repr(body).encode("utf-8", "surrogatepass"))
    paths = [sorted(makers)[place % len(makers)] for place in (which, which + len(makers) // 2)]
    return [(path, makers[path][which // 1000 % len(makers[path])]()) for path in paths]


def breaks(body: Node) -> Iterator[tuple[str, Callable[[], Node]]]:
    """Yield every way to break a right body in one place: the path, and what breaks it."""
    for path, node, steps in _places(SCHEMA, body, ""):
        for value in _wrong_values(node):
            yield path, partial(_changed, body, steps, value)
        yield from _shortened(body, node, path, steps)
    for path, made in _breaks_of_prose(body):
        yield path, partial(dict, made)


def _breaks_of_prose(body: Node) -> Iterator[Break]:
    """Yield breaks of the rules between fields, and of those told in words only."""
    config, options = body["personaConfig"], dict(body.get("sessionOptions", {}))
    yield "personaConfig", {name: value for name, value in body.items() if name != "personaConfig"}
    yield "environment", {**body, "environment": "x"}

    def persona(**fields: Any) -> Node:
        return {**body, "personaConfig": {**config, **fields}}

    def session(**fields: Any) -> Node:
        return {**body, "sessionOptions": {**options, **fields}}

    yield "personaConfig.enableAudioPassthrough", persona(enableAudioPassthrough="on")
    if "personaId" not in config:
        yield "personaConfig.languageCode", persona(languageCode="eng")
        styles = {"presetStyle": "warm", "customStylePrompt": "calm"}
        yield "personaConfig.directorNotes.presetStyle", persona(directorNotes=styles)
        kinds: list[tuple[str, Node]] = [
            ("", {"stability": 0.5, "volume": 1}),
            ("", {"emotion": "calm", "useSpeakerBoost": True}),
            (".speed", {"similarityBoost": 0.5, "speed": 1.3}),
            (".speed", {"emotion": "sad", "speed": 0.5}),
            (".speed", {"volume": 1, "speed": 2.1}),
            (".emotion", {"volume": 1, "emotion": "bored"}),
        ]
        for where, value in kinds:
            path = f"personaConfig.voiceGenerationOptions{where}"
            yield path, persona(voiceGenerationOptions=value)
        for where, tool in _wrong_tools():
            tools = [*config.get("tools", ()), tool]
            yield f"personaConfig.tools.{len(tools) - 1}{where}", persona(tools=tools)
        twins = [{"type": "system", "name": "same"}, {"type": "client", "name": "same"}]
        yield "personaConfig.tools.1.name", persona(tools=twins)
    for side, other in (_SIDES, _SIDES[::-1]):
        lonely = {name: value for name, value in options.items() if name != other}
        yield f"sessionOptions.{other}", {**body, "sessionOptions": {**lonely, side: 768}}
        for wrong in ("768", 720.5, None, True):
            sizes = {**dict(zip(_SIDES, (1152, 768), strict=True)), side: wrong}
            yield f"sessionOptions.{side}", session(**sizes)
    yield "sessionOptions.videoWidth", session(videoWidth=640, videoHeight=480)
    through = {**body, "personaConfig": {**config, "enableAudioPassthrough": True}}
    without = {**body, "personaConfig": {**config, "enableAudioPassthrough": False}}
    room = {"mode": "daily", "daily": {"roomUrl": "https://x.daily.co/y"}}
    yield "sessionOptions.egress", {**without, "sessionOptions": {**options, "egress": room}}
    lost = {**options, "egress": {"mode": "daily"}}
    yield "sessionOptions.egress.daily", {**through, "sessionOptions": lost}


def _wrong_tools() -> Iterator[tuple[str, Any]]:
    large, wide = {"a": "x" * 9_993}, {"a": "é" * 4_997}
    webhook = {"type": "server", "subtype": "webhook", "name": "wrong one"}
    client = {"type": "client", "name": "wrong one"}
    yield ".parameters", {**client, "parameters": large}
    yield ".parameters", {**webhook, "parameters": wide}
    yield ".queryParameters", {**webhook, "queryParameters": large}
    yield ".queryParameters", {**webhook, "queryParameters": []}
    yield ".parameters", {"type": "system", "name": "wrong one", "parameters": "free"}
    yield ".subtype", {"type": "server", "name": "wrong one"}
    yield ".subtype", {**webhook, "subtype": "rag"}
    yield ".description", {**client, "description": "d" * 1025}
    yield ".type", {**client, "type": "SERVER"}
    yield ".type", {"name": "wrong one"}
    yield ".name", {"type": "client"}
    yield "", "client"


def _by(node: Node, *, friendly: bool, name: str = "") -> st.SearchStrategy[Any]:
    """Return a strategy for the right values of a node; friendly ones suit us as well."""
    if "enum" in node or ("oneOf" in node and node.get("type") == "string"):
        return st.sampled_from(node.get("enum") or node["oneOf"][0]["enum"])
    kind = node.get("type")
    if "oneOf" in node:
        return st.one_of([_by(option, friendly=friendly) for option in node["oneOf"]])
    if kind == "object":
        return _objects(node, friendly=friendly)
    if kind == "array":
        return st.lists(_by(node["items"], friendly=friendly), max_size=3)
    if kind in {"number", "integer"}:
        return _numbers(node, friendly=friendly)
    if kind == "boolean":
        return st.booleans()
    return _texts(node, name, friendly=friendly)


def _objects(node: Node, *, friendly: bool) -> st.SearchStrategy[Node]:
    parts = node.get("properties")
    if parts is None:
        return _OBJECT
    made = {name: _by(part, friendly=friendly, name=name) for name, part in parts.items()}
    needed = set(node.get("required", ()))
    optional = {name: value for name, value in made.items() if name not in needed}
    required = {name: value for name, value in made.items() if name in needed}
    return st.fixed_dictionaries(required, optional=optional)


def _numbers(node: Node, *, friendly: bool) -> st.SearchStrategy[Any]:
    low, high = node.get("minimum", 1 if friendly else -1e300), node.get("maximum", 1e300)
    whole = st.integers(int(low) + (low % 1 > 0), int(min(high, 10**9)))
    edges = st.sampled_from([value for value in (low, high) if abs(value) < 1e9] or [600])
    if node["type"] == "integer":
        return whole
    return st.one_of(edges, st.floats(low, high), whole if int(low) + 1 <= high else edges)


def _texts(node: Node, name: str, *, friendly: bool) -> st.SearchStrategy[Any]:
    if node.get("format") == "uuid" or (name in _IDS and friendly):
        return st.uuids().flatmap(lambda value: st.sampled_from([str(value), str(value).upper()]))
    if node.get("format") == "uri":
        return st.sampled_from(["https://x.daily.co/y", "http://h/p?q=1", "wss://h"])
    if name == "languageCode":
        return st.sampled_from(["en", "DE", "ja"])
    longest = st.just("é" * node["maxLength"]) if "maxLength" in node else _TEXT
    texts = (_TEXT | longest) if not (friendly and name == "name") else _TEXT.map("n{}".format)
    return texts | st.none() if node.get("nullable") else texts


@st.composite
def _persona(draw: Draw, *, friendly: bool) -> Node:
    inline, stateful = SCHEMA["properties"]["personaConfig"]["oneOf"]
    # Evenly, since hypothesis draws a small kind less often than its share: it avoids repeats.
    node = draw(st.sampled_from([inline, stateful]))
    config: Node = dict(draw(_objects(node, friendly=friendly)))
    if friendly:
        needed = ("name", "avatarId", "llmId") if node is inline else ("personaId",)
        for name in needed:
            config.setdefault(name, UUID)
    if draw(st.booleans()):
        config["enableAudioPassthrough"] = draw(st.booleans())
    return config


def _made_fit(draw: Draw, body: Node) -> Node:
    """Return a body that also keeps the rules that are told in words."""
    config = body["personaConfig"]
    if len(config.get("directorNotes", {})) > 1:
        config["directorNotes"].pop("presetStyle", None)
    for index, tool in enumerate(config.get("tools", ())):
        tool["name"] = f"{tool['name']} {index}"
        if tool["type"] == "server":
            tool["subtype"] = draw(st.sampled_from(["knowledge", "webhook"]))
    options = body.get("sessionOptions")
    if options is not None:
        given = [options.pop(side, None) for side in _SIDES]
        if any(given):
            sizes = SIZES.get(str(config.get("avatarModel"))) or SIZES["cara-4"]
            options.update(zip(_SIDES, draw(st.sampled_from(sizes)), strict=True))
        if "egress" in options:
            config["enableAudioPassthrough"] = True
            options["egress"].setdefault("daily", {"roomUrl": "https://x.daily.co/y"})
    if draw(st.integers(0, 4)) == 0:
        body["environment"] = draw(_OBJECT)
    return body


Steps = tuple[str | int, ...]


def _places(
    node: Node, value: Any, path: str, steps: Steps = ()
) -> Iterator[tuple[str, Node, Steps]]:
    """Yield every place of a body that a rule is about."""
    if path:
        yield path, node, steps
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(node["items"], item, f"{path}.{index}", (*steps, index))
        return
    nodes = [node, *node.get("oneOf", ())]
    for name, inner in value.items() if isinstance(value, dict) else ():
        fitting = [part["properties"][name] for part in nodes if name in part.get("properties", {})]
        if fitting and name not in _SIDES:
            here = f"{path}.{name}" if path else name
            yield from _places(fitting[0], inner, here, (*steps, name))


def _wrong_values(node: Node) -> Iterator[Any]:
    """Yield values that no alternative of a node allows."""
    kind = node.get("type", "object")
    others = {"string": "x", "number": 7, "boolean": True, "array": [], "object": {}}
    same = "number" if kind == "integer" else kind
    yield from (value for name, value in others.items() if name != same)
    if not node.get("nullable"):
        yield None
    if "enum" in node:
        yield from ("", node["enum"][0].upper() + "-9")
    if "minimum" in node:
        yield node["minimum"] - 0.01 if node["minimum"] != 0.7 else 0.49  # any kind of voice
    if "maximum" in node:
        yield node["maximum"] + 0.01 if node["maximum"] != 1.2 else 2.01
    if "maxLength" in node:
        yield "x" * (node["maxLength"] + 1)
    if node.get("format"):
        yield from ("", "half", f"{UUID}\n" if node["format"] == "uuid" else "//h/x")


def _shortened(
    body: Node, node: Node, path: str, steps: Steps
) -> Iterator[tuple[str, Callable[[], Node]]]:
    """Yield the body without each field that the node requires, and with a wrong list item."""
    for name in node.get("required", ()):
        holder = {key: part for key, part in _value_at(body, steps).items() if key != name}
        yield f"{path}.{name}", partial(_changed, body, steps, holder)
    if node.get("type") == "array":
        items = _value_at(body, steps)
        wrong = next(_wrong_values(node["items"]))
        yield f"{path}.{len(items)}", partial(_changed, body, steps, [*items, wrong])


def _value_at(body: Any, steps: Steps) -> Any:
    for step in steps:
        body = body[step]
    return body


def _changed(body: Node, steps: Steps, value: Any) -> Node:
    changed = copy.deepcopy(body)
    _value_at(changed, steps[:-1])[steps[-1]] = value
    return changed
