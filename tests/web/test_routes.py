"""The other routes, CORS, signals and counters."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, BOB, PERSONA, TOKEN_PATH, client_of, make_app

import flask_anam
from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

SHOP = "https://shop.example"


def test_personas_lists_what_the_user_may_use(sandbox: Sandbox) -> None:
    """Each persona the caller may use, with its label; others are not told."""
    anam = FlaskAnam()
    anam.add_persona("coach", PERSONA, permission="coach:talk", label="Your coach")
    anam.add_persona("report_reader", PERSONA, permission="reports:read")
    app = make_app(sandbox, anam=anam, ANAM_DEFAULT_PERSONA="support")
    assert client_of(app, ADA).get("/anam/personas").get_json() == {
        "personas": [
            {"personaType": "support", "label": "Support", "isDefault": True},
            {"personaType": "report_reader", "label": "Report reader", "isDefault": False},
        ]
    }
    assert len(client_of(app, BOB).get("/anam/personas").get_json()["personas"]) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", TOKEN_PATH),
        ("GET", "/anam/personas"),
        ("POST", "/anam/sessions"),
        ("POST", "/anam/sessions/s-1/end"),
        ("GET", "/anam/concurrency"),
        ("POST", "/anam/session-token/validate"),
        ("GET", "/anam/metrics"),
    ],
)
def test_every_route_needs_a_login_and_stays_on_this_site(
    app: Flask, method: str, path: str
) -> None:
    """401 for nobody, 403 for another site's page, on each route that does something."""
    nobody = client_of(app)
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}
    assert nobody.open(path, method=method, **body).get_json()["code"] == "unauthenticated"
    answer = client_of(app, ADA).open(
        path, method=method, headers={"Origin": "https://evil.test"}, **body
    )
    assert answer.get_json()["code"] == "cross_site"


def test_metrics_need_their_own_permission(app: Flask) -> None:
    """Counters are for those with anam:metrics only."""
    assert client_of(app, BOB).get("/anam/metrics").get_json()["code"] == "permission_denied"
    assert client_of(app, ADA).get("/anam/metrics").status_code == 200


def test_the_mean_session_duration_is_a_true_mean(sandbox: Sandbox) -> None:
    """(10 + 10 + 40) / 3 = 20, not the page's running average of 25."""
    clock = ManualClock()
    app = make_app(sandbox, clock=clock)
    client = client_of(app, ADA)
    for number, seconds in enumerate((10, 10, 40)):
        body = client.post(TOKEN_PATH, json={"slot": str(number)}).get_json()
        report = {"tokenId": body["tokenId"], "sessionId": f"s-{number}"}
        client.post("/anam/sessions", json=report)
        clock.move(seconds)
        assert client_of(app, BOB).post(f"/anam/sessions/s-{number}/end").status_code == 204
        assert client.post(f"/anam/sessions/s-{number}/end").status_code == 204
        assert client.post(f"/anam/sessions/s-{number}/end").status_code == 204
    counted = client.get("/anam/metrics").get_json()
    assert counted["averageSessionDuration"] == pytest.approx(20)
    assert counted["sessionsEnded"] == counted["tokensUsed"] == counted["tokensCreated"] == 3


