"""Overrides: which persona fields a browser may set, and their bounds."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import UUID, body_of, registry
from hosts import PERSONA

from flask_anam.core.personas.persona import make_persona
from flask_anam.errors import InvalidRequest


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
