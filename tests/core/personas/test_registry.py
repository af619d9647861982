"""Persona registry: lookup, defaults, callables, deferred values and the body of a mint."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import UUID, body_of, registry
from hosts import PERSONA, PROMPT

from flask_anam.core.personas.persona import Declarations, make_persona
from flask_anam.core.personas.registry import PersonaRegistry, check_static, error_lines
from flask_anam.core.schemas.secret import secret
from flask_anam.errors import (
    ConfigError,
    InvalidRequest,
    PersonaInvalid,
    UnknownPersona,
)


def test_a_static_persona_is_sent_as_configured() -> None:
    """Our own keys stay here; the config goes to Anam."""
    entry = {**PERSONA, "label": "Help", "permission": "p", "overrides": ["languageCode"]}
    personas = registry({"support": entry})
    assert body_of(personas, "support").body == {"personaConfig": PERSONA}
    persona = personas.choose("support")
    assert (persona.label, persona.permission) == ("Help", "p")
    assert persona.overrides == {"languageCode": True}
    assert persona.is_static


def test_a_static_declaration_in_code_is_checked_at_once() -> None:
    """All but the prompt's length, which is a setting of each app."""
    with pytest.raises(ConfigError, match="avatarId"):
        check_static(make_persona("a", {**PERSONA, "avatarId": "x"}))
    long = make_persona("a", {**PERSONA, "systemPrompt": "x" * 3000})
    check_static(long)
    check_static(make_persona("a", lambda user: {}))
    with pytest.raises(ConfigError, match="at most 2000"):
        registry({}, long)
    assert body_of(registry({}, long, system_prompt_max_length=3000), "a")


def test_a_name_declared_twice_is_refused() -> None:
    """In code twice, or in code and in ANAM_PERSONAS."""
    with pytest.raises(ConfigError, match="'a' is declared twice"):
        registry({}, make_persona("a", PERSONA), make_persona("a", PERSONA))
    with pytest.raises(ConfigError, match="'a' is both in the configuration and declared"):
        registry({"a": PERSONA}, make_persona("a", PERSONA))


def test_a_default_that_does_not_exist_is_refused() -> None:
    """The message lists the personas that do."""
    with pytest.raises(ConfigError, match=r"'c'.*known: a, b"):
        registry({"b": PERSONA, "a": PERSONA}, default="c")
    with pytest.raises(ConfigError, match="known: none"):
        registry({}, default="c")


def test_without_a_name_the_default_is_chosen() -> None:
    """The configured one, else the only one, else there is none."""
    two: dict[str, object] = {"a": PERSONA, "b": PERSONA}
    assert registry(two, default="b").choose(None).name == "b"
    assert registry({"a": PERSONA}).choose(None).name == "a"
    with pytest.raises(InvalidRequest) as caught:
        registry(two).choose(None)
    assert caught.value.details == {"personaType": ["Missing, and there is no default."]}


