"""Overrides with bounds, and the persona that stands in for one that Anam lost."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, MINT, PERSONA, TOKEN_PATH, client_of, make_app

import flask_anam
from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api.catalog import PERSONA_ID
from flask_anam.testing import ManualClock

BOUNDS = {
    "languageCode": ["de", "en"],
    "maxSessionLengthSeconds": {"min": 60, "max": 600},
    "initialMessage": {"maxLength": 5},
    "skipGreeting": True,
}


def ask(client: FlaskClient, **overrides: Any) -> Any:
    """Ask for a token with these overrides."""
    return client.post(TOKEN_PATH, json={"personaType": "support", "overrides": overrides})


@pytest.fixture
def bounded(sandbox: Sandbox) -> FlaskClient:
    """Return a client of an app whose persona has bounded overrides."""
    personas = {"support": {**PERSONA, "overrides": BOUNDS}}
    return client_of(make_app(sandbox, ANAM_PERSONAS=personas), ADA)


ALLOWED: list[dict[str, Any]] = [
    {"languageCode": "de"},
    {"maxSessionLengthSeconds": 60},
    {"maxSessionLengthSeconds": 600},
    {"initialMessage": "Hallo"},
    {"skipGreeting": True, "languageCode": "en"},
]


@pytest.mark.parametrize("overrides", ALLOWED, ids=str)
def test_an_override_within_its_bounds_reaches_anam(
    bounded: FlaskClient, sandbox: Sandbox, overrides: dict[str, Any]
) -> None:
    """The limits themselves are still allowed."""
    assert ask(bounded, **overrides).status_code == 200
    assert sandbox.ledger.mints[0].persona_config == {**PERSONA, **overrides}


OUTSIDE: list[tuple[str, Any, str]] = [
    ("languageCode", "fr", "Must be one of de, en for this persona."),
    ("languageCode", ["de"], "Must be one of de, en for this persona."),
    ("languageCode", {"de": 1}, "Must be one of de, en for this persona."),
    ("maxSessionLengthSeconds", 59, "Must be at least 60 for this persona."),
    ("maxSessionLengthSeconds", 601, "Must be at most 600 for this persona."),
    ("maxSessionLengthSeconds", "60", "Must be at least 60 for this persona."),
    ("maxSessionLengthSeconds", True, "Must be at least 60 for this persona."),
    ("initialMessage", "Hallo!", "Must have at most 5 characters for this persona."),
    ("initialMessage", None, "Must have at most 5 characters for this persona."),
    ("skipGreeting", "yes", "Must be true or false, got a string of 3 characters."),
    ("systemPrompt", "x", "Not a field that may be set for this persona (allowed: "),
    ("language_code", "de", "Not a field that may be set for this persona (allowed: "),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"), OUTSIDE, ids=[f"{n} {v}" for n, v, _ in OUTSIDE]
)
def test_an_override_out_of_bounds_is_refused_with_the_field(
    bounded: FlaskClient, sandbox: Sandbox, name: str, value: Any, expected: str
) -> None:
    """422 with the bound, or with the rule of the schema; nothing is minted."""
    answer = ask(bounded, **{name: value})
    assert answer.status_code == 422
    (text,) = answer.get_json()["details"]["overrides"][name]
    assert text.startswith(expected)
    assert sandbox.ledger.requests == ()


def test_a_set_of_values_is_a_bound_too(sandbox: Sandbox) -> None:
    """What cannot be looked up in a set is refused, not an error page."""
    entry = {**PERSONA, "overrides": {"languageCode": {"de"}}}
    client = client_of(make_app(sandbox, ANAM_PERSONAS={"support": entry}), ADA)
    assert ask(client, languageCode=[]).status_code == 422
    assert ask(client, languageCode="de").status_code == 200


def with_fallback(sandbox: Sandbox, **config: Any) -> Flask:
    """Return an app whose stored persona has a fallback."""
    lost = {"personaId": PERSONA_ID, "fallback": "spare"}
    personas = {"support": {**lost, **config}, "spare": PERSONA}
    return make_app(sandbox, clock=ManualClock(), ANAM_PERSONAS=personas)


MISSING: dict[str, dict[str, Any]] = {
    "404": {"status": 404, "json": {"error": "persona not found"}},
    "404 without text": {"status": 404, "body": ""},
    "400": {"status": 400, "json": {"error": "Invalid", "message": "Persona not found"}},
}


@pytest.mark.parametrize("fault", MISSING.values(), ids=MISSING)
def test_the_fallback_is_used_when_anam_lost_the_persona(
    sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    """The answer names the persona that was used, and a signal tells the host."""
    app = with_fallback(sandbox)
    heard: list[tuple[str, dict[str, Any]]] = []

    def missing(sender: Flask, **facts: Any) -> None:
        heard.append(("missing", facts))

    def failed(sender: Flask, **facts: Any) -> None:
        heard.append(("failed", facts))

    flask_anam.persona_missing.connect(missing, sender=app)
    flask_anam.token_failed.connect(failed, sender=app)
    sandbox.fail_next(**fault)
    answer = ask(client_of(app, ADA))
    assert (answer.status_code, answer.get_json()["personaType"]) == (200, "spare")
    assert sandbox.ledger.mints[0].persona_config == PERSONA
    facts = {"user_id": "ada", "persona_type": "support", "fallback": "spare"}
    assert heard == [("missing", facts)]


def test_the_lost_persona_is_remembered_for_ten_minutes(sandbox: Sandbox) -> None:
    """Anam is not asked for it again before, and is asked again after."""
    app = with_fallback(sandbox)
    clock, client = app.extensions["anam"].clock, client_of(app, ADA)
    sandbox.fail_next(404)
    ask(client)
    assert sandbox.ledger.count(MINT) == 2
    clock.move(599)
    assert ask(client).get_json()["personaType"] == "spare"
    assert sandbox.ledger.count(MINT) == 3
    clock.move(2)
    assert ask(client).get_json()["personaType"] == "support"
    assert sandbox.ledger.count(MINT) == 4


def test_the_fallback_gets_the_overrides_that_it_allows(sandbox: Sandbox) -> None:
    """A browser that set a field for the lost persona is not turned away for it."""
    lost = {"personaId": PERSONA_ID, "fallback": "spare"}
    overrides = ["maxSessionLengthSeconds", "enableAudioPassthrough"]
    spare = {**PERSONA, "overrides": {"maxSessionLengthSeconds": {"max": 100}}}
    personas = {"support": {**lost, "overrides": overrides}, "spare": spare}
    client = client_of(make_app(sandbox, ANAM_PERSONAS=personas), ADA)
    sandbox.fail_next(404)
    assert ask(client, maxSessionLengthSeconds=60, enableAudioPassthrough=True).status_code == 200
    assert sandbox.ledger.mints[0].persona_config == {**PERSONA, "maxSessionLengthSeconds": 60}


def test_a_fallback_is_no_way_around_a_permission(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture
) -> None:
    """Also where both are declared after the check at start-up."""
    anam = flask_anam.FlaskAnam()
    client = client_of(make_app(sandbox, anam=anam), ADA)
    anam.add_persona("members", PERSONA, permission="members:talk")
    anam.add_persona("lost", {"personaId": PERSONA_ID}, fallback="members")
    assert client.post(TOKEN_PATH, json={"personaType": "members"}).status_code == 403
    sandbox.fail_next(404, path=MINT)
    answer = client.post(TOKEN_PATH, json={"personaType": "lost"})
    assert (answer.status_code, answer.get_json()["code"]) == (500, "persona_invalid")
    assert "falls back to 'members', which needs the permission 'members:talk'" in logged.text
    assert sandbox.ledger.mints == ()


def test_other_refusals_do_not_use_the_fallback(sandbox: Sandbox) -> None:
    """A wrong key or a wrong request is not a lost persona."""
    for status, code in ((400, "anam_rejected"), (401, "anam_auth"), (402, "anam_quota")):
        client = client_of(with_fallback(sandbox), ADA)  # anew: a refusal is remembered
        sandbox.fail_next(status)
        assert ask(client).get_json()["code"] == code
    assert len(sandbox.ledger.mints) == 0


def test_without_fallback_a_lost_persona_is_anam_rejected(sandbox: Sandbox) -> None:
    """502, and ten seconds later it is asked for again; the failure is announced."""
    clock = ManualClock()
    app = make_app(sandbox, clock=clock, ANAM_PERSONAS={"support": {"personaId": PERSONA_ID}})
    heard: list[str] = []

    def failed(sender: Flask, **facts: Any) -> None:
        heard.append(facts["error"].code)

    flask_anam.token_failed.connect(failed, sender=app)
    sandbox.fail_next(404)
    answer = ask(client_of(app, ADA))
    assert (answer.status_code, answer.get_json()["code"]) == (502, "anam_rejected")
    assert heard == ["anam_rejected"]
    clock.move(10)
    assert ask(client_of(app, ADA)).status_code == 200


def test_a_fallback_that_is_lost_as_well_is_anam_rejected(sandbox: Sandbox) -> None:
    """There is no chain of fallbacks."""
    app = with_fallback(sandbox)
    sandbox.fail_next(404, times=2)
    answer = ask(client_of(app, ADA))
    assert (answer.status_code, answer.get_json()["code"]) == (502, "anam_rejected")
