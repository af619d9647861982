"""Secrets inside personas, and several accounts: found at mint, never kept, never shown."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from hosts import ADA, BOB, PERSONA, TOKEN_PATH, client_of, make_app

from flask_anam import FlaskAnam, secret
from flask_anam.sandbox import Sandbox

SECRET = "hook-SENTINEL-secret-77"
URL = "https://example.com/hook"


def webhook(**fields: Any) -> dict[str, Any]:
    """Return a persona with a webhook tool."""
    tool = {"type": "server", "subtype": "webhook", "name": "w", **fields}
    return {**PERSONA, "tools": [tool]}


def ask(client: FlaskClient, persona: str = "support") -> Any:
    """Ask for a token of a slot, which would be reused if it could be."""
    return client.post(TOKEN_PATH, json={"personaType": persona, "slot": "tab"})


CARRIERS: dict[str, dict[str, Any]] = {
    "secret": webhook(headers={"Authorization": secret("HOOK")}),
    "callable": {**PERSONA, "systemPrompt": lambda: SECRET},
    "callable part": {**PERSONA, "tools": lambda: [{"type": "system", "name": SECRET}]},
    "headers": webhook(headers={"X": SECRET}),
    "signed URL": webhook(url=f"{URL}?signature={SECRET}"),
    "nested URL": webhook(config={"url": f"{URL}?signature={SECRET}"}),
    "environment": {**PERSONA, "environment": {"token": SECRET}},
    "room token": {
        **PERSONA,
        "enableAudioPassthrough": True,
        "sessionOptions": {"egress": {"mode": "daily", "daily": {"roomUrl": URL, "token": SECRET}}},
    },
    "late options": {**PERSONA, "sessionOptions": lambda: {"region": SECRET}},
    "late schema": webhook(parameters={"default": secret("HOOK")}),
}


@pytest.mark.parametrize("entry", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.parametrize("reuse", ["until_used", "until_expiry"])
def test_a_persona_with_a_secret_is_never_cached_nor_shown(
    sandbox: Sandbox,
    logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    entry: dict[str, Any],
    reuse: str,
) -> None:
    """Anam gets the value; two requests of one slot are two mints; nothing else shows it."""
    monkeypatch.setenv("HOOK", SECRET)
    app = make_app(sandbox, ANAM_PERSONAS={"support": entry}, ANAM_TOKEN_REUSE=reuse)
    answers = [ask(client_of(app, ADA)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(sandbox.ledger.mints) == 2
    assert all(SECRET in request.raw_body.decode() for request in sandbox.ledger.requests)
    state = app.extensions["anam"]
    persona = state.registry.find("support")
    shown = [repr(persona), repr(state), repr(state.registry.body_for(persona, None, {}))]
    assert SECRET not in logged.text + "".join(answer.text for answer in answers) + "".join(shown)


def test_a_persona_without_secrets_is_cached(sandbox: Sandbox) -> None:
    """A plain webhook is no reason to mint each time."""
    app = make_app(sandbox, ANAM_PERSONAS={"support": webhook(url=URL)})
    ask(client_of(app, ADA))
    ask(client_of(app, ADA))
    assert len(sandbox.ledger.mints) == 1


def test_a_new_value_is_used_at_the_next_mint(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resolved each time, so that a secret can be rotated while the app runs."""
    app = make_app(sandbox, ANAM_PERSONAS={"support": webhook(headers={"X": secret("HOOK")})})
    for value in ("first", "second"):
        monkeypatch.setenv("HOOK", value)
        ask(client_of(app, ADA))
    sent = [(mint.persona_config or {})["tools"][0] for mint in sandbox.ledger.mints]
    assert [tool["headers"]["X"] for tool in sent] == ["first", "second"]


@pytest.mark.parametrize(
    "entry",
    [webhook(headers={"X": secret("NOT_SET_HERE")}), {**PERSONA, "apiKey": secret("NOT_SET_HERE")}],
    ids=["value", "key"],
)
def test_a_missing_variable_is_persona_invalid_and_named(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, entry: dict[str, Any]
) -> None:
    """The app starts; the request fails with our own code, and the log names the variable."""
    answer = ask(client_of(make_app(sandbox, ANAM_PERSONAS={"support": entry}), ADA))
    assert (answer.status_code, answer.get_json()["code"]) == (500, "persona_invalid")
    assert "The environment variable NOT_SET_HERE is not set" in logged.text
    assert "NOT_SET_HERE" not in answer.text