@pytest.mark.parametrize("name", ["c", "A", "", "__class__"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    """Nor is another spelling of a known one."""
    with pytest.raises(UnknownPersona):
        registry({"a": PERSONA}).choose(name)


def test_a_persona_declared_later_is_found() -> None:
    """Declarations may come after the app is set up; a wrong one is told at the request."""
    declarations = Declarations()
    personas = PersonaRegistry({}, declarations)
    declarations.add(make_persona("late", PERSONA))
    declarations.add(make_persona("long", {**PERSONA, "systemPrompt": "x" * 2001}))
    assert body_of(personas, "late").body == {"personaConfig": PERSONA}
    assert [persona.name for persona in personas] == ["late", "long"]
    with pytest.raises(PersonaInvalid, match="at most 2000"):
        body_of(personas, "long")


def test_a_callable_makes_a_config_per_user() -> None:
    """It gets the user, may use snake_case, and is asked at each request."""
    persona = make_persona("coach", lambda user: {"persona_id": user})
    personas = registry({}, persona)
    assert not persona.is_static
    assert body_of(personas, "coach", UUID).body == {"personaConfig": {"personaId": UUID}}
    other = UUID.replace("3", "4")
    assert body_of(personas, "coach", other).body["personaConfig"]["personaId"] == other


def test_a_callable_may_stand_in_the_configuration() -> None:
    """ANAM_PERSONAS takes it in the place of a config."""
    assert body_of(registry({"a": lambda user: PERSONA}), "a").body == {"personaConfig": PERSONA}


def broken(user: object) -> dict[str, Any]:
    """Raise an error that quotes the prompt."""
    raise ValueError(PROMPT)


def test_a_callable_that_raises_is_told_by_type_and_place_only() -> None:
    """File and line help; the text may quote a prompt and stays out, the traceback too."""
    line = broken.__code__.co_firstlineno + 2
    with pytest.raises(PersonaInvalid) as caught:
        body_of(registry({}, make_persona("a", broken)), "a")
    assert f"'a': its callable raised ValueError at test_registry.py, line {line}." in str(
        caught.value
    )
    assert "SENTINEL" not in caught.value.text
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        pytest.param(None, "got NoneType", id="None"),
        pytest.param(PROMPT, "got str", id="text"),
        pytest.param([PERSONA], "got list", id="list"),
        pytest.param({}, "name: Missing", id="empty"),
        pytest.param({**PERSONA, "avatarId": PROMPT}, "avatarId: Not a UUID", id="bad field"),
        pytest.param({**PERSONA, "systemPrompt": PROMPT * 99}, "at most 2000", id="long prompt"),
    ],
)
def test_a_callable_that_returns_nonsense_is_our_own_error(returned: Any, words: str) -> None:
    """PersonaInvalid says what is wrong for the log, without the text."""
    with pytest.raises(PersonaInvalid) as caught:
        body_of(registry({}, make_persona("a", lambda user: returned)), "a")
    assert words in caught.value.text
    assert "SENTINEL" not in caught.value.text


def test_an_error_of_ours_passes_through_a_callable() -> None:
    """A callable may refuse a user in our own words."""

    def refuse(user: object) -> dict[str, Any]:
        raise UnknownPersona

    with pytest.raises(UnknownPersona):
        body_of(registry({}, make_persona("a", refuse)), "a")


def test_session_options_are_sent_beside_the_config() -> None:
    """In camelCase, for configured and declared personas."""
    expected = {"personaConfig": PERSONA, "sessionOptions": {"videoQuality": "high"}}
    personas = registry(
        {"a": {**PERSONA, "sessionOptions": {"video_quality": "high"}}},
        make_persona("b", {**PERSONA, "sessionOptions": {"videoQuality": "high"}}),
    )
    assert body_of(personas, "a").body == body_of(personas, "b").body == expected


def test_reprs_show_no_prompt() -> None:
    """Tracebacks and logs may print personas and bodies."""
    personas = registry({"a": PERSONA})
    assert PROMPT not in repr(personas.choose("a")) + repr(body_of(personas, "a"))


def test_a_persona_may_have_a_key_and_a_fallback_of_its_own() -> None:
    """Both stay here; the fallback must exist."""
    entry = {**PERSONA, "apiKey": lambda persona, user: f"{persona} {user}", "fallback": "b"}
    personas = registry({"a": entry, "b": PERSONA})
    persona = personas.choose("a")
    assert persona.fallback == "b"
    assert persona.keys is not None
    assert persona.keys.key_for("a", "7") == "a 7"
    assert body_of(personas, "a").body == {"personaConfig": PERSONA}


def test_messages_become_one_line() -> None:
    """Nested fields are joined by dots, schema messages stand for their object."""
    nested = {"a": {"b": ["No.", "Never."]}, "_schema": ["All wrong."], "t": {0: ["Odd."]}}
    assert error_lines(nested) == ["a.b: No.", "a.b: Never.", "All wrong.", "t.0: Odd."]


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
