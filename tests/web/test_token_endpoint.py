"""The token endpoint: its answer, its errors and the order of its checks."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, EVE, PERSONA, TOKEN_PATH, client_of, make_app, mint_body

from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

COACH = {**PERSONA, "name": "Coach"}


def test_answer_holds_the_token_its_id_and_its_expiry(ada: FlaskClient, sandbox: Sandbox) -> None:
    """200 carries exactly the five fields of the contract, and the token Anam minted."""
    answer = ada.post(TOKEN_PATH, json={"personaType": "support"})
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"sessionToken", "tokenId", "personaType", "expiresAt", "expiresIn"}
    digest = hashlib.sha256(body["sessionToken"].encode()).digest()
    assert body["tokenId"] == base64.urlsafe_b64encode(digest).decode()[:16]
    assert body["tokenId"] == sandbox.ledger.mints[0].token_id
    assert body["personaType"] == "support"
    claims = json.loads(base64.urlsafe_b64decode(body["sessionToken"].split(".")[1] + "=="))
    assert abs(body["expiresAt"] - claims["exp"]) <= 1
    assert 3595 <= body["expiresIn"] <= 3600


@pytest.mark.parametrize("name", ["support", 'quo"te\\', "línea\n2", "\u2028</script>"])
def test_the_answer_is_the_json_that_flask_would_write(sandbox: Sandbox, name: str) -> None:
    """It is put together by hand, and stays JSON for every persona type."""
    app = make_app(sandbox, ANAM_PERSONAS={name: PERSONA})
    answer = client_of(app, ADA).post(TOKEN_PATH, json={"personaType": name})
    assert answer.get_json()["personaType"] == name
    assert answer.text == app.json.dumps(answer.get_json(), separators=(",", ":")) + "\n"
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_json_may_come_in_each_of_its_encodings(ada: FlaskClient, encoding: str) -> None:
    """As Flask's own request.get_json() takes it."""
    body = json.dumps({"personaType": "support"}).encode(encoding)
    answer = ada.post(TOKEN_PATH, data=body, content_type="application/json")
    assert answer.status_code == 200


def test_anam_receives_the_persona_config_as_declared(ada: FlaskClient, sandbox: Sandbox) -> None:
    """Anam gets the declared persona config under personaConfig, and our Bearer key."""
    ada.post(TOKEN_PATH, json={})
    sent = sandbox.ledger.requests[0]
    assert mint_body(sandbox, 0) == {"personaConfig": PERSONA}
    assert sent.headers["authorization"] == f"Bearer {sandbox.api_key}"


def test_answer_headers(ada: FlaskClient) -> None:
    """A token is not to be stored; the answer says how long the mint took and what is left."""
    headers = ada.post(TOKEN_PATH, json={}).headers
    assert headers["Cache-Control"] == "no-store"
    assert {part.strip() for part in headers["Vary"].split(",")} == {
        "Cookie",
        "Authorization",
        "Origin",
    }
    assert headers["Server-Timing"].startswith("mint;dur=")
    assert headers["RateLimit-Limit"] == "10"
    assert headers["RateLimit-Remaining"] == "9"
    assert 0 < int(headers["RateLimit-Reset"]) <= 3600


def _post(client: FlaskClient, **kwargs: Any) -> tuple[int, str]:
    answer = client.post(TOKEN_PATH, **kwargs)
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_json()
    assert isinstance(body["retryable"], bool)
    assert body["error"]
    return answer.status_code, body["code"]


