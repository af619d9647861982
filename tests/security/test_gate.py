"""Access control: every route, every kind of caller, every kind of calling page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from flask_wtf.csrf import CSRFProtect, generate_csrf
from hosts import ADA, BOB, EVE, TOKEN_PATH, client_of, make_app
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.web.openapi import ROUTES

SHOP = "https://shop.example"

OPEN = {"openapi", "static"}
#: Routes with the figures of the owner: no other origin reads them, listed or not.
OWNERS_ONLY = {"metrics", "dashboard", "dashboard_csv"}

BODIES: dict[str, dict[str, Any]] = {
    "issue_token": {},
    "report_start": {"tokenId": "x" * 16, "sessionId": "s-1"},
    "validate": {"sessionToken": "a.b.c"},
}


def routes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Yield view, method and path of each route, HEAD among the methods."""
    for rule in app.url_map.iter_rules():
        blueprint, _, view = rule.endpoint.partition(".")
        if blueprint == "anam":
            for method in sorted((rule.methods or set()) - {"OPTIONS"}):
                yield view, method, re.sub("<[^>]+>", "flask-anam.js", rule.rule)


def call(client: FlaskClient, view: str, method: str, path: str, **headers: str) -> TestResponse:
    """Call a route as it wants to be called."""
    body: dict[str, Any] = {} if method in {"GET", "HEAD"} else {"json": BODIES.get(view, {})}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.open(path, method=method, headers=sent, buffered=True, **body)


def let_in(answer: TestResponse, view: str) -> bool:
    """Whether a caller got in; there is no session to stop, which only they are told."""
    return answer.status_code < 300 or (view == "stop_session" and answer.status_code == 404)


def test_nobody_and_the_powerless_get_in_nowhere(sandbox: Sandbox) -> None:
    """401 without a login, 403 without the permission, on each route and method but the open."""
    app = make_app(sandbox, ADA, BOB, EVE, ANAM_DASHBOARD=True)
    seen = set()
    for view, method, path in routes(app):
        seen.add(view)
        if view in OPEN:
            assert call(client_of(app), view, method, path).status_code == 200
            continue
        assert call(client_of(app), view, method, path).status_code == 401, (method, path)
        assert call(client_of(app, EVE), view, method, path).status_code == 403, (method, path)
        assert let_in(call(client_of(app, ADA), view, method, path), view), (method, path)
        talks = ROUTES[view].permission != "anam:metrics"
        assert let_in(call(client_of(app, BOB), view, method, path), view) is talks, (method, path)
    assert seen == {*ROUTES, "static"}
    assert {asked.path for asked in sandbox.ledger.requests} <= {
        "/v1/auth/session-token",
        "/v1/sessions/concurrency",
    }


#: Headers as browsers send them, and whether the page that they tell of may call.
PAGES: dict[str, tuple[dict[str, str], bool]] = {
    "no browser": ({}, True),
    "own page": ({"Origin": "http://localhost", "Sec_Fetch_Site": "same-origin"}, True),
    "own page, old browser": ({"Origin": "http://localhost"}, True),
    "own page without referrers": ({"Origin": "null", "Sec_Fetch_Site": "same-origin"}, True),
    "typed in": ({"Sec_Fetch_Site": "none"}, True),
    "listed page": ({"Origin": SHOP, "Sec_Fetch_Site": "cross-site"}, True),
    "other page": ({"Origin": "https://evil.test", "Sec_Fetch_Site": "cross-site"}, False),
    "other page, old browser": ({"Origin": "https://evil.test"}, False),
    "other page without origin": ({"Sec_Fetch_Site": "cross-site"}, False),
    "sibling": ({"Origin": "http://www.localhost", "Sec_Fetch_Site": "same-site"}, False),
    "sibling without origin": ({"Sec_Fetch_Site": "same-site"}, False),
    "other port": ({"Origin": "http://localhost:81", "Sec_Fetch_Site": "same-site"}, False),
    "own name over http": ({"Origin": "http://localhost", "Sec_Fetch_Site": "cross-site"}, False),
    "sandboxed frame": ({"Origin": "null", "Sec_Fetch_Site": "cross-site"}, False),
    "opaque, old browser": ({"Origin": "null"}, False),
    "longer name": ({"Origin": f"{SHOP}.evil.test"}, False),
    "listed with path": ({"Origin": f"{SHOP}/"}, False),
    "listed over http": ({"Origin": "http://shop.example"}, False),
    "listed in capitals": ({"Origin": SHOP.upper()}, False),
    "two origins": ({"Origin": f"{SHOP} https://evil.test"}, False),
    "nonsense": ({"Origin": "http://[::1"}, False),
    "empty": ({"Origin": ""}, False),
}


