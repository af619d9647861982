"""``POST /v1/auth/session-token``: who may mint, and what comes out."""

import base64
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog

Caller = Callable[..., requests.Response]

_PERSONA = catalog.EXAMPLE_PERSONA


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def test_a_mint_answers_with_a_session_token_and_nothing_else(mint: Caller) -> None:
    """The body of the 200 has the one field the vendor documents."""
    answer = mint({"personaConfig": _PERSONA})
    assert answer.status_code == 200
    assert list(answer.json()) == ["sessionToken"]


def test_a_token_is_an_hs256_jwt_with_the_claims_the_sdks_read(
    make_sandbox: Callable[..., Sandbox], mint: Caller
) -> None:
    """Times come from the injected clock and are whole seconds."""
    sandbox = make_sandbox(clock=lambda: 1_000_000.9, token_lifetime=60)
    token = mint({"personaConfig": _PERSONA}, at=sandbox).json()["sessionToken"]
    claims = _claims(token)
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert claims.pop("sessionId") == str(uuid.UUID(sandbox.ledger.mints[0].session_id))
    assert claims == {
        "type": "ephemeral",
        "accountId": "sandbox-account",
        "iat": 1_000_000,
        "exp": 1_000_060,
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"personaConfig": {"personaId": "p"}}, "stateful"),
        ({"personaConfig": {"personaId": "p", "enableAudioPassthrough": False}}, "stateful"),
        ({"personaConfig": {"personaId": "p", "voiceId": "v"}}, "stateful"),
        ({"personaConfig": _PERSONA}, "ephemeral"),
        ({"personaConfig": {"llmId": "l"}}, "ephemeral"),
        ({"personaConfig": {"name": "Alex", "brainType": "ANAM_GPT_4O_MINI_V1"}}, "legacy"),
        ({"personaConfig": {}}, "legacy"),
        ({"personaId": "p"}, "legacy"),
        ({"personaId": "p", "personaConfig": _PERSONA}, "legacy"),
        ({"personaConfig": {"personaId": "p", "systemPrompt": "Hi"}}, "legacy"),
        ({"personaConfig": {"personaId": "p", "initialMessage": "Hi"}}, "legacy"),
        ({"personaConfig": {"personaId": "p", "skipGreeting": True}}, "legacy"),
        ({"personaConfig": {"personaId": "p", "uninterruptibleGreeting": True}}, "legacy"),
    ],
)
def test_the_shape_of_the_config_decides_the_token_type(
    mint: Caller, sandbox: Sandbox, body: dict[str, Any], expected: str
) -> None:
    """Stored personas are stateful, runtime ones ephemeral, three mistakes give legacy tokens."""
    token = mint(body).json()["sessionToken"]
    assert _claims(token)["type"] == expected
    assert sandbox.ledger.mints[0].type == expected


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, "Missing or invalid API key"),
        ("Bearer ", "Missing or invalid API key"),
        ("Basic abc", "Missing or invalid API key"),
        ("Bearer wrong", "Invalid API key"),
        ("Bearer wr\u00f6ng", "Invalid API key"),
    ],
)
def test_only_the_api_key_may_mint(
    sandbox: Sandbox, http: requests.Session, header: str | None, error: str
) -> None:
    """Every other credential is a 401 in JSON, and nothing is minted."""
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    url = f"{sandbox.url}/v1/auth/session-token"
    answer = http.post(url, json={"personaConfig": _PERSONA}, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (401, error)
    assert sandbox.ledger.mints == ()


def test_a_session_token_may_not_mint(mint: Caller, sandbox: Sandbox) -> None:
    """A token cannot be used to make new tokens."""
    answer = mint(token=sandbox.issue_token())
    assert (answer.status_code, answer.json()["error"]) == (401, "Invalid API key")


def test_the_scheme_of_the_authorization_header_ignores_case(
    mint: Caller, sandbox: Sandbox
) -> None:
    """Clients may write the scheme as they like, as HTTP says."""
    answer = mint(headers={"Authorization": f"bearer {sandbox.api_key}"})
    assert answer.status_code == 200


def test_the_ledger_says_what_was_minted(mint: Caller, sandbox: Sandbox) -> None:
    """Config, options, label and environment are kept; the token only as its id."""
    body = {
        "clientLabel": "shop",
        "personaConfig": {**_PERSONA, "somethingNew": 1},
        "sessionOptions": {"videoQuality": "auto"},
        "environment": {"livekitUrl": "wss://example.com"},
    }
    token = mint(body).json()["sessionToken"]
    record = sandbox.ledger.mints[0]
    digest = hashlib.sha256(token.encode()).digest()
    assert record.token_id == base64.urlsafe_b64encode(digest).decode()[:16]
    assert record.session_id == _claims(token)["sessionId"]
    assert record.persona_config == body["personaConfig"]
    assert record.session_options == body["sessionOptions"]
    assert record.environment == body["environment"]
    assert record.client_label == "shop"
    assert str(uuid.UUID(record.key_id)) == record.key_id


def test_a_persona_id_outside_the_config_is_kept_with_it(mint: Caller, sandbox: Sandbox) -> None:
    """The misplaced id is not lost from the ledger."""
    mint({"personaId": "p"})
    assert sandbox.ledger.mints[0].persona_config == {"personaId": "p"}


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff\xfe\xfd",
        b'{"personaConfig": {"maxSessionLengthSeconds": NaN}}',
        b'{"personaConfig": {"maxSessionLengthSeconds": 1e999}}',
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_refused_in_json(call: Caller, raw: bytes) -> None:
    """Broken, non-finite and endlessly nested bodies are a 400."""
    answer = call("POST", "/v1/auth/session-token", data=raw)
    assert (answer.status_code, answer.json()["error"]) == (400, "Malformed JSON")


@pytest.mark.parametrize("raw", [b"", b"[]", b'"text"', b"null"])
def test_a_body_that_is_no_object_is_refused(call: Caller, raw: bytes) -> None:
    """A mint needs an object."""
    answer = call("POST", "/v1/auth/session-token", data=raw)
    assert answer.status_code == 400
    assert answer.json()["details"] == {"_errors": ["Must be an object."]}


def test_unknown_ids_are_accepted_by_default(mint: Caller) -> None:
    """The catalog is not in the way of somebody's own ids."""
    assert mint({"personaConfig": {**_PERSONA, "avatarId": "mine"}}).status_code == 200


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ({"personaId": catalog.PERSONA_ID}, 200),
        (_PERSONA, 200),
        ({"personaId": "nobody"}, 404),
        ({**_PERSONA, "avatarId": "nobody"}, 400),
        ({**_PERSONA, "voiceId": "nobody"}, 400),
        ({**_PERSONA, "llmId": "nobody"}, 400),
    ],
)
def test_strict_ids_must_be_in_the_catalog(
    make_sandbox: Callable[..., Sandbox], mint: Caller, config: dict[str, Any], status: int
) -> None:
    """With strict_ids, typing mistakes in ids come to light."""
    answer = mint({"personaConfig": config}, at=make_sandbox(strict_ids=True))
    assert answer.status_code == status
    if status == 404:
        assert answer.json()["error"] == "persona not found"