REFUSALS = {
    "not JSON": ({"data": "{", "content_type": "application/json"}, 400, "malformed_json"),
    "NaN": ({"data": '{"a": NaN}', "content_type": "application/json"}, 400, "malformed_json"),
    "empty": ({"data": "", "content_type": "application/json"}, 400, "malformed_json"),
    "deep": ({"data": "[" * 9000, "content_type": "application/json"}, 400, "malformed_json"),
    "not UTF-8": ({"data": b"\xff", "content_type": "application/json"}, 400, "malformed_json"),
    "a list": ({"json": []}, 422, "invalid_request"),
    "unknown field": ({"json": {"person": "x"}}, 422, "invalid_request"),
    "wrong type": ({"json": {"personaType": 7}}, 422, "invalid_request"),
    "slot too long": ({"json": {"slot": "s" * 65}}, 422, "invalid_request"),
    "key too long": (
        {"json": {}, "headers": {"Idempotency-Key": "k" * 256}},
        422,
        "invalid_request",
    ),
    "override": ({"json": {"overrides": {"systemPrompt": "x"}}}, 422, "invalid_request"),
    "no such persona": ({"json": {"personaType": "nobody"}}, 404, "unknown_persona"),
    "form": ({"data": {"personaType": "support"}}, 415, "unsupported_media_type"),
    "no body": ({}, 415, "unsupported_media_type"),
    "too large": ({"json": {"slot": "s" * 17_000}}, 413, "payload_too_large"),
    "other site": ({"json": {}, "headers": {"Origin": "https://evil.test"}}, 403, "cross_site"),
    "fetch": ({"json": {}, "headers": {"Sec-Fetch-Site": "cross-site"}}, 403, "cross_site"),
    "sibling": ({"json": {}, "headers": {"Sec-Fetch-Site": "same-site"}}, 403, "cross_site"),
    "null origin": ({"json": {}, "headers": {"Origin": "null"}}, 403, "cross_site"),
}


@pytest.mark.parametrize(("kwargs", "status", "code"), REFUSALS.values(), ids=REFUSALS)
def test_bad_requests_are_refused_before_anything_is_spent(
    ada: FlaskClient, sandbox: Sandbox, kwargs: dict[str, Any], status: int, code: str
) -> None:
    """Each wrong request has its status and code, and costs neither a mint nor the limit."""
    assert _post(ada, **kwargs) == (status, code)
    assert sandbox.ledger.mints == ()
    assert ada.post(TOKEN_PATH, json={}).headers["RateLimit-Remaining"] == "9"


def test_details_name_the_fields(ada: FlaskClient) -> None:
    """A 422 says which field is wrong, and suggests the right name."""
    body = ada.post(TOKEN_PATH, json={"personatype": "x", "slot": ""}).get_json()
    assert body["details"]["personatype"] == ["Unknown field. Did you mean personaType?"]
    assert "slot" in body["details"]


def test_nobody_is_told_unauthorized_even_with_a_login_view(sandbox: Sandbox) -> None:
    """401 JSON instead of Flask-Login's redirect to the login page."""
    app = make_app(sandbox)
    app.login_manager.login_view = "login"  # type: ignore[attr-defined]
    answer = client_of(app).post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["error"]) == (401, "Unauthorized")
    assert answer.get_json()["code"] == "unauthenticated"


def test_login_disabled_does_not_open_the_gate(sandbox: Sandbox) -> None:
    """Flask-Login's LOGIN_DISABLED opens pages, never the way to tokens."""
    app = make_app(sandbox, LOGIN_DISABLED=True)
    assert _post(client_of(app), json={}) == (401, "unauthenticated")


def test_a_user_without_permission_is_refused(sandbox: Sandbox) -> None:
    """Deny is the default: a user who may not talk gets 403."""
    app = make_app(sandbox, ADA, EVE)
    answer = client_of(app, EVE).post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["error"]) == (403, "Insufficient permissions")
    assert answer.get_json()["code"] == "permission_denied"


def test_a_persona_may_need_a_permission_of_its_own(sandbox: Sandbox) -> None:
    """A persona with a permission is refused to users who may talk but lack that one."""
    anam = FlaskAnam()
    anam.add_persona("coach", COACH, permission="coach:talk")
    app = make_app(sandbox, anam=anam)
    assert _post(client_of(app, ADA), json={"personaType": "coach"}) == (403, "permission_denied")


