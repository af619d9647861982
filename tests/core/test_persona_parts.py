"""What is put into a persona at a request: overrides of a browser, late values, secrets."""

from __future__ import annotations

from typing import Any

import pytest

from flask_anam.core.personas.mint_body import MintBody
from flask_anam.core.personas.persona import make_persona
from flask_anam.core.schemas.secret import secret
from flask_anam.errors import InvalidRequest, PersonaInvalid

from .conftest import PERSONA, UUID, body_of, registry


@pytest.mark.parametrize("callable_", [False, True], ids=["static", "callable"])
def test_an_allowed_override_is_applied(callable_: bool) -> None:
    """It takes the place of the config's value; the persona itself does not change."""
    source: Any = (lambda user: PERSONA) if callable_ else PERSONA
    personas = registry({}, make_persona("a", source, overrides=["languageCode", "name"]))
    changed = body_of(personas, "a", languageCode="de", name="Bo").body["personaConfig"]
    assert changed == {**PERSONA, "languageCode": "de", "name": "Bo"}
    assert body_of(personas, "a").body == {"personaConfig": PERSONA}


def test_an_override_that_is_not_allowed_is_refused() -> None:
    """The browser learns which it may set, and nothing of the config."""
    personas = registry({}, make_persona("a", PERSONA, overrides=["name", "languageCode"]))
    with pytest.raises(InvalidRequest) as caught:
        body_of(personas, "a", systemPrompt="x", language_code="de")
    text = "Not a field that may be set for this persona (allowed: languageCode, name)."
    assert caught.value.details == {"overrides": {"systemPrompt": [text], "language_code": [text]}}
    with pytest.raises(InvalidRequest, match="not valid") as caught:
        body_of(registry({"a": PERSONA}), "a", name="x")
    assert "allowed: none" in str(caught.value.details)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        pytest.param({"languageCode": 5}, "languageCode", id="type"),
        pytest.param({"languageCode": None}, "languageCode", id="null"),
        pytest.param({"systemPrompt": "x" * 2001}, "systemPrompt", id="length"),
        pytest.param(
            {"voiceGenerationOptions": {"speed": float("nan")}}, "voiceGenerationOptions", id="NaN"
        ),
    ],
)
def test_an_override_that_is_not_valid_is_the_callers_error(
    overrides: dict[str, Any], field: str
) -> None:
    """422 with the field, not 500: the browser sent it."""
    allowed = ["languageCode", "systemPrompt", "voiceGenerationOptions"]
    personas = registry({}, make_persona("a", PERSONA, overrides=allowed))
    with pytest.raises(InvalidRequest) as caught:
        body_of(personas, "a", **overrides)
    details = caught.value.details
    assert details is not None
    assert list(details["overrides"]) == [field]  # type: ignore[call-overload]


def test_an_override_cannot_make_a_legacy_mix() -> None:
    """A field beside personaId that would change the kind of token is refused."""
    personas = registry({}, make_persona("a", {"personaId": UUID}, overrides=["name"]))
    with pytest.raises(InvalidRequest, match="not valid"):
        body_of(personas, "a", name="Bo")


BOUNDS: list[tuple[str, Any, Any, bool]] = [
    ("languageCode", ["en", "de"], "de", True),
    ("languageCode", {"en"}, "fr", False),
    ("languageCode", {"en"}, ["en"], False),
    ("languageCode", ("en",), None, False),
    ("maxSessionLengthSeconds", {"min": 60, "max": 600}, 60, True),
    ("maxSessionLengthSeconds", {"min": 60, "max": 600}, 601, False),
    ("maxSessionLengthSeconds", {"min": 60}, 59.9, False),
    ("maxSessionLengthSeconds", {"min": 60}, "60", False),
    ("maxSessionLengthSeconds", {"max": 60}, float("nan"), False),
    ("name", {"maxLength": 3}, "Bob", True),
    ("name", {"maxLength": 3}, "Boba", False),
    ("name", {"maxLength": 3}, ["B"], False),
]


