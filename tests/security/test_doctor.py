"""``flask anam doctor`` finds what is dangerous, says the cure, and is quiet about a sound app."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cachelib import FileSystemCache
from flask import Flask, Response, request
from flask_limiter import Limiter
from hosts import KEY, PERSONA, PROMPT, client_of, make_app, make_host

from flask_anam import FlaskAnam
from flask_anam.cli.doctor import workers_from_environment
from flask_anam.sandbox import Sandbox

SECRET_KEY = "5f8d7e9a-c0ffee-31b2"
#: A configuration that an attacker has no use for.
SOUND: dict[str, Any] = {
    "SECRET_KEY": SECRET_KEY,
    "SESSION_COOKIE_SECURE": True,
    "SESSION_COOKIE_SAMESITE": "Lax",
    "ANAM_API_KEY": KEY,
    "ANAM_PERSONAS": {"support": PERSONA},
    "ANAM_RATE_LIMIT_STORAGE_URI": "redis://127.0.0.1:1",
    "ANAM_CACHE": "redis://127.0.0.1:1",
}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment say nothing about servers."""
    for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "SERVER_SOFTWARE", "FLASK_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def host(anam: FlaskAnam | None = None, **config: Any) -> Flask:
    """Return an app with a sound configuration, but for these settings."""
    app = make_host(**{**SOUND, **config})
    (anam or FlaskAnam()).init_app(app)
    return app