def test_checks_run_in_the_order_of_the_contract(sandbox: Sandbox) -> None:
    """Of several things wrong, the first of the documented order is told."""
    anam = FlaskAnam()
    anam.add_persona("coach", COACH, permission="coach:talk")
    app = make_app(sandbox, ADA, EVE, anam=anam, ANAM_REQUEST_RATE_LIMIT="1 per hour")
    nobody, eve, ada = client_of(app), client_of(app, EVE), client_of(app, ADA)
    evil = {"Origin": "https://evil.test"}
    large = b"{" * 17_000
    assert nobody.get(TOKEN_PATH, headers=evil).status_code == 405
    assert _post(nobody, data=large, headers=evil) == (415, "unsupported_media_type")
    large_json: dict[str, Any] = {"data": large, "content_type": "application/json"}
    assert _post(nobody, **large_json, headers=evil) == (413, "payload_too_large")
    broken: dict[str, Any] = {"data": "{", "content_type": "application/json"}
    assert _post(nobody, **broken, headers=evil) == (403, "cross_site")
    assert _post(nobody, **broken) == (401, "unauthenticated")
    assert _post(eve, **broken) == (403, "permission_denied")
    assert _post(ada, **broken) == (400, "malformed_json")
    assert ada.post(TOKEN_PATH, json={"personaType": "support"}).status_code == 200
    assert _post(ada, json={"personaType": "x"}) == (404, "unknown_persona")
    assert _post(ada, json={"personaType": "support"}) == (429, "rate_limited")


@pytest.mark.parametrize("header", ["https://localhost", "http://localhost:80", "http://LOCALHOST"])
def test_our_own_pages_may_call(ada: FlaskClient, header: str) -> None:
    """An Origin that is this site passes, also when a proxy has ended TLS."""
    assert ada.post(TOKEN_PATH, json={}, headers={"Origin": header}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://localhost:81", "http://localhost.evil", "ftp://localhost"]
)
def test_origins_that_merely_look_like_ours_may_not(ada: FlaskClient, origin: str) -> None:
    """Another port, a longer host or another scheme is another site."""
    assert _post(ada, json={}, headers={"Origin": origin}) == (403, "cross_site")


def test_wrong_methods_and_paths_answer_json(app: Flask) -> None:
    """404 and 405 on our own paths are JSON; the host's other paths stay its own."""
    client = client_of(app)
    for method, path, status, code in (
        ("GET", TOKEN_PATH, 405, "method_not_allowed"),
        ("BREW", TOKEN_PATH, 405, "method_not_allowed"),
        ("DELETE", "/anam/personas", 405, "method_not_allowed"),
        ("GET", "/anam/nothing", 404, "not_found"),
        ("GET", "/anam/static/nothing.js", 404, "not_found"),
    ):
        answer = client.open(path, method=method)
        assert (answer.status_code, answer.get_json()["code"]) == (status, code)
        assert answer.headers["Cache-Control"] == "no-store"
    assert "POST" in client.get(TOKEN_PATH).headers["Allow"]
    assert client.get("/elsewhere").mimetype == "text/html"


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(418, "im_a_teapot", False), (499, "status_499", False), (520, "status_520", True)],
)
def test_a_status_of_the_hosts_keeps_its_number(
    app: Flask, status: int, code: str, retryable: bool
) -> None:
    """Also one that has no name: a guard of the host's answers, and the browser gets JSON."""
    app.before_request(lambda: ("<h1>No</h1>", status))
    answer = client_of(app, ADA).post(TOKEN_PATH, json={})
    assert answer.status_code == status
    assert (answer.get_json()["code"], answer.get_json()["retryable"]) == (code, retryable)
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_hosts_own_size_limit_also_answers_json(sandbox: Sandbox) -> None:
    """A body over the host's MAX_CONTENT_LENGTH is 413 as JSON."""
    app = make_app(sandbox, MAX_CONTENT_LENGTH=100)
    assert _post(client_of(app, ADA), json={"slot": "s" * 200}) == (413, "payload_too_large")


