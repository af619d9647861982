"""Prometheus: the text format, the documentation, and registries of the host."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, TOKEN_PATH, client_of, make_app
from prometheus_client import CollectorRegistry, generate_latest

from flask_anam import ConfigError, FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

from .scraping import DOCS, PROMETHEUS_2, PROMETHEUS_3, Values, docs_block, total, value, values


def scrape(client: FlaskClient, accept: str, query: str = "") -> Values:
    """Return what a scraper with that Accept header gets."""
    answer = client.get(f"/anam/metrics{query}", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return values(answer.text, answer.content_type)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (PROMETHEUS_2, "application/openmetrics-text"),
        (PROMETHEUS_3, "application/openmetrics-text"),
        ("text/plain;version=0.0.4", "text/plain"),
        ("text/plain", "text/plain"),
        ("text/plain;version=0.0.4,*/*;q=0.1", "text/plain"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
    ],
)
def test_a_scraper_gets_text_and_others_json(ada: FlaskClient, accept: str, kind: str) -> None:
    """As a Prometheus server asks by itself; browsers, fetch, axios and curl get JSON."""
    answer = ada.get("/anam/metrics", headers={"Accept": accept})
    assert answer.content_type.partition(";")[0] == kind
    if kind != "application/json":
        assert value(values(answer.text, kind), "anam_sessions_active") == 0


@pytest.mark.parametrize("version", ["abc", "1e999", "", "1.0.0;escaping=x"])
def test_a_version_that_makes_no_sense_is_no_error(ada: FlaskClient, version: str) -> None:
    """Whatever a scraper says that it understands, it gets text."""
    accept = f"application/openmetrics-text;version={version}"
    assert ada.get("/anam/metrics?format=prometheus", headers={"Accept": accept}).status_code == 200


def test_the_format_may_be_named(ada: FlaskClient) -> None:
    """?format= decides, whatever is accepted; an unknown one is refused with the choice."""
    assert value(scrape(ada, "*/*", "?format=prometheus"), "anam_upstream_retries_total") == 0
    asked = {"Accept": "text/plain"}
    assert ada.get("/anam/metrics?format=json", headers=asked).get_json()["tokensCreated"] == 0
    refused = ada.get("/anam/metrics?format=xml")
    assert (refused.status_code, refused.get_json()["details"]) == (
        422,
        {"format": ["Must be json or prometheus."]},
    )


def test_every_count_is_there(sandbox: Sandbox, clock: ManualClock) -> None:
    """Tokens, failures, refusals, attempts and sessions, with their labels; no zero is missing."""
    app = make_app(sandbox, clock=clock, ANAM_TOKEN_RATE_LIMIT="2 per hour")
    ada = client_of(app, ADA)
    sandbox.fail_next(503)
    token = ada.post(TOKEN_PATH, json={"slot": "a"}).get_json()
    for slot in ("a", "b", "c"):
        ada.post(TOKEN_PATH, json={"slot": slot})
    client_of(app).post(TOKEN_PATH, json={})
    ada.post("/anam/sessions", json={"tokenId": token["tokenId"], "sessionId": "s-1"})
    clock.move(42)
    ada.post("/anam/sessions/s-1/end")
    samples = scrape(ada, PROMETHEUS_2)
    support = {"persona_type": "support"}
    for outcome, number in (("minted", 2), ("reused", 1)):
        assert value(samples, "anam_tokens_total", outcome=outcome, **support) == number
        assert value(samples, "anam_token_seconds_count", outcome=outcome) == number
    assert value(samples, "anam_token_failures_total", code="rate_limited", **support) == 1
    for reason in ("token_limit", "unauthenticated"):
        assert value(samples, "anam_tokens_refused_total", reason=reason) == 1
    attempts = "anam_upstream_attempt_seconds_count"
    assert value(samples, attempts, call="mint", outcome="ok") == 2
    assert value(samples, attempts, call="mint", outcome="anam_unavailable") == 1
    assert value(samples, "anam_upstream_retries_total") == 1
    assert value(samples, "anam_sessions_started_total") == 1
    assert value(samples, "anam_sessions_ended_total") == 1
    assert value(samples, "anam_sessions_active") == 0
    assert value(samples, "anam_session_seconds_sum") == 42
    assert value(samples, "anam_session_seconds_bucket", le="30.0") == 0
    assert value(samples, "anam_session_seconds_bucket", le="60.0") == 1
    assert value(samples, "anam_usage_records_lost_total") == 0


@pytest.mark.source
def test_every_metric_and_label_is_documented(ada: FlaskClient) -> None:
    """The page names them as Prometheus does."""
    ada.post(TOKEN_PATH, json={})
    page = (DOCS / "metrics.md").read_text()
    for name, labels in scrape(ada, "text/plain"):
        bare = re.sub(r"_(bucket|count|sum)$", "", name)
        assert f"`{bare}`" in page
        for label, _ in labels - {("le", "")}:
            assert label == "le" or f"`{label}`" in page


def test_metrics_still_need_their_permission(app: Flask) -> None:
    """The errors of the text are JSON, and for nobody it is another answer."""
    answer = client_of(app).get("/anam/metrics", headers={"Accept": PROMETHEUS_2})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthenticated")


@pytest.mark.source
def test_the_scraper_of_the_docs_comes_in(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its token it may read the metrics and nothing else; users are known as before."""
    monkeypatch.setenv("SCRAPE_TOKEN", "scrape-me")
    anam = FlaskAnam()
    exec(compile(docs_block("Scraper"), "metrics.md", "exec"), {"anam": anam})  # noqa: S102
    app = make_app(sandbox, anam=anam)
    client = client_of(app)
    headers = {"Accept": PROMETHEUS_3, "Authorization": "Bearer scrape-me"}
    assert client.get("/anam/metrics", headers=headers).status_code == 200
    refused = client.post(TOKEN_PATH, json={}, headers=headers)
    assert refused.get_json()["code"] == "permission_denied"
    for wrong in ("", "Bearer", "Bearer scrape-you", "Bearer ü"):
        headers["Authorization"] = wrong
        assert client.get("/anam/metrics", headers=headers).status_code == 401
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).status_code == 200


def test_a_registry_of_the_host_shows_us_too(sandbox: Sandbox) -> None:
    """Two apps with two names on one registry; with one name they are refused."""
    anam = FlaskAnam()
    shop, forum = (make_app(sandbox, anam=anam) for _ in range(2))
    with pytest.raises(ConfigError, match="Two of these apps are called 'host'"):
        anam.prometheus_collector(shop, forum)
    shop.name, forum.name = "shop", "forum"
    registry = CollectorRegistry(auto_describe=True)
    registry.register(anam.prometheus_collector(shop, forum))
    for app, tokens in ((shop, 2), (forum, 1)):
        for _ in range(tokens):
            client_of(app, ADA).post(TOKEN_PATH, json={})
    samples = values(generate_latest(registry).decode())
    minted = {"outcome": "minted", "persona_type": "support"}
    assert value(samples, "anam_tokens_total", "shop", **minted) == 1
    assert total(samples, "anam_tokens_total", "shop") == 2
    assert total(samples, "anam_tokens_total", "forum") == 1
    with shop.app_context():
        assert [family.name for family in anam.prometheus_collector().collect()]