def run(app: Flask, *args: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status of the doctor and what it found besides what is ok."""
    result = app.test_cli_runner().invoke(args=["anam", "doctor", "--json", *args])
    assert KEY not in result.output
    assert PROMPT not in result.output
    assert SECRET_KEY not in result.output
    findings = json.loads(result.output)
    return result.exit_code, [finding for finding in findings if finding["level"] != "ok"]


def test_a_sound_configuration_passes() -> None:
    """Exit status 0, and nothing but what is ok."""
    assert run(host(), "--workers", "4") == (0, [])


DANGERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "short key": ({"SECRET_KEY": "dev"}, "SECRET_KEY", "token_urlsafe"),
    "monotonous key": ({"SECRET_KEY": "changeme" + "e" * 30}, "SECRET_KEY", "token_urlsafe"),
    "bytes key": ({"SECRET_KEY": b"dev"}, "SECRET_KEY", "token_urlsafe"),
    "open cookie": (
        {"SESSION_COOKIE_SECURE": False},
        "the session cookie",
        "SESSION_COOKIE_SECURE = True",
    ),
    "script cookie": (
        {"SESSION_COOKIE_HTTPONLY": False},
        "the session cookie",
        "SESSION_COOKIE_HTTPONLY = True",
    ),
    "http origin": (
        {"ANAM_ALLOWED_ORIGINS": ["http://shop.example"]},
        "ANAM_ALLOWED_ORIGINS",
        "Use https",
    ),
    "sandbox": ({"ANAM_SANDBOX": True}, "ANAM_SANDBOX", "leave ANAM_SANDBOX out"),
}


@pytest.mark.parametrize(("config", "subject", "cure"), DANGERS.values(), ids=DANGERS)
def test_a_danger_is_named_with_its_cure_and_fails(
    config: dict[str, Any], subject: str, cure: str
) -> None:
    """Exit status 1; the finding names what is wrong and what to set."""
    app = host(**config)
    status, findings = run(app)
    sandbox = app.extensions["anam"].sandbox
    if sandbox:
        sandbox.stop()
    assert status == 1
    assert [(f["level"], f["subject"]) for f in findings] == [("error", subject)]
    assert cure in findings[0]["text"]


def test_debug_mode_is_a_danger(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `flask --debug` and FLASK_DEBUG turn it on."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    status, findings = run(host())
    assert (status, [f["subject"] for f in findings]) == (1, ["debug mode"])


DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    "no SameSite": ({"SESSION_COOKIE_SAMESITE": None}, "the session cookie"),
    "SameSite none": ({"SESSION_COOKIE_SAMESITE": "None"}, "the session cookie"),
    "reuse": ({"ANAM_TOKEN_REUSE": "until_expiry"}, "ANAM_TOKEN_REUSE"),
    "limiter open": ({"ANAM_LIMITER_ON_ERROR": "open"}, "ANAM_LIMITER_ON_ERROR"),
    "http base URL": ({"ANAM_BASE_URL": "http://127.0.0.1:1"}, "ANAM_BASE_URL"),
    "own machine": ({"ANAM_ALLOWED_ORIGINS": ["http://localhost:5173"]}, "ANAM_ALLOWED_ORIGINS"),
    "limits in memory": ({"ANAM_RATE_LIMIT_STORAGE_URI": "memory://"}, "the limits"),
    "redis without TLS": ({"ANAM_CACHE": "redis://cache.example"}, "ANAM_CACHE"),
}


@pytest.mark.parametrize(("config", "subject"), DOUBTS.values(), ids=DOUBTS)
def test_a_doubt_is_told_and_passes(config: dict[str, Any], subject: str) -> None:
    """Exit status 0: it may be meant so."""
    status, findings = run(host(**config))
    assert status == 0
    assert [(f["level"], f["subject"]) for f in findings] == [("warning", subject)]


def test_an_unpickling_cache_object_is_told(tmp_path: Any) -> None:
    """A cachelib object with its own serializer runs what somebody planted; a URL does not."""
    status, findings = run(host(ANAM_CACHE=FileSystemCache(str(tmp_path))))
    assert status == 0
    assert ["unpickles" in finding["text"] for finding in findings] == [True]


@pytest.mark.parametrize(
    ("name", "value"),
    [("WEB_CONCURRENCY", "4"), ("GUNICORN_CMD_ARGS", "--workers=4"), ("GUNICORN_CMD_ARGS", "-w 4")],
)
def test_memory_with_several_workers_is_a_danger(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Limits of each process for itself are weaker by that factor; the environment tells it."""
    app = host(ANAM_RATE_LIMIT_STORAGE_URI="memory://", ANAM_CACHE="memory://")
    assert run(app)[0] == 0
    monkeypatch.setenv(name, value)
    status, findings = run(app)
    assert status == 1
    assert {f["subject"]: f["level"] for f in findings} == {
        "the limits": "error",
        "ANAM_CACHE": "warning",
    }
    assert "4 workers allow 4 times" in findings[0]["text"]


def test_nonsense_about_workers_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says is not trusted to be a number."""
    for value in ("", "many", "-3", "²"):
        monkeypatch.setenv("WEB_CONCURRENCY", value)
        assert workers_from_environment() == 1


def test_the_limiter_of_the_app_counts_too() -> None:
    """A Limiter of the app with a shared storage is as good as our own setting."""
    app = make_host(**{**SOUND, "ANAM_RATE_LIMIT_STORAGE_URI": "memory://"})
    Limiter(lambda: "x", app=app, storage_uri="redis://127.0.0.1:1")
    FlaskAnam(app)
    assert run(app, "--workers", "4") == (0, [])


def test_a_key_in_a_variable_for_pages_is_a_danger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Front-end tools put such variables into what they build, for everybody to read."""
    monkeypatch.setenv("NEXT_PUBLIC_ANAM_KEY", KEY)
    monkeypatch.setenv("OTHER_NAME", KEY)
    status, findings = run(host())
    assert (status, [f["subject"] for f in findings]) == (1, ["NEXT_PUBLIC_ANAM_KEY"])


def test_an_app_that_lets_every_page_read_is_a_danger() -> None:
    """Found by asking, whatever in the app is to blame."""
    app = host()

    @app.after_request
    def let_everybody_in(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "*")
        response.headers["Access-Control-Allow-Credentials"] = "true"
        return response

    status, findings = run(app)
    assert (status, [f["subject"] for f in findings]) == (1, ["CORS"])


def test_cookies_do_not_matter_where_none_logs_in() -> None:
    """With an identity loader, who is calling may be told by a Bearer token."""
    anam = FlaskAnam()
    anam.identity_loader(lambda: None)
    assert run(host(anam, SESSION_COOKIE_SECURE=False)) == (0, [])


def test_a_missing_secret_key_is_a_danger() -> None:
    """Possible only where nothing is shared."""
    memory: dict[str, Any] = {"ANAM_CACHE": "memory://", "ANAM_RATE_LIMIT_STORAGE_URI": "memory://"}
    status, findings = run(host(**memory, SECRET_KEY=None))
    assert status == 1
    assert ("error", "SECRET_KEY") in [(f["level"], f["subject"]) for f in findings]


def test_people_read_lines(sandbox: Sandbox) -> None:
    """Without --json each finding is a line that begins with its level."""
    app = make_app(sandbox)
    result = app.test_cli_runner().invoke(args=["anam", "doctor"])
    assert result.exit_code == 1
    for line in result.output.splitlines():
        assert line.split()[0] in {"ok", "warning", "error"}
    assert client_of(app).get("/").status_code == 404  # the app still takes its first request
