"""Counters, log lines and the command: what happened is told, and no more than that."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import (
    ADA,
    BOB,
    EVE,
    KEY,
    PERSONA,
    PROMPT,
    TOKEN_PATH,
    client_of,
    make_app,
)

from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

DOCS = Path(__file__).parent.parent.parent / "docs"


def busy_day(sandbox: Sandbox, clock: ManualClock) -> tuple[Flask, list[str]]:
    """Return an app in which everything that is counted has happened, and its tokens."""
    personas = {"support": PERSONA, "coach": PERSONA}
    app = make_app(
        sandbox,
        *(ADA, BOB, EVE),
        clock=clock,
        ANAM_PERSONAS=personas,
        ANAM_DEFAULT_PERSONA="support",
        ANAM_TOKEN_RATE_LIMIT="3 per hour",
        ANAM_REQUEST_RATE_LIMIT="9 per hour",
    )
    ada, bob = client_of(app, ADA), client_of(app, BOB)
    token = ada.post(TOKEN_PATH, json={"slot": "a"}).get_json()  # minted
    ada.post(TOKEN_PATH, json={"slot": "a"})  # reused
    tokens = [token, ada.post(TOKEN_PATH, json={}).get_json()]  # minted
    ada.post(TOKEN_PATH, json={})  # replayed
    sandbox.fail_next(503)
    tokens.append(ada.post(TOKEN_PATH, json={"personaType": "coach"}).get_json())  # after a retry
    ada.post(TOKEN_PATH, json={"slot": "b"})  # the token limit
    sandbox.fail_next(400)
    bob.post(TOKEN_PATH, json={"slot": "a", "personaType": "coach"})  # Anam refuses
    for _ in range(4):
        ada.post(TOKEN_PATH, json={"slot": "a"})  # reused three times, then the request limit
    bob.post(TOKEN_PATH, json={"personaType": "<script>"})
    client_of(app, EVE).post(TOKEN_PATH, json={})
    client_of(app).post(TOKEN_PATH, json={})
    ada.post("/anam/sessions", json={"tokenId": token["tokenId"], "sessionId": "s-1"})
    ada.post("/anam/sessions", json={"tokenId": tokens[1]["tokenId"], "sessionId": "s-2"})
    clock.move(42)
    ada.post("/anam/sessions/s-1/end")
    return app, [token["sessionToken"] for token in tokens]


def counted(client: FlaskClient) -> dict[str, Any]:
    """Return the counters as the route answers them."""
    counts: dict[str, Any] = client.get("/anam/metrics").get_json()
    return counts


def test_everything_that_happens_is_counted(sandbox: Sandbox, clock: ManualClock) -> None:
    """Each outcome once where it belongs, by persona, code, reason and time."""
    app, tokens = busy_day(sandbox, clock)
    counts = counted(client_of(app, ADA))
    text = client_of(app, ADA).get("/anam/metrics?format=prometheus").text + json.dumps(counts)
    for secret in (*tokens, KEY, PROMPT, "ada", "bob", "script"):
        assert secret not in text
    assert (counts["tokensCreated"], counts["tokensReused"], counts["tokensReplayed"]) == (3, 5, 1)
    assert counts["tokensReusedStale"] == 0
    assert counts["tokensFailedByCode"] == {"anam_rejected": 1, "rate_limited": 1}
    assert counts["tokensRefusedByReason"] == {
        "permission_denied": 1,
        "request_limit": 1,
        "token_limit": 1,
        "unauthenticated": 1,
        "unknown_persona": 1,
    }
    assert counts["tokensRefused"] == 5
    quiet = {"reused": 0, "replayed": 0, "stale": 0}
    assert counts["tokensByPersona"] == {
        "coach": {"minted": 1, **quiet, "failed": 1},
        "support": {"minted": 2, "reused": 4, "replayed": 1, "stale": 0, "failed": 1},
    }
    assert (counts["upstreamAttempts"], counts["upstreamRetries"]) == (5, 1)
    attempts = {
        name: histogram["count"] for name, histogram in counts["upstreamAttemptSeconds"].items()
    }
    assert attempts == {"mint anam_rejected": 1, "mint anam_unavailable": 1, "mint ok": 3}
    handed = {name: histogram["count"] for name, histogram in counts["tokenSeconds"].items()}
    assert handed == {"failed": 2, "minted": 3, "replayed": 1, "reused": 4}
    assert (counts["sessionsStarted"], counts["tokensUsed"]) == (2, 2)
    assert (counts["sessionsActive"], counts["sessionsEnded"]) == (1, 1)
    assert counts["averageSessionDuration"] == counts["sessionSeconds"]["sum"] == 42
    assert counts["sessionSeconds"]["buckets"]["60.0"] == 1
    assert counts["usageRecordsLost"] == 0


def test_a_token_past_its_time_is_counted_as_stale(sandbox: Sandbox, clock: ManualClock) -> None:
    """Handed out for want of a new one, which is told apart."""
    app = make_app(sandbox, clock=clock)
    ada = client_of(app, ADA)
    ada.post(TOKEN_PATH, json={"slot": "a"})
    clock.move(3100)
    sandbox.fail_next(503, times=3)
    assert ada.post(TOKEN_PATH, json={"slot": "a"}).status_code == 200
    counts = counted(ada)
    names = "tokensReused", "tokensReusedStale", "tokensReplayed"
    assert [counts[name] for name in names] == [1, 1, 0]
    assert counts["tokensFailed"] == 0


def test_errors_of_other_views_are_no_refused_tokens(sandbox: Sandbox) -> None:
    """A wrong permission elsewhere is not a token request."""
    app = make_app(sandbox)
    client_of(app, BOB).get("/anam/metrics")
    client_of(app).get("/anam/personas")
    assert counted(client_of(app, ADA))["tokensRefused"] == 0


EVENTS = {
    "token_minted": {"anam_persona_type", "anam_token_id", "anam_seconds", "anam_attempts"},
    "token_reused": {"anam_persona_type", "anam_token_id", "anam_how"},
    "token_failed": {"anam_persona_type", "anam_code"},
    "persona_missing": {"anam_persona_type", "anam_fallback"},
    "session_started": {"anam_session_id", "anam_token_id"},
    "session_ended": {"anam_session_id", "anam_duration"},
    "limit_reached": {"anam_limit", "anam_retry_after"},
    "error": {"anam_code", "anam_status"},
}


def test_every_event_is_a_line_with_its_facts(
    sandbox: Sandbox, clock: ManualClock, logged: pytest.LogCaptureFixture
) -> None:
    """The documented attributes and levels; no user, key, prompt or token; all fit into JSON."""
    _, tokens = busy_day(sandbox, clock)
    anam = FlaskAnam()
    anam.add_persona(
        "ghost", {"personaId": "4f1b9c0e-31b6-4f5e-9a51-0a8f2a3f7d11"}, fallback="support"
    )
    sandbox.fail_next(404, json={"error": "Persona not found"})
    client_of(make_app(sandbox, anam=anam), ADA).post(TOKEN_PATH, json={"personaType": "ghost"})
    seen: dict[str, set[str]] = {}
    for record in logged.records:
        facts = {name for name in vars(record) if name.startswith("anam_")}
        if "anam_event" in facts:
            assert record.name == "flask_anam"
            event = vars(record)["anam_event"]
            assert facts - {"anam_event"} == EVENTS[event], event
            json.dumps({name: vars(record)[name] for name in facts})
            seen[event] = {*seen.get(event, ()), record.levelname}
    assert seen == {
        **{event: {"INFO"} for event in EVENTS},
        "token_reused": {"DEBUG"},
        "persona_missing": {"WARNING"},
        "error": {"WARNING"},
    }
    ours = [record for record in logged.records if record.name == "flask_anam"]
    text = "\n".join(str(vars(record)) + record.getMessage() for record in ours)
    for secret in (*tokens, KEY, PROMPT, "'ada'", "'bob'", "=ada", "=bob"):
        assert secret not in text


def test_a_line_cannot_be_forged(
    sandbox: Sandbox, clock: ManualClock, logged: pytest.LogCaptureFixture
) -> None:
    """What a browser calls its session, and what could be more than a word, stays in its place."""
    app = make_app(sandbox, clock=clock, ANAM_PERSONAS={"a\nb c=9": PERSONA})
    ada = client_of(app, ADA)
    token_id = ada.post(TOKEN_PATH, json={"slot": "a"}).get_json()["tokenId"]
    forged = "x\ntoken_minted attempts=9"
    answer = ada.post("/anam/sessions", json={"tokenId": token_id, "sessionId": forged})
    assert answer.status_code == 422
    assert not [text for text in logged.messages if text.startswith("session_started")]
    (line,) = [text for text in logged.messages if text.startswith("token_minted")]
    assert line.startswith(f"token_minted persona_type={'a' + chr(10) + 'b c=9'!r} token_id=")


@pytest.mark.source
def test_the_formatter_of_the_docs_writes_json(sandbox: Sandbox) -> None:
    """Pasted as it is, each line is JSON with the facts."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / "metrics.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (block,) = [block for block in blocks if "JsonLines" in block]
    logger = logging.getLogger("flask_anam")
    level, handlers = logger.level, list(logger.handlers)
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            exec(compile(block, "metrics.md", "exec"), {})  # noqa: S102 - our own text
            client_of(make_app(sandbox), ADA).post(TOKEN_PATH, json={"slot": "a"})
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (line["level"], line["anam_event"], line["anam_attempts"]) == ("INFO", "token_minted", 1)
    assert line["anam_persona_type"] == "support"
    assert line["message"].startswith("token_minted persona_type=support token_id=")