def test_a_beacon_may_end_a_session(ada: FlaskClient) -> None:
    """navigator.sendBeacon sends text/plain from our own page, which is enough."""
    answer = ada.post(
        "/anam/sessions/s-1/end",
        data="",
        content_type="text/plain;charset=UTF-8",
        headers={"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
    )
    assert answer.status_code == 204


def test_concurrency_is_what_anam_says(ada: FlaskClient) -> None:
    """The advisory status of the account, and nothing else of the answer."""
    body = ada.get("/anam/concurrency").get_json()
    assert body == {
        "limit": 10_000,
        "active": 0,
        "canStartSession": True,
        "estimatedWaitSeconds": 0,
        "ageSeconds": 0.0,
        "stale": False,
    }


def test_validate_judges_without_opening_a_session(ada: FlaskClient, sandbox: Sandbox) -> None:
    """Shape, expiry and type are told; no session is started."""
    usable = ada.post(TOKEN_PATH, json={}).get_json()["sessionToken"]
    expired = sandbox.issue_token(issued_at=1_000_000_000)
    legacy = sandbox.issue_token(type="legacy")
    for token, valid, reason in (
        (usable, True, "ok"),
        (expired, False, "expired"),
        (legacy, False, "legacy"),
        ("nonsense", False, "malformed"),
    ):
        answer = ada.post("/anam/session-token/validate", json={"sessionToken": token})
        assert answer.get_json()["valid"] is valid
        assert answer.get_json()["reason"] == reason
    assert sandbox.ledger.sessions == ()


def test_a_probe_starts_and_stops_a_session_and_costs_the_token(sandbox: Sandbox) -> None:
    """probe=True proves a token by using it, and says so; a refused one is told apart."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam)
    with app.app_context():
        token = anam.create_token("support", user_id="ada").session_token
        status = anam.validate_token(token, probe=True)
        assert (bool(status), status.spent) == (True, True)
        assert [s.ended_at is not None for s in sandbox.ledger.sessions] == [True]
        forged = token[:-4] + "AAAA"
        assert anam.validate_token(forged).reason == "ok"
        refused = anam.validate_token(forged, probe=True)
        assert (bool(refused), refused.reason) == (False, "refused")
        sandbox.fail_next(503, path="/v1/engine/session")
        unsure = anam.validate_token(token, probe=True)
        assert (bool(unsure), unsure.reason, unsure.spent) == (False, "unreachable", False)


def test_allowed_origins_get_cors_headers_on_answers_and_errors(sandbox: Sandbox) -> None:
    """A listed origin may call with cookies, and may read errors too."""
    app = make_app(sandbox, ANAM_ALLOWED_ORIGINS=[SHOP])
    origin = {"Origin": SHOP, "Sec-Fetch-Site": "cross-site"}
    for client, status in ((client_of(app, ADA), 200), (client_of(app), 401)):
        answer = client.post(TOKEN_PATH, json={}, headers=origin)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


def test_preflight_is_answered_without_a_login(sandbox: Sandbox) -> None:
    """OPTIONS from a listed origin says what may be sent; from others it says nothing."""
    app = make_app(sandbox, ANAM_ALLOWED_ORIGINS=[SHOP])
    asked = {"Access-Control-Request-Method": "POST"}
    answer = client_of(app).options(TOKEN_PATH, headers={"Origin": SHOP, **asked})
    assert answer.status_code == 200
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
    answer = client_of(app).options(TOKEN_PATH, headers={"Origin": "https://evil.test", **asked})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_signals_tell_what_happens(sandbox: Sandbox) -> None:
    """Each signal has the app as sender and the documented arguments."""
    app = make_app(sandbox, ANAM_TOKEN_RATE_LIMIT="1 per hour")
    heard: list[tuple[str, dict[str, Any]]] = []
    names = (
        "token_minted",
        "token_reused",
        "token_failed",
        "session_started",
        "session_ended",
        "limit_reached",
    )
    receivers = []
    for name in names:

        def hear(sender: Flask, name: str = name, **facts: Any) -> None:
            assert sender is app
            heard.append((name, facts))

        getattr(flask_anam, name).connect(hear, sender=app)
        receivers.append(hear)
    client = client_of(app, ADA)
    body = client.post(TOKEN_PATH, json={"slot": "a"}).get_json()
    client.post(TOKEN_PATH, json={"slot": "a"})
    client.post("/anam/sessions", json={"tokenId": body["tokenId"], "sessionId": "s-1"})
    client.post("/anam/sessions/s-1/end")
    client.post(TOKEN_PATH, json={"slot": "b"})
    events = dict(heard)
    assert [name for name, _ in heard] == [*names[:2], *names[3:5], "limit_reached", "token_failed"]
    common = {"user_id", "persona_type", "token_id"}
    assert set(events["token_minted"]) == {*common, "seconds", "attempts"}
    assert events["token_minted"]["attempts"] == 1
    assert set(events["token_reused"]) == {*common, "how"}
    assert events["token_reused"]["how"] == "reused"
    assert events["session_started"]["session_id"] == "s-1"
    assert events["session_ended"]["duration"] >= 0
    assert events["limit_reached"]["limit"] == "token"
    assert events["token_failed"]["error"].code == "rate_limited"
    assert body["sessionToken"] not in repr(heard)


def test_a_raising_receiver_breaks_nothing(
    app: Flask, ada: FlaskClient, logged: pytest.LogCaptureFixture
) -> None:
    """A receiver is the host's code: its failure is logged, the token is handed out."""

    def broken(sender: Flask, **facts: Any) -> None:
        raise RuntimeError("secret in here")

    flask_anam.token_minted.connect(broken, sender=app)
    assert ada.post(TOKEN_PATH, json={}).status_code == 200
    assert "raised RuntimeError" in logged.text
    assert "secret in here" not in logged.text
