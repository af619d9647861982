"""What an error tracker, a debugger or a curious colleague sees: no key, no token, no prompt."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from cachelib import SimpleCache
from flask import Flask
from hosts import ADA, KEY, PERSONA, PROMPT, TOKEN_PATH, client_of, make_app

import flask_anam
from flask_anam import AnamError, ConfigError, FlaskAnam, errors
from flask_anam.core.clock import Deadline
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.redaction import SecretBytes, scrubs_traceback
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.concurrency import ConcurrencyMonitor
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

from .conftest import Serve, cookie_of

SECRET_KEY = "SENTINEL-app-secret-key-77aa"
SECRETS = (KEY, PROMPT, SECRET_KEY)


def with_locals(error: BaseException) -> str:
    """Return a traceback as error trackers collect it: the locals of every frame, all causes."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        collected = traceback.TracebackException.from_exception(seen, capture_locals=True)
        # The frames of the test itself hold what it looks for.
        collected.stack[:] = [f for f in collected.stack if "/tests/" not in f.filename]
        texts += [*collected.format(), repr(seen), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "".join(texts)


FAULTS: list[dict[str, Any]] = [
    {"status": 400, "json": {"error": PROMPT}},
    {"status": 401, "json": {"error": KEY}},
    {"status": 402, "json": {}},
    {"status": 404, "json": {"error": "persona not found"}},
    {"status": 429, "json": {"error": PROMPT}},
    {"status": 500, "body": PROMPT},
    {"status": 200, "body": KEY},
    {"status": 200, "json": {"sessionToken": 7}},
    {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
    {"reset": True},
    {"cut_after": 10},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(next(iter(fault.values()))))
def test_no_error_of_a_mint_carries_a_secret(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    """Its traceback with all locals, its repr, its pickle, its causes: raised and signalled."""
    anam, clock = FlaskAnam(clock=(clock := ManualClock())), clock
    app = make_app(sandbox, anam=anam, SECRET_KEY=SECRET_KEY)
    heard: list[str] = []

    def failed(sender: Flask, error: AnamError, **facts: Any) -> None:
        heard.append(with_locals(error) + repr(facts))

    flask_anam.token_failed.connect(failed, sender=app)
    sandbox.fail_next(times=3, **fault)
    with app.app_context(), pytest.raises(AnamError) as caught:
        anam.create_token("support", user_id="ada", slot="t")
    text = with_locals(caught.value) + "".join(heard) + str(pickle.dumps(caught.value))
    assert heard
    for secret in SECRETS:
        assert secret not in text


def bad_key() -> str:
    """Return a key as an operator might paste it."""
    return f" {KEY}\n"


def raising_key() -> str:
    """Fail like a client of a key store that quotes what it got."""
    raise RuntimeError(KEY)


STARTS: dict[str, dict[str, Any]] = {
    "bad key": {"ANAM_API_KEY": bad_key()},
    "bad prompt": {"ANAM_PERSONAS": {"x": {**PERSONA, "systemPrompt": PROMPT * 99}}},
    "bad neighbour": {"ANAM_PERSONAS": {"x": {**PERSONA, "llmId": "no"}}},
    "bad personas": {"ANAM_PERSONAS": PROMPT},
    "bad cache": {"ANAM_CACHE": f"redis://u:{KEY}@h:port"},
    "bad storage": {"ANAM_RATE_LIMIT_STORAGE_URI": f"nothing://u:{KEY}@h"},
    "bad base URL": {"ANAM_BASE_URL": f"https://u:{KEY}@h"},
    "bad default": {"ANAM_DEFAULT_PERSONA": "nobody"},
    "bad folder": {"ANAM_CACHE": "file:///proc/no"},
}


@pytest.mark.parametrize("config", STARTS.values(), ids=STARTS)
def test_no_start_up_error_carries_a_secret(sandbox: Sandbox, config: dict[str, Any]) -> None:
    """A tracker that is set up before the app sees these too."""
    with pytest.raises(ConfigError) as caught:
        make_app(sandbox, **{"SECRET_KEY": SECRET_KEY, **config})
    text = with_locals(caught.value) + str(pickle.dumps(caught.value))
    for secret in SECRETS:
        assert secret not in text


REQUESTS: dict[str, Callable[[FlaskAnam], None]] = {
    "invalid persona": lambda anam: anam.add_persona(
        "p", lambda user: {**PERSONA, "avatarId": PROMPT}
    ),
    "raising persona": lambda anam: anam.add_persona(
        "p", lambda user: {**PERSONA, "name": 1 // 0, "x": PROMPT}
    ),
    "raising key": lambda anam: anam.add_persona("p", PERSONA, api_key=raising_key),
    "bad key": lambda anam: anam.add_persona("p", PERSONA, api_key=bad_key),
}


@pytest.mark.parametrize("declare", REQUESTS.values(), ids=REQUESTS)
def test_no_error_of_a_persona_carries_a_secret(
    sandbox: Sandbox, declare: Callable[[FlaskAnam], None]
) -> None:
    """What the host's callables return or raise is not in the traceback, nor in its causes."""
    anam = FlaskAnam()
    declare(anam)
    app = make_app(sandbox, anam=anam, SECRET_KEY=SECRET_KEY)
    with app.app_context(), pytest.raises(AnamError) as caught:
        anam.create_token("p", user_id="ada")
    for secret in SECRETS:
        assert secret not in with_locals(caught.value)


def test_every_error_survives_a_pickle_without_growing() -> None:
    """An error that travels to another process says the same there, and no more."""
    for kind in (errors.AnamError, *vars(errors).values()):
        if isinstance(kind, type) and issubclass(kind, AnamError):
            facts: Any = {"limit": 1, "retry_after": 2} if kind is errors.RateLimited else {}
            error = kind(**facts)
            twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
            assert (type(twin), twin.args, vars(twin)) == (kind, error.args, vars(error))


def test_a_mistake_of_ours_leaves_no_frames_either(logged: pytest.LogCaptureFixture) -> None:
    """Type and place are logged; locals, causes and arguments are gone."""

    @scrubs_traceback
    def broken(key: str) -> None:
        try:
            raise ValueError(key)
        except ValueError:
            int("no")

    with pytest.raises(ValueError, match="invalid literal") as caught:
        broken(KEY)
    assert KEY not in with_locals(caught.value) + logged.text
    assert "ValueError at test_unseen.py, line" in logged.text


class _Broken(AnamClient):
    """A client of Anam that fails in a way that nobody has thought of."""

    def __init__(self) -> None:
        pass

    def concurrency(self, api_key: str, deadline: Deadline) -> dict[str, Any]:
        raise ZeroDivisionError


def test_no_mistake_while_the_account_is_asked_carries_the_key() -> None:
    """Whoever asks how full it is: a page, or a mint."""
    clock = ManualClock()
    monitor = ConcurrencyMonitor(_Broken(), KeyHasher(b"k"), clock)
    for ask in (monitor.status, monitor.raise_if_full):
        with pytest.raises(ZeroDivisionError) as caught:
            ask(KEY, Deadline.after(clock, 5))
        assert KEY not in with_locals(caught.value)


def test_secret_bytes_do_not_show_themselves() -> None:
    """Neither repr nor str nor formatting; they are the same bytes otherwise."""
    secret = SecretBytes(KEY.encode())
    assert KEY not in f"{secret!r} {secret} {[secret]}"
    assert secret == KEY.encode()


@pytest.mark.parametrize("debug", [False, True])
def test_a_session_token_that_is_judged_is_not_seen(
    sandbox: Sandbox, serve: Serve, logged: pytest.LogCaptureFixture, debug: bool
) -> None:
    """Over a real server at log level DEBUG (ours, urllib3's, werkzeug's), right or refused."""
    app = make_app(sandbox, SECRET_KEY=SECRET_KEY, DEBUG=debug)
    for name in ("urllib3", "werkzeug", "flask_anam"):
        logged.set_level(logging.DEBUG, name)
    url, cookies = serve(app), {"session": cookie_of(app, ADA)}
    answer = requests.post(url + TOKEN_PATH, json={}, cookies=cookies, timeout=5)
    token = answer.json()["sessionToken"]
    for body in ({"sessionToken": token}, {"sessionToken": token, "extra": token}):
        path = "/anam/session-token/validate"
        answer = requests.post(url + path, json=body, cookies=cookies, timeout=5)
        assert token not in answer.text
    assert "POST /api/session-token" in logged.text
    assert "/v1/auth/session-token" in logged.text
    for secret in (*SECRETS, token):
        assert secret not in logged.text


def test_nothing_of_an_app_shows_a_secret(sandbox: Sandbox) -> None:
    """Counters, state, cache keys and values, and the pages' configuration after real use."""
    cache = SimpleCache()
    app = make_app(sandbox, SECRET_KEY=SECRET_KEY, ANAM_CACHE=cache)
    ada = client_of(app, ADA)
    token = ada.post(TOKEN_PATH, json={"slot": "t"}).get_json()["sessionToken"]
    state = app.extensions["anam"]
    with app.app_context():
        page = FlaskAnam().browser_config()
    shown = [
        ada.get("/anam/metrics").text,
        ada.get("/anam/openapi.json").text,
        ada.get("/anam/personas").text,
        repr(state.metrics_recorder.metrics()),
        repr([getattr(state, name) for name in state.__slots__]),
        repr(vars(state.manager)),
        repr(vars(state.client)),
        repr(vars(state.limits.counters)),
        repr(list(cache._cache)),
        json.dumps(page),
    ]
    for secret in (*SECRETS, token):
        assert secret not in "\n".join(shown)
    stored = repr(cache._cache)
    for secret in SECRETS:
        assert secret not in stored


def test_the_settings_show_no_secret() -> None:
    """The frozen settings can be printed, key and prompts and passwords included."""
    url = f"redis://u:{SECRET_KEY}@127.0.0.1"
    config = {
        "ANAM_API_KEY": KEY,
        "ANAM_PERSONAS": {"support": PERSONA},
        "ANAM_CACHE": url,
        "ANAM_RATE_LIMIT_STORAGE_URI": url,
    }
    text = repr(Settings.from_mapping(config))
    for secret in SECRETS:
        assert secret not in text


@pytest.mark.slow
def test_an_error_tracker_sees_no_secret(sandbox: Sandbox, tmp_path: Path) -> None:
    """Sentry's own client with everything on: locals, personal data, request bodies, breadcrumbs.

    In a process of its own, since it hooks itself into much of Python.
    """
    script = Path(__file__).with_name("tracked_app.py")
    result = subprocess.run(
        [sys.executable, str(script), sandbox.url, str(tmp_path / "events")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    token = result.stdout.strip()
    events = (tmp_path / "events").read_text()
    assert events.count('"exception"') >= 4
    assert "issue_token" in events  # frames and their locals are there
    for secret in (KEY, PROMPT, token):
        assert secret
        assert secret not in events