@pytest.mark.parametrize(("headers", "may"), PAGES.values(), ids=PAGES)
def test_pages_of_other_sites_get_in_nowhere(
    sandbox: Sandbox, headers: dict[str, str], may: bool
) -> None:
    """On each guarded route and method, whoever is logged in; CORS headers go with it."""
    app = make_app(sandbox, ANAM_ALLOWED_ORIGINS=[SHOP], ANAM_DASHBOARD=True)
    for view, method, path in routes(app):
        if view in OPEN:
            continue
        answer = call(client_of(app, ADA), view, method, path, **headers)
        listed = headers.get("Origin") == SHOP
        may_here = may and not (listed and view in OWNERS_ONLY)
        assert let_in(answer, view) is may_here, (method, path)
        assert may_here or method == "HEAD" or answer.get_json()["code"] == "cross_site"
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert allowed == (SHOP if listed and view not in OWNERS_ONLY else None)
        assert "Origin" in answer.headers["Vary"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
def test_what_a_form_of_another_site_can_send_changes_nothing(
    sandbox: Sandbox, content_type: str
) -> None:
    """Bodies that need no preflight are refused, but for the report of an end.

    Even that stays on this site, since a beacon names its origin.
    """
    app = make_app(sandbox)
    for view, method, path in routes(app):
        if method != "POST":
            continue
        sent: dict[str, Any] = {"data": "{}", "content_type": content_type}
        answer = client_of(app, ADA).post(path, **sent)
        assert answer.status_code == (204 if view == "report_end" else 415)
        evil = {"Origin": "https://evil.test"}
        assert client_of(app, ADA).post(path, headers=evil, **sent).status_code in {403, 415}
    assert sandbox.ledger.mints == ()


def test_each_route_answers_a_preflight_for_its_own_methods(sandbox: Sandbox) -> None:
    """Listed origins are told what they may send; nobody else is told anything; caches see Vary."""
    app = make_app(sandbox, ANAM_ALLOWED_ORIGINS=[SHOP])
    for view, method, path in routes(app):
        if view in {*OPEN, *OWNERS_ONLY} or method == "HEAD":
            continue
        asked = {
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "content-type,idempotency-key,x-csrftoken",
        }
        answer = client_of(app).options(path, headers={"Origin": SHOP, **asked})
        headers = answer.headers
        assert answer.status_code == 200
        assert method in headers["Access-Control-Allow-Methods"].split(", ")
        allowed_headers = (
            headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
        )
        assert set(asked["Access-Control-Request-Headers"].split(",")) <= set(allowed_headers)
        assert headers["Access-Control-Allow-Origin"] == SHOP
        assert headers["Access-Control-Allow-Credentials"] == "true"
        for origin in ("https://evil.test", "null"):
            answer = client_of(app).options(path, headers={"Origin": origin, **asked})
            assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
            assert "Origin" in answer.headers["Vary"]


@pytest.fixture
def csrf_app(sandbox: Sandbox) -> Flask:
    """Return an app that protects all its forms with Flask-WTF."""
    app = make_app(sandbox, WTF_CSRF_SSL_STRICT=False)
    CSRFProtect(app)
    app.add_url_rule("/page", view_func=generate_csrf)
    return app


def test_flask_wtf_protects_our_routes_too(csrf_app: Flask) -> None:
    """With the header that flask-anam.js sends every route works; without it none that changes."""
    ada = client_of(csrf_app, ADA)
    token = ada.get("/page").text
    for view, method, path in routes(csrf_app):
        if view in OPEN:
            continue
        assert let_in(call(ada, view, method, path, X_CSRFToken=token), view), path
        if method in {"POST", "DELETE"}:
            answer = call(ada, view, method, path)
            assert answer.status_code == 400
            assert answer.get_json()["code"] == "bad_request"


def test_bearer_clients_can_be_exempt_from_flask_wtf(sandbox: Sandbox) -> None:
    """As the docs show it: Flask-WTF leaves our blueprint alone, which guards itself."""
    app = make_app(sandbox)
    CSRFProtect(app).exempt(app.blueprints["anam"])
    ada = client_of(app, ADA)
    assert ada.post(TOKEN_PATH, json={}).status_code == 200
    assert ada.post(TOKEN_PATH, json={}, headers={"Origin": SHOP}).status_code == 403


@pytest.mark.parametrize("same_site", [None, "Lax", "Strict", "None"])
def test_the_check_does_not_lean_on_samesite_cookies(
    sandbox: Sandbox, same_site: str | None
) -> None:
    """However cookies are set, another site's page is refused and our own served."""
    app = make_app(sandbox, SESSION_COOKIE_SAMESITE=same_site)
    ada = client_of(app, ADA)
    assert ada.post(TOKEN_PATH, json={}, headers={"Origin": "https://evil.test"}).status_code == 403
    assert ada.post(TOKEN_PATH, json={}, headers={"Origin": "http://localhost"}).status_code == 200


@pytest.fixture
def mobile(sandbox: Sandbox) -> Flask:
    """Return an app that knows its users by a Bearer token, and has no cookies."""
    anam = FlaskAnam()
    known = {"Bearer ada-token": ADA, "Bearer bob-token": BOB}
    anam.identity_loader(lambda: known.get(request.headers.get("Authorization", "")))
    return make_app(sandbox, anam=anam)


def test_mobile_clients_come_with_a_bearer_token(mobile: Flask) -> None:
    """The right token is let in, on each route; none, another or a cookie is not."""
    for view, method, path in routes(mobile):
        if view in OPEN:
            continue
        nobody, cookie = client_of(mobile), client_of(mobile, ADA)
        good = call(nobody, view, method, path, Authorization="Bearer ada-token")
        assert let_in(good, view)
        assert "Authorization" in good.headers["Vary"]
        for answer in (
            call(nobody, view, method, path),
            call(nobody, view, method, path, Authorization="Bearer ada-tokem"),
            call(nobody, view, method, path, Authorization="Basic ada-token"),
            call(cookie, view, method, path),
        ):
            assert answer.status_code == 401


FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=203.0.113.9;host=evil.test",
    "X-Real-IP": "203.0.113.9",
}


