"""``POST /v1/engine/session``: with a token, with the API key, and when it is refused."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog

Caller = Callable[..., requests.Response]
Maker = Callable[..., Sandbox]


def test_a_token_starts_the_session_it_was_minted_for(start: Caller, sandbox: Sandbox) -> None:
    """The answer has exactly the fields that both official SDKs need."""
    token = sandbox.issue_token()
    answer = start(token, {"clientMetadata": {"client": "js-sdk", "version": "4.27.0"}})
    mint = sandbox.ledger.mints[0]
    assert answer.status_code == 200
    assert answer.json() == {
        "sessionId": mint.session_id,
        "engineHost": sandbox.url.removeprefix("http://"),
        "engineProtocol": "http",
        "signallingEndpoint": "/ws",
        "region": "sandbox",
        "clientConfig": {
            "heartbeatIntervalSeconds": 5,
            "maxWsReconnectionAttempts": 5,
            "iceServers": [],
        },
    }
    record = sandbox.ledger.sessions[0]
    assert (record.session_id, record.token_id) == (mint.session_id, mint.token_id)
    assert record.persona_config == mint.persona_config
    assert (record.ended_at, record.exit_status) == (None, None)


def test_the_engine_is_where_the_client_found_the_sandbox(start: Caller, sandbox: Sandbox) -> None:
    """A client that came by another host name is sent to that name."""
    answer = start(sandbox.issue_token(), headers={"Host": "sandbox.test:8080"})
    assert answer.json()["engineHost"] == "sandbox.test:8080"


def test_a_start_with_a_token_needs_no_body(call: Caller, sandbox: Sandbox) -> None:
    """The config is bound to the token."""
    answer = call("POST", "/v1/engine/session", token=sandbox.issue_token())
    assert answer.status_code == 200


def test_client_metadata_must_be_an_object(start: Caller, sandbox: Sandbox) -> None:
    """A wrong body is refused even with a good token, and the token is not used up."""
    answer = start(sandbox.issue_token(), {"clientMetadata": "me"})
    assert answer.status_code == 400
    assert answer.json()["details"]["clientMetadata"]["_errors"] == ["Must be an object."]
    assert sandbox.ledger.sessions == ()


def test_the_api_key_starts_a_session_with_a_config_of_its_own(
    call: Caller, sandbox: Sandbox
) -> None:
    """Server-side SDKs skip the mint; the session has no token id."""
    body = {
        "clientMetadata": {"client": "python-sdk"},
        "clientLabel": "python-sdk",
        "personaConfig": {"personaId": "p", "enableAudioPassthrough": False},
    }
    answer = call("POST", "/v1/engine/session", json=body)
    record = sandbox.ledger.sessions[0]
    assert answer.status_code == 200
    assert record.session_id == answer.json()["sessionId"]
    assert (record.token_id, record.client_label) == (None, "python-sdk")
    assert sandbox.ledger.mints == ()


@pytest.mark.parametrize("body", [{}, {"personaConfig": {"avatarModel": "cara-9"}}])
def test_a_start_with_the_api_key_is_validated_like_a_mint(
    call: Caller, body: dict[str, Any]
) -> None:
    """The same rules hold for the same config."""
    answer = call("POST", "/v1/engine/session", json=body)
    assert answer.status_code == 400
    assert "personaConfig" in answer.json()["details"]


@pytest.mark.parametrize("token", ["wrong", "a.b.c", "..", "e30.e30.AAAA", "\u00e9.\u00e9.\u00e9"])
def test_an_unknown_credential_is_refused(start: Caller, token: str) -> None:
    """What is neither the key nor a token of this account is a 401."""
    answer = start(token)
    assert (answer.status_code, answer.json()["error"]) == (401, "Invalid session token")


def test_a_start_without_a_credential_is_refused(sandbox: Sandbox, http: requests.Session) -> None:
    """No Authorization header, no session."""
    answer = http.post(f"{sandbox.url}/v1/engine/session", json={}, timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (401, "Missing or invalid API key")


def test_a_tampered_token_is_refused(start: Caller, sandbox: Sandbox) -> None:
    """The signature covers the claims."""
    head, _, signature = sandbox.issue_token(type="legacy").split(".")
    other = sandbox.issue_token().split(".")[1]
    assert start(f"{head}.{other}.{signature}").status_code == 401


def test_a_token_expires_when_its_time_is_over(make_sandbox: Maker, start: Caller) -> None:
    """One second before `exp` it is good, at `exp` it is a 401."""
    now = [1000.0]
    sandbox = make_sandbox(clock=lambda: now[0], token_lifetime=60)
    token = sandbox.issue_token()
    now[0] = 1059.0
    assert start(token, at=sandbox).status_code == 200
    now[0] = 1060.0
    answer = start(token, at=sandbox)
    assert (answer.status_code, answer.json()["error"]) == (401, "Session token expired")


def test_a_legacy_token_is_refused_with_the_vendors_words(start: Caller, sandbox: Sandbox) -> None:
    """The mint of a legacy token succeeds; its start tells what is wrong."""
    answer = start(sandbox.issue_token({"name": "Alex"}))
    assert answer.status_code == 400
    assert answer.json()["error"] == "Legacy session tokens are no longer supported"


def test_a_token_may_start_again_by_default(start: Caller, sandbox: Sandbox) -> None:
    """The second start takes the session over, so that it counts once."""
    token = sandbox.issue_token()
    assert start(token).json() == start(token).json()
    first, second = sandbox.ledger.sessions
    assert first.exit_status == "NORMAL_EXIT"
    assert second.ended_at is None


def test_a_single_use_token_starts_once(make_sandbox: Maker, start: Caller) -> None:
    """The second start is a 401 that says why."""
    sandbox = make_sandbox(single_use=True)
    token = sandbox.issue_token()
    assert start(token, at=sandbox).status_code == 200
    answer = start(token, at=sandbox)
    assert answer.status_code == 401
    assert "already started" in answer.json()["message"]
    assert len(sandbox.ledger.sessions) == 1


@pytest.mark.parametrize(
    ("settings", "tokens"), [({"single_use": True}, 1), ({"concurrency_limit": 1}, 8)]
)
def test_of_many_starts_at_once_one_wins(
    make_sandbox: Maker, settings: dict[str, Any], tokens: int
) -> None:
    """Single use and the limit hold under concurrency, too."""
    sandbox = make_sandbox(**settings)
    issued = [sandbox.issue_token() for _ in range(tokens)] * (8 // tokens)
    together = threading.Barrier(8)

    def begin(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        together.wait(10)
        url = f"{sandbox.url}/v1/engine/session"
        return requests.post(url, json={}, headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(begin, issued))
    assert statuses == [200] + [401 if tokens == 1 else 429] * 7


def test_a_refused_start_does_not_use_up_the_token(make_sandbox: Maker, start: Caller) -> None:
    """A single-use token survives a 429."""
    sandbox = make_sandbox(single_use=True)
    token = sandbox.issue_token()
    sandbox.refuse_sessions("spend")
    assert start(token, at=sandbox).status_code == 429
    sandbox.refuse_sessions(None)
    assert start(token, at=sandbox).status_code == 200


def test_sessions_beyond_the_limit_are_refused(
    make_sandbox: Maker, start: Caller, call: Caller
) -> None:
    """A stopped session makes room for the next."""
    sandbox = make_sandbox(concurrency_limit=1)
    first = start(sandbox.issue_token(), at=sandbox).json()["sessionId"]
    answer = start(sandbox.issue_token(), at=sandbox)
    assert answer.status_code == 429
    assert answer.json()["error"] == "Concurrent session limit reached"
    call("POST", f"/v1/sessions/{first}/stop", at=sandbox)
    assert start(sandbox.issue_token(), at=sandbox).status_code == 200


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("concurrency", "Concurrent session limit reached"),
        ("spend", "Spend cap reached"),
        ("usage", "Usage limit reached"),
        ("rate", "Too many requests"),
    ],
)
def test_sessions_can_be_refused_in_each_of_the_vendors_ways(
    sandbox: Sandbox, start: Caller, mint: Caller, kind: Any, error: str
) -> None:
    """The error strings are those that the SDKs match; only `rate` says when to come back."""
    sandbox.refuse_sessions(kind)
    answer = start(sandbox.issue_token())
    assert (answer.status_code, answer.json()["error"]) == (429, error)
    hints = ["Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
    assert all((name in answer.headers) is (kind == "rate") for name in hints)
    assert mint().status_code == 200
    sandbox.refuse_sessions(None)
    assert start(sandbox.issue_token()).status_code == 200


@pytest.mark.parametrize("kind", ["spend", "usage", "rate"])
@pytest.mark.parametrize(("at", "starts"), [("mint", 200), ("both", 429)])
def test_mints_can_be_refused_too(
    sandbox: Sandbox, start: Caller, mint: Caller, kind: Any, at: Any, starts: int
) -> None:
    """`at` says where."""
    sandbox.refuse_sessions(kind, at=at)
    assert mint().status_code == 429
    assert start(sandbox.issue_token()).status_code == starts


def test_refusals_at_different_places_add_up(sandbox: Sandbox, start: Caller, mint: Caller) -> None:
    """Each place keeps the kind that was last asked for there."""
    sandbox.refuse_sessions("rate", at="mint")
    sandbox.refuse_sessions("spend")
    assert mint().json()["error"] == "Too many requests"
    assert start(sandbox.issue_token()).json()["error"] == "Spend cap reached"


@pytest.mark.parametrize(
    ("kind", "at"), [("sleepy", "session"), ("rate", "moon"), ("concurrency", "mint")]
)
def test_a_refusal_that_cannot_be_is_an_error(sandbox: Sandbox, kind: Any, at: Any) -> None:
    """Misspelt kinds and places do not pass silently."""
    with pytest.raises(ValueError, match=r"must be one of|at the start"):
        sandbox.refuse_sessions(kind, at=at)


def test_sandboxes_with_the_same_secrets_accept_each_others_tokens(
    make_sandbox: Maker, start: Caller
) -> None:
    """Two processes can play one account; another secret or key makes another account."""
    pair = {"api_key": "key", "token_secret": "secret"}
    token = make_sandbox(**pair).issue_token()
    assert start(token, at=make_sandbox(**pair)).status_code == 200
    assert start(token, at=make_sandbox(**{**pair, "api_key": "other"})).status_code == 401
    assert start(token, at=make_sandbox(api_key="key")).status_code == 401


def test_issue_token_takes_type_time_and_lifetime(sandbox: Sandbox, start: Caller) -> None:
    """Tests can make tokens of any kind without HTTP."""
    assert start(sandbox.issue_token(issued_at=0)).json()["error"] == "Session token expired"
    assert start(sandbox.issue_token(lifetime=-1)).json()["error"] == "Session token expired"
    assert start(sandbox.issue_token(type="legacy")).status_code == 400
    sandbox.issue_token({"personaId": catalog.PERSONA_ID})
    assert [record.type for record in sandbox.ledger.mints][-2:] == ["legacy", "stateful"]
    assert sandbox.ledger.count("/v1/auth/session-token") == 0