def test_a_body_without_announced_length_is_measured(app: Flask) -> None:
    """A chunked body is read only as far as needed to see that it is too large."""
    import io

    answer = client_of(app, ADA).post(
        TOKEN_PATH,
        input_stream=io.BytesIO(b" " * 20_000),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert (answer.status_code, answer.get_json()["code"]) == (413, "payload_too_large")


def test_persona_callables_get_the_user_and_may_be_overridden(sandbox: Sandbox) -> None:
    """A per-user persona is made from the user; a browser may set the allowed fields only."""
    anam = FlaskAnam()

    @anam.persona("guide", overrides=("languageCode",))
    def guide(user: Any) -> dict[str, Any]:
        return {**PERSONA, "name": f"Guide of {user.get_id()}"}

    client = client_of(make_app(sandbox, anam=anam), ADA)
    answer = client.post(
        TOKEN_PATH, json={"personaType": "guide", "overrides": {"languageCode": "de"}}
    )
    assert answer.status_code == 200
    assert sandbox.ledger.mints[0].persona_config == {
        **PERSONA,
        "name": "Guide of ada",
        "languageCode": "de",
    }
    refused = client.post(TOKEN_PATH, json={"personaType": "guide", "overrides": {"name": "x"}})
    assert refused.status_code == 422
    assert "name" in refused.get_json()["details"]["overrides"]


@pytest.mark.parametrize("debug", [False, True])
def test_a_broken_persona_tells_the_log_and_only_in_debug_the_browser(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, debug: bool
) -> None:
    """500 persona_invalid; the reason is in the log, in the answer only in debug mode."""
    anam = FlaskAnam()
    anam.add_persona("broken", lambda user: {**PERSONA, "avatarId": "not-a-uuid"})
    app = make_app(sandbox, anam=anam, DEBUG=debug)
    answer = client_of(app, ADA).post(TOKEN_PATH, json={"personaType": "broken"})
    assert (answer.status_code, answer.get_json()["code"]) == (500, "persona_invalid")
    assert ("avatarId" in answer.get_json()["error"]) is debug
    assert "avatarId: Not a UUID" in logged.text


def test_the_default_persona_is_used_when_none_is_named(sandbox: Sandbox) -> None:
    """ANAM_DEFAULT_PERSONA answers for a request without personaType; without it 422."""
    personas = {"support": PERSONA, "coach": COACH}
    app = make_app(sandbox, ANAM_PERSONAS=personas, ANAM_DEFAULT_PERSONA="coach")
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).get_json()["personaType"] == "coach"
    app = make_app(sandbox, ANAM_PERSONAS=personas)
    answer = client_of(app, ADA).post(TOKEN_PATH, json={})
    assert (answer.status_code, list(answer.get_json()["details"])) == (422, ["personaType"])


def test_the_path_and_prefix_can_be_moved(sandbox: Sandbox) -> None:
    """ANAM_TOKEN_PATH and ANAM_URL_PREFIX place the routes."""
    app = make_app(sandbox, ANAM_TOKEN_PATH="/t", ANAM_URL_PREFIX="/x/y")
    assert client_of(app, ADA).post("/t", json={}).status_code == 200
    assert client_of(app, ADA).get("/x/y/personas").status_code == 200
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).status_code == 404


def test_expiry_counts_down_for_a_reused_token(sandbox: Sandbox) -> None:
    """What is left counts down in expiresIn, while expiresAt stays."""
    import time

    clock = ManualClock(time.time())
    client = client_of(make_app(sandbox, clock=clock), ADA)
    first = client.post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    clock.move(600)
    second = client.post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    assert second["sessionToken"] == first["sessionToken"]
    assert second["expiresAt"] == first["expiresAt"]
    assert first["expiresIn"] - second["expiresIn"] == 600