def test_a_client_cannot_choose_its_address_or_our_name(sandbox: Sandbox) -> None:
    """Without ProxyFix, forwarded headers change neither limits nor what our own origin is."""
    app = make_app(sandbox, ANAM_REQUEST_RATE_LIMIT="2 per hour")
    ada = client_of(app, ADA)
    evil = {**FORWARDED, "Origin": "https://evil.test"}
    assert ada.post(TOKEN_PATH, json={}, headers=evil).status_code == 403
    statuses = [
        ada.post(
            TOKEN_PATH, json={}, headers={**FORWARDED, "X-Forwarded-For": f"203.0.113.{n}"}
        ).status_code
        for n in range(4)
    ]
    assert statuses == [200, 200, 429, 429]
    assert client_of(app, BOB).post(TOKEN_PATH, json={}, headers=FORWARDED).status_code == 200
    document = ada.get("/anam/openapi.json", headers=FORWARDED).get_json()
    assert document["servers"] == [{"url": "/"}]


def test_behind_a_trusted_proxy_the_outer_name_is_ours(sandbox: Sandbox) -> None:
    """With ProxyFix, the proxy's word counts and the client's does not."""
    app = make_app(sandbox)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_proto=1)  # type: ignore[method-assign]
    ada = client_of(app, ADA)
    for origin, host, status in (
        ("https://app.example", "app.example", 200),
        ("https://evil.test", "app.example", 403),
        ("https://evil.test", "evil.test, app.example", 403),
        ("http://localhost", "app.example", 403),
    ):
        sent = {"Origin": origin, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
        assert ada.post(TOKEN_PATH, json={}, headers=sent).status_code == status
