"""The persona registry: declarations, choice, callables, overrides and the body for Anam."""

from __future__ import annotations

from typing import Any

import pytest

from flask_anam.core.hashing import canonical
from flask_anam.core.personas.persona import Declarations, make_persona
from flask_anam.core.personas.registry import PersonaRegistry, check_static, error_lines
from flask_anam.errors import (
    ConfigError,
    InvalidRequest,
    PersonaInvalid,
    UnknownPersona,
)

from .conftest import PERSONA, PROMPT, UUID, body_of, registry


def test_a_static_persona_is_sent_as_configured() -> None:
    """Our own keys stay here; the config goes to Anam."""
    entry = {**PERSONA, "label": "Help", "permission": "p", "overrides": ["languageCode"]}
    personas = registry({"support": entry})
    assert body_of(personas, "support").body == {"personaConfig": PERSONA}
    persona = personas.choose("support")
    assert (persona.label, persona.permission) == ("Help", "p")
    assert persona.overrides == {"languageCode": True}
    assert persona.is_static


def test_a_label_is_made_from_the_name() -> None:
    """Where none is given."""
    assert make_persona("sales_coach-1", PERSONA).label == "Sales coach 1"


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        pytest.param("", PERSONA, "1 to 100 characters", id="empty name"),
        pytest.param(" ", PERSONA, "1 to 100 characters", id="blank name"),
        pytest.param("x" * 101, PERSONA, "1 to 100 characters", id="long name"),
        pytest.param("a", 5, "a mapping) or a callable", id="number"),
        pytest.param("a", None, "a mapping) or a callable", id="None"),
        pytest.param("a", [PERSONA], "a mapping) or a callable", id="list"),
        pytest.param("a", {**PERSONA, "label": ""}, "label of persona 'a'", id="empty label"),
        pytest.param("a", {**PERSONA, "permission": ["p"]}, "permission of", id="permissions"),
        pytest.param("a", {**PERSONA, "overrides": None}, "a list of field names", id="no list"),
        pytest.param("a", {**PERSONA, "overrides": ["nope"]}, "'nope'", id="unknown override"),
        pytest.param("a", {**PERSONA, "overrides": [["x"]]}, "camelCase", id="nested override"),
        pytest.param("a", {**PERSONA, "overrides": ["language_code"]}, "camelCase", id="snake"),
        pytest.param("a", {**PERSONA, "overrides": ["personaId"]}, "'personaId'", id="personaId"),
        pytest.param("a", {**PERSONA, "sessionOptions": {"x": 1}}, "x: Unknown", id="options"),
        pytest.param("a", {**PERSONA, "sessionOptions": [1]}, "Must be an object", id="no options"),
        pytest.param("a", {**PERSONA, "avatarId": PROMPT}, "avatarId: Not a UUID", id="field"),
        pytest.param("a", {"name": "A"}, "avatarId: Missing", id="incomplete"),
        pytest.param(
            "a",
            {**PERSONA, "directorNotes": {"expressivity": float("nan")}},
            "directorNotes.expressivity: Special numeric values",
            id="NaN",
        ),
        pytest.param(
            "a",
            {**PERSONA, "tools": [{"type": "client", "name": "t", "parameters": {"x": {1}}}]},
            "tools.0.parameters.x: Cannot be written as JSON",
            id="set",
        ),
        pytest.param("a", {**PERSONA, "fallback": "b"}, "falls back to 'b'", id="no fallback"),
        pytest.param("a", {**PERSONA, "apiKey": ""}, "api_key of persona 'a'", id="empty key"),
        pytest.param(
            "a", {**PERSONA, "overrides": {"name": {}}}, "bounds of the override", id="bounds"
        ),
    ],
)
def test_a_senseless_declaration_is_refused_at_start(name: str, entry: object, words: str) -> None:
    """ConfigError names persona and field, and never quotes the prompt."""
    with pytest.raises(ConfigError) as caught:
        registry({name: entry})
    assert words in caught.value.text
    assert "SENTINEL" not in caught.value.text
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_string_of_one_override_is_taken_as_one_name() -> None:
    """It is not taken apart into letters."""
    assert make_persona("a", PERSONA, overrides="languageCode").overrides == {"languageCode": True}


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
    assert f"'a': its callable raised ValueError at test_personas.py, line {line}." in str(
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


def test_bodies_of_equal_meaning_have_equal_digests() -> None:
    """Order and spelling of a config do not matter."""
    snake = {"system_prompt": PROMPT, "avatar_id": UUID}
    other = {**snake, **{k: v for k, v in reversed(PERSONA.items()) if k[0] in "nvl"}}
    personas = registry({"a": PERSONA, "b": other})
    assert body_of(personas, "a").digest == body_of(personas, "b").digest


@pytest.mark.parametrize(
    "change",
    [{"systemPrompt": "x"}, {"languageCode": "de"}, {"sessionOptions": {"region": "eu"}}],
    ids=str,
)
def test_any_change_changes_the_digest(change: dict[str, object]) -> None:
    """Config or session options: a token made for another body is never handed out."""
    personas = registry({"a": PERSONA, "b": {**PERSONA, **change}})
    assert body_of(personas, "a").digest != body_of(personas, "b").digest


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


def test_the_canonical_spelling_is_sorted_compact_ascii() -> None:
    """One spelling per value, whatever the order; 1 and "1" differ; NaN has none."""
    assert canonical({"b": [1, "é"], "a": None}) == b'{"a":null,"b":[1,"\\u00e9"]}'
    assert canonical(1) != canonical("1")
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(float("nan"))


def test_messages_become_one_line() -> None:
    """Nested fields are joined by dots, schema messages stand for their object."""
    nested = {"a": {"b": ["No.", "Never."]}, "_schema": ["All wrong."], "t": {0: ["Odd."]}}
    assert error_lines(nested) == ["a.b: No.", "a.b: Never.", "All wrong.", "t.0: Odd."]