def shown(app: Flask, *args: str) -> tuple[str, str]:
    """Run `flask anam metrics`; return what it printed, and what it noted."""
    result = app.test_cli_runner().invoke(args=["anam", "metrics", *args])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_the_command_shows_tables_that_fit(
    sandbox: Sandbox, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counters, personas, reasons and times; a long name gives way in a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "60")
    app, _ = busy_day(sandbox, clock)
    app.extensions["anam"].metrics_recorder.handed_out("minted", "p" * 90, 0.2)
    text, note = shown(app)
    assert re.search(r"^tokens created +4$", text, re.MULTILINE)
    assert re.search(r"^average session duration +42.0 s$", text, re.MULTILINE)
    assert re.search(r"^support +2 +4 +1 +0 +1$", text, re.MULTILINE)
    assert re.search(r"^permission_denied +refused +1$", text, re.MULTILINE)
    assert re.search(r"^call mint ok +3 +\d+ ms$", text, re.MULTILINE)
    assert re.search(r"^p{10,}… +1 +0", text, re.MULTILINE)
    assert max(len(line) for line in text.splitlines()) <= 60
    assert "PROMETHEUS_MULTIPROC_DIR" in note


def test_the_command_prints_json(sandbox: Sandbox, clock: ManualClock) -> None:
    """The same as get_metrics(), with nothing else on standard output."""
    anam = FlaskAnam(clock=clock)
    app = make_app(sandbox, anam=anam)
    client_of(app, ADA).post(TOKEN_PATH, json={})
    with app.app_context():
        assert json.loads(shown(app, "--json")[0]) == anam.get_metrics()


def test_a_fresh_app_shows_zeros_only(app: Flask) -> None:
    """No table without rows."""
    text, _ = shown(app)
    assert re.search(r"^tokens created +0$", text, re.MULTILINE)
    assert "PERSONA" not in text