@pytest.mark.parametrize(("name", "bound", "value", "good"), BOUNDS, ids=str)
def test_an_override_stays_within_its_bounds(name: str, bound: Any, value: Any, good: bool) -> None:
    """A list, a span or a length; a value outside is the caller's error under its field."""
    personas = registry({}, make_persona("a", PERSONA, overrides={name: bound}))
    if good:
        assert body_of(personas, "a", **{name: value}).body["personaConfig"][name] == value
        return
    with pytest.raises(InvalidRequest) as caught:
        body_of(personas, "a", **{name: value})
    assert list((caught.value.details or {})["overrides"]) == [name]  # type: ignore[call-overload]


def with_tools(*tools: dict[str, Any]) -> MintBody:
    """Return a body with these tools."""
    return MintBody.of({"personaConfig": {**PERSONA, "tools": list(tools)}})


@pytest.mark.parametrize(
    ("tool", "hidden"),
    [
        ({"name": "a"}, False),
        ({"name": "a", "url": "https://x/hook"}, False),
        ({"name": "a", "headers": {}}, False),
        ({"name": "a", "url": "https://x/hook?sig=1"}, True),
        ({"name": "a", "headers": {"X-Key": "1"}}, True),
    ],
    ids=str,
)
def test_tools_with_headers_or_signed_urls_are_secrets(tool: dict[str, Any], hidden: bool) -> None:
    """Their tokens must not be stored: the secret may live shorter than the token."""
    assert with_tools({"name": "z"}, tool).holds_secrets is hidden


@pytest.mark.parametrize(
    ("beside", "hidden"),
    [
        ({"environment": {"livekit": "x"}}, True),
        ({"environment": {}}, False),
        ({"sessionOptions": {"egress": {"daily": {"token": "t"}}}}, True),
        ({"sessionOptions": {"egress": {"daily": {"roomUrl": "u"}}}}, False),
        ({"clientLabel": "x"}, False),
    ],
    ids=str,
)
def test_an_environment_or_a_room_token_is_a_secret(beside: dict[str, Any], hidden: bool) -> None:
    """What stands beside the config counts as well."""
    assert MintBody.of({"personaConfig": PERSONA, **beside}).holds_secrets is hidden


TOOL = {"type": "server", "subtype": "webhook", "name": "t", "url": "https://x.example/h"}


def test_a_late_value_is_read_at_each_mint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands; its token is never stored, and it is checked once it is known."""
    for place in ({"headers": {"X": secret("LATE")}}, {"parameters": {"a": [secret("LATE")]}}):
        personas = registry({"a": {**PERSONA, "tools": [{**TOOL, **place}]}})
        for value in ("one", "two"):
            monkeypatch.setenv("LATE", value)
            made = body_of(personas, "a")
            assert value in str(made.body)
            assert made.holds_secrets
        monkeypatch.delenv("LATE")
        with pytest.raises(PersonaInvalid, match="LATE is not set"):
            body_of(personas, "a")
    personas = registry({"a": {**PERSONA, "avatarId": secret("LATE")}})
    monkeypatch.setenv("LATE", "SENTINEL")
    with pytest.raises(PersonaInvalid, match="avatarId: Not a UUID") as caught:
        body_of(personas, "a")
    assert "SENTINEL" not in caught.value.text


@pytest.mark.parametrize("name", ["sessionOptions", "environment", "clientLabel"])
def test_what_stands_beside_a_config_may_be_late_too(name: str) -> None:
    """Such a persona is accepted at the start and made at each mint."""
    value: Any = {"environment": {"a": 1}, "sessionOptions": {"videoQuality": "high"}}.get(
        name, "x"
    )
    personas = registry({"a": {**PERSONA, name: lambda: value}})
    made = body_of(personas, "a")
    assert made.body[name] == value
    assert made.holds_secrets


def test_a_config_that_holds_itself_is_our_own_error() -> None:
    """A callable that returns one cannot exhaust the stack of a request."""
    loop: dict[str, Any] = {**PERSONA}
    loop["tools"] = [{**TOOL, "parameters": {"loop": loop}}]
    with pytest.raises(PersonaInvalid, match="RecursionError"):
        body_of(registry({}, make_persona("a", lambda user: loop)), "a")