def test_a_late_value_is_checked_when_it_is_known(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture
) -> None:
    """The rules hold for it all the same, and its text is not told."""
    entry = {**PERSONA, "avatarId": lambda: SECRET}
    answer = ask(client_of(make_app(sandbox, ANAM_PERSONAS={"support": entry}), ADA))
    assert answer.get_json()["code"] == "persona_invalid"
    assert "avatarId: Not a UUID but a string of 23 characters" in logged.text
    assert SECRET not in logged.text


def keys_used(sandbox: Sandbox) -> list[str]:
    """Return the keys that came to a sandbox, in order."""
    return [request.headers["authorization"].split()[1] for request in sandbox.ledger.requests]


def test_each_persona_may_have_an_account_of_its_own(sandbox: Sandbox) -> None:
    """A string, a callable without arguments, a callable of persona type and user, a secret."""
    asked: list[tuple[Any, ...]] = []

    def by_user(persona_type: str, user: Any) -> str:
        asked.append((persona_type, user.get_id()))
        return f"key-of-{user.get_id()}"

    personas = {
        "support": PERSONA,
        "text": {**PERSONA, "apiKey": "key-as-text"},
        "called": {**PERSONA, "api_key": lambda: "key-called"},
        "tenant": {**PERSONA, "apiKey": by_user},
    }
    anam = FlaskAnam()
    anam.persona("code", api_key="key-in-code")(lambda user: PERSONA)
    app = make_app(sandbox, anam=anam, ANAM_PERSONAS=personas)
    for name in ("support", "text", "called", "tenant", "code"):
        ask(client_of(app, ADA), name)
    ask(client_of(app, BOB), "tenant")
    assert keys_used(sandbox) == [
        sandbox.api_key,
        *("key-as-text", "key-called", "key-of-ada", "key-in-code", "key-of-bob"),
    ]
    assert asked == [("tenant", "ada"), ("tenant", "bob")]


def test_the_key_of_the_app_may_depend_on_persona_and_user(sandbox: Sandbox) -> None:
    """ANAM_API_KEY as a callable of two arguments serves tenants."""
    app = make_app(sandbox, ANAM_API_KEY=lambda persona_type, user: f"{persona_type}-{user.id}")
    ask(client_of(app, ADA))
    ask(client_of(app, BOB))
    assert keys_used(sandbox) == ["support-ada", "support-bob"]


def test_accounts_never_share_a_cached_token(sandbox: Sandbox) -> None:
    """A new key means a new token, for the same user, slot and config; the old one comes back."""
    keys = {"now": sandbox.api_key}
    app = make_app(sandbox, ANAM_PERSONAS={"support": {**PERSONA, "apiKey": lambda: keys["now"]}})
    first = ask(client_of(app, ADA)).get_json()["tokenId"]
    keys["now"] = "key-of-another-account"
    assert ask(client_of(app, ADA)).get_json()["code"] == "anam_auth"
    keys["now"] = sandbox.api_key
    assert ask(client_of(app, ADA)).get_json()["tokenId"] == first
    assert len(sandbox.ledger.mints) == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda: 1 / 0, "The callable in api_key of persona 'support' raised ZeroDivisionError."),
        (lambda: None, "must return a non-empty ASCII string."),
        (lambda persona_type, user: " key", "must return a non-empty ASCII string."),
    ],
    ids=["raises", "nothing", "spaces"],
)
def test_a_failing_key_callable_is_anam_auth(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, source: Any, expected: str
) -> None:
    """Never an error page, and nothing is sent."""
    entry = {**PERSONA, "apiKey": source}
    answer = ask(client_of(make_app(sandbox, ANAM_PERSONAS={"support": entry}), ADA))
    assert (answer.status_code, answer.get_json()["code"]) == (502, "anam_auth")
    assert expected in logged.text
    assert sandbox.ledger.requests == ()
