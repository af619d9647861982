"""API key, session token and prompt are never where they do not belong."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from cachelib import SimpleCache
from flask import Flask
from hosts import ADA, KEY, PERSONA, PROMPT, TOKEN_PATH, User, client_of, make_app

import flask_anam
from flask_anam import AnamError, FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

FAULTS: list[dict[str, Any]] = [
    {"status": 400, "json": {"error": PROMPT, "key": KEY}},
    {"status": 401, "json": {"error": KEY}},
    {"status": 402, "json": {"error": KEY}},
    {"status": 429, "json": {"error": PROMPT}},
    {"status": 500, "body": PROMPT},
    {"status": 200, "body": PROMPT},
    {"status": 302, "headers": {"Location": f"http://127.0.0.1:9/{KEY}"}},
    {"reset": True},
    {"cut_after": 10},
]


@pytest.mark.parametrize("debug", [False, True])
def test_no_secret_is_logged_answered_or_kept_in_clear(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, debug: bool
) -> None:
    """Every kind of answer, at log level DEBUG: no key, no prompt, no token anywhere."""
    cache = SimpleCache()
    clock = ManualClock()
    caller = User("ada.lovelace@example")  # long enough to be no chance find in a hash
    config: dict[str, Any] = {
        "ANAM_CACHE": cache,
        "DEBUG": debug,
        "ANAM_TOKEN_RATE_LIMIT": "99 per hour",
    }
    app = make_app(sandbox, caller, clock=clock, **config)
    logged.set_level(logging.DEBUG, "urllib3")
    tokens, answers, errors = [], [], []

    def failed(sender: Flask, error: AnamError, **facts: Any) -> None:
        errors.append("".join(traceback.format_exception(error)) + repr(error) + repr(facts))

    flask_anam.token_failed.connect(failed, sender=app)
    client = client_of(app, caller)
    for number, fault in enumerate(FAULTS):
        sandbox.fail_next(times=3, **fault)
        answers.append(client.post(TOKEN_PATH, json={"slot": f"bad {number}"}).text)
        sandbox.clear_failures()
        clock.move(300)  # past every cool-down
        answer = client.post(TOKEN_PATH, json={"slot": str(number)})
        tokens.append(answer.get_json()["sessionToken"])
    kept_keys = " ".join(cache._cache)
    seen = "\n".join([logged.text, *answers, *errors, kept_keys])
    assert len(errors) == len(FAULTS)
    for secret in (KEY, PROMPT, *tokens):
        assert secret not in seen
    assert "ada.lovelace" not in kept_keys
    assert "support" not in kept_keys
    assert PROMPT not in repr(cache._cache)
    assert KEY not in repr(cache._cache)


def test_no_repr_shows_a_secret(sandbox: Sandbox) -> None:
    """What a developer prints, or an error tracker collects, is safe to print."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam)
    with app.app_context():
        issued = anam.create_token("support", user_id="ada", slot="t")
    state = app.extensions["anam"]
    persona = state.registry.find("support")
    shown = [
        *(
            state,
            state.settings,
            state.registry,
            state.client,
            state.manager,
            state.metrics_recorder,
        ),
        *(persona, issued, state.registry.body_for(persona, None, {}), anam, sandbox),
        *(state.limits, state.loaders, state.client._transport),
    ]
    text = "\n".join(repr(thing) for thing in shown)
    for secret in (KEY, PROMPT, issued.session_token):
        assert secret not in text


def test_a_raising_persona_does_not_quote_its_prompt(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture
) -> None:
    """Of a callable's exception only the type and the place are told, not its text."""
    anam = FlaskAnam()

    @anam.persona("broken")
    def broken(user: Any) -> dict[str, Any]:
        raise RuntimeError(PROMPT)

    answer = client_of(make_app(sandbox, anam=anam), ADA).post(
        TOKEN_PATH, json={"personaType": "broken"}
    )
    assert answer.get_json()["code"] == "persona_invalid"
    assert PROMPT not in logged.text + answer.text
    assert "raised RuntimeError at test_secrets.py, line" in logged.text


def test_files_of_a_file_cache_tell_nobody_else(sandbox: Sandbox, tmp_path: Path) -> None:
    """The folder of a file cache is private, and its file names and values show no prompt."""
    folder = tmp_path / "tokens"
    app = make_app(sandbox, ANAM_CACHE=f"file://{folder}")
    client_of(app, ADA).post(TOKEN_PATH, json={"slot": "t"})
    assert folder.stat().st_mode & 0o077 == 0
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert file.stat().st_mode & 0o077 == 0
        assert PROMPT.encode() not in file.read_bytes()
        assert PERSONA["avatarId"].encode() not in file.read_bytes()
