"""Set-up: what stops an app at the start, what two apps share (nothing), loaders and gates."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, jsonify
from hosts import ADA, BOB, EVE, PERSONA, TOKEN_PATH, User, client_of, make_app, make_host

from flask_anam import (
    ConfigError,
    FlaskAnam,
    InvalidRequest,
    RateLimited,
    UnknownPersona,
    permission_required,
)
from flask_anam.sandbox import Sandbox

BAD_CONFIG = {
    "no key": ({"ANAM_API_KEY": None}, "ANAM_API_KEY must be set", "ANAM_SANDBOX"),
    "empty key": ({"ANAM_API_KEY": ""}, "ANAM_API_KEY must be set", "lab.anam.ai"),
    "key of a wrong type": ({"ANAM_API_KEY": 12345}, "ANAM_API_KEY must be a string", "quote it"),
    "unknown default": ({"ANAM_DEFAULT_PERSONA": "nobody"}, "ANAM_DEFAULT_PERSONA", "support"),
    "bad limit": ({"ANAM_TOKEN_RATE_LIMIT": "ten an hour"}, "ANAM_TOKEN_RATE_LIMIT", "10 per hour"),
    "zero limit": ({"ANAM_TOKEN_RATE_LIMIT": "0 per hour"}, "ANAM_TOKEN_RATE_LIMIT", "at least 1"),
    "bad storage": (
        {"ANAM_RATE_LIMIT_STORAGE_URI": "nosuch://x"},
        "ANAM_RATE_LIMIT_STORAGE_URI",
        "memory://",
    ),
    "bad reuse": ({"ANAM_TOKEN_REUSE": "always"}, "ANAM_TOKEN_REUSE", "until_used"),
    "plain http": ({"ANAM_BASE_URL": "http://anam.example"}, "ANAM_BASE_URL", "https"),
    "bad cache": ({"ANAM_CACHE": "nosuch://x"}, "ANAM_CACHE", "memory://"),
    "invalid persona": (
        {"ANAM_PERSONAS": {"support": {**PERSONA, "voiceId": "x"}}},
        "'support'",
        "voiceId: Not a UUID",
    ),
    "typo in a persona": (
        {"ANAM_PERSONAS": {"support": {**PERSONA, "systemPromt": "x"}}},
        "systemPromt",
        "Did you mean systemPrompt?",
    ),
    "long prompt": (
        {"ANAM_PERSONAS": {"support": {**PERSONA, "systemPrompt": "x" * 2001}}},
        "systemPrompt: Has 2001 characters",
        "ANAM_SYSTEM_PROMPT_MAX_LENGTH",
    ),
}


@pytest.mark.parametrize(("config", "names", "cure"), BAD_CONFIG.values(), ids=BAD_CONFIG)
def test_a_wrong_setting_stops_the_start_with_the_key_and_the_cure(
    sandbox: Sandbox, config: dict[str, Any], names: str, cure: str
) -> None:
    """Start-up stops with one sentence that names what is wrong and what to do."""
    with pytest.raises(ConfigError) as stopped:
        make_app(sandbox, **config)
    assert names in str(stopped.value)
    assert cure in str(stopped.value)


def test_an_unwritable_cache_folder_stops_the_start(sandbox: Sandbox, tmp_path: Path) -> None:
    """file:// with a folder that cannot be written is told at the start."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"ANAM_CACHE names the folder .* cannot be written"):
        make_app(sandbox, ANAM_CACHE=f"file://{tmp_path}/file/folder")


def test_a_near_miss_of_a_setting_is_told(sandbox: Sandbox) -> None:
    """A misspelt key is warned about; keys of the host that merely begin alike are not."""
    with pytest.warns(UserWarning, match="Did you mean ANAM_TOKEN_RATE_LIMIT"):
        make_app(sandbox, ANAM_TOKEN_RATE_LIMITS="5 per hour", ANAM_OF_THE_HOST=1)


def test_a_second_init_app_is_refused(app: Flask) -> None:
    """One app, one FlaskAnam."""
    with pytest.raises(ConfigError, match="already set up"):
        FlaskAnam(app)


def test_two_apps_share_nothing(sandbox: Sandbox) -> None:
    """Keys, personas, limits, tokens and counters of two apps in one process stay apart."""
    with Sandbox(api_key="another-key") as other:
        app = make_app(sandbox, ANAM_TOKEN_RATE_LIMIT="1 per hour")
        other_app = make_app(
            other, ANAM_PERSONAS={"greeter": PERSONA}, ANAM_TOKEN_RATE_LIMIT="5 per hour"
        )
        first = client_of(app, ADA).post(TOKEN_PATH, json={"slot": "t"})
        second = client_of(other_app, ADA).post(TOKEN_PATH, json={"slot": "t"})
        assert first.get_json()["sessionToken"] != second.get_json()["sessionToken"]
        assert [first.get_json()["personaType"], second.get_json()["personaType"]] == [
            "support",
            "greeter",
        ]
        assert second.headers["RateLimit-Limit"] == "5"
        assert len(sandbox.ledger.mints) == len(other.ledger.mints) == 1
        assert client_of(app, ADA).get("/anam/metrics").get_json()["tokensCreated"] == 1


def test_one_extension_object_serves_several_apps_and_keeps_none(sandbox: Sandbox) -> None:
    """Declarations are shared, state is not; the object holds no reference to an app."""
    import gc
    import weakref

    anam = FlaskAnam()
    anam.add_persona("greeter", PERSONA)
    apps = [make_app(sandbox, anam=anam) for _ in range(2)]
    for app in apps:
        answer = client_of(app, ADA).post(TOKEN_PATH, json={"personaType": "greeter"})
        assert answer.status_code == 200
    gone = weakref.ref(apps[0])
    del app, answer
    apps.clear()
    gc.collect()
    assert gone() is None


def test_personas_may_be_declared_after_the_set_up(sandbox: Sandbox) -> None:
    """FlaskAnam(app) first and @anam.persona later works as with routes."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam)
    anam.add_persona("late", PERSONA)
    answer = client_of(app, ADA).post(TOKEN_PATH, json={"personaType": "late"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "declare",
    [
        lambda anam: anam.add_persona("x", {"name": "only a name"}),
        lambda anam: anam.add_persona("x", "no mapping"),
        lambda anam: anam.add_persona("", PERSONA),
        lambda anam: anam.add_persona("x", PERSONA, permission=7),
        lambda anam: anam.add_persona("x", PERSONA, overrides=["nosuch"]),
        lambda anam: [anam.add_persona("x", PERSONA), anam.add_persona("x", PERSONA)],
    ],
)
def test_a_wrong_declaration_is_refused_where_it_stands(declare: Any) -> None:
    """add_persona() raises at the line that is wrong."""
    with pytest.raises(ConfigError):
        declare(FlaskAnam())


def test_without_flask_login_the_first_request_says_so(sandbox: Sandbox) -> None:
    """A clear error instead of Flask-Login's AttributeError."""
    app = Flask("bare")
    app.config.update(SECRET_KEY="s", ANAM_API_KEY=sandbox.api_key, ANAM_BASE_URL=sandbox.url)
    app.config.update(ANAM_PERSONAS={"support": PERSONA})
    FlaskAnam(app)
    answer = app.test_client().post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["code"]) == (500, "config_error")
    assert "LoginManager(app)" in answer.get_json()["error"]


def test_flask_login_without_a_loader_says_so(sandbox: Sandbox) -> None:
    """The missing user_loader is named."""
    app = make_app(sandbox)
    app.login_manager._user_callback = None  # type: ignore[attr-defined]
    answer = client_of(app).post(TOKEN_PATH, json={})
    assert answer.get_json()["code"] == "config_error"
    assert "user_loader" in answer.get_json()["error"]


def test_loaders_of_the_host_take_the_place_of_flask_login(sandbox: Sandbox) -> None:
    """identity_loader and permission_loader decide; Flask-Login is not needed then."""
    anam = FlaskAnam()
    current: dict[str, Any] = {"user": None, "permissions": ()}
    anam.identity_loader(lambda: current["user"])
    anam.permission_loader(lambda user: current["permissions"])
    app = Flask("bare")
    app.config.update(SECRET_KEY="s", ANAM_API_KEY=sandbox.api_key, ANAM_BASE_URL=sandbox.url)
    app.config.update(ANAM_PERSONAS={"support": PERSONA})
    anam.init_app(app)
    client = app.test_client()
    assert client.post(TOKEN_PATH, json={}).status_code == 401
    current["user"] = SimpleNamespace(id=7)
    assert client.post(TOKEN_PATH, json={}).status_code == 403
    current["permissions"] = {"anam:talk"}
    assert client.post(TOKEN_PATH, json={}).status_code == 200
    current["permissions"] = "anam:talk"
    assert client.post(TOKEN_PATH, json={}).get_json()["code"] == "config_error"


@pytest.mark.parametrize("bad_id", [None, "", 0, 1, b"x", "x" * 256])
def test_odd_user_ids_are_refused(sandbox: Sandbox, bad_id: Any) -> None:
    """An id that is not a proper string never becomes part of a key."""
    odd = User("odd")
    odd.get_id = lambda: bad_id
    anam = FlaskAnam()
    anam.identity_loader(lambda: odd)
    app = make_app(sandbox, anam=anam)
    answer = client_of(app).post(TOKEN_PATH, json={})
    assert (answer.status_code, answer.get_json()["code"]) == (500, "config_error")
    assert sandbox.ledger.mints == ()


def _gated(sandbox: Sandbox) -> Flask:
    app = make_app(sandbox, ADA, BOB, EVE)

    @app.route("/report", methods=["GET", "OPTIONS"])
    @permission_required("reports:read", "anam:talk")
    def report() -> Any:
        return jsonify(ran=True)

    return app


def test_permission_required_gates_any_view(sandbox: Sandbox) -> None:
    """JSON 401 and 403; all names are needed; OPTIONS never reaches the view."""
    app = _gated(sandbox)
    assert client_of(app).get("/report").get_json()["code"] == "unauthenticated"
    assert client_of(app, BOB).get("/report").get_json()["code"] == "permission_denied"
    assert client_of(app, ADA).get("/report").get_json() == {"ran": True}
    assert client_of(app).options("/report").data == b""


@pytest.mark.parametrize("misuse", [(), ("",), (7,), (lambda: None,)])
def test_permission_required_refuses_misuse_at_import(misuse: Any) -> None:
    """@permission_required without parentheses or names would let everybody in."""
    with pytest.raises(TypeError, match="permission"):
        permission_required(*misuse)


def test_permission_required_runs_async_views(sandbox: Sandbox) -> None:
    """The gate keeps a view's name and hands on what it returns."""
    app = _gated(sandbox)
    assert app.view_functions["report"].__name__ == "report"


def test_create_token_works_outside_a_request(sandbox: Sandbox) -> None:
    """From a CLI or a worker, in an app context; the user's limit counts."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam, ANAM_TOKEN_RATE_LIMIT="1 per hour")
    with app.app_context():
        issued = anam.create_token("support", user_id="42")
        assert issued.session_token
        assert anam.create_token("support", user_id="42").reused
        with pytest.raises(RateLimited):
            anam.create_token("support", user_id="42", slot="other")
        with pytest.raises(UnknownPersona):
            anam.create_token("nobody", user_id="42")
        with pytest.raises(InvalidRequest):
            anam.create_token("support", user_id="42", overrides={"name": "x"})
        with pytest.raises(ConfigError, match="string"):
            anam.create_token("support", user_id=42)  # type: ignore[arg-type]
        anonymous = {anam.create_token("support").token_id for _ in range(2)}
        assert len(anonymous) == 2


def test_outside_an_app_of_ours_the_error_says_what_is_missing() -> None:
    """Using the object on an app without init_app() is told plainly."""
    with make_host().app_context(), pytest.raises(ConfigError, match="Call FlaskAnam"):
        FlaskAnam().get_metrics()


def test_the_api_key_may_be_a_callable(sandbox: Sandbox) -> None:
    """A rotated key is used at once, and never gets the old key's tokens."""
    key = {"now": sandbox.api_key}
    app = make_app(sandbox, ANAM_API_KEY=lambda: key["now"])
    client = client_of(app, ADA)
    first = client.post(TOKEN_PATH, json={"slot": "t"}).get_json()["sessionToken"]
    key["now"] = "rotated"
    assert client.post(TOKEN_PATH, json={"slot": "t"}).get_json()["code"] == "anam_auth"
    key["now"] = sandbox.api_key
    assert client.post(TOKEN_PATH, json={"slot": "t"}).get_json()["sessionToken"] == first
    key["now"] = ""
    assert client.post(TOKEN_PATH, json={}).get_json()["code"] == "anam_auth"


def test_the_sandbox_switch_needs_no_key(logged: pytest.LogCaptureFixture) -> None:
    """ANAM_SANDBOX = True hands out tokens of a local stand-in, and says so in the log.

    That the settings accept it: the test of this name in tests/core/config/test_settings.py.
    """
    app = make_host(ADA, ANAM_SANDBOX=True, ANAM_PERSONAS={"support": PERSONA})
    anam = FlaskAnam(app)
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).status_code == 200
    assert "ANAM_SANDBOX is on" in logged.text
    with app.app_context():
        config = anam.browser_config()
    assert config["sandbox"] is True
    assert str(config["apiBaseUrl"]).startswith("http://127.0.0.1:")


def test_a_shared_cache_needs_a_secret_key(sandbox: Sandbox, tmp_path: Path) -> None:
    """Entries in a shared cache are signed, so SECRET_KEY must be there."""
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        make_app(sandbox, SECRET_KEY=None, ANAM_CACHE=f"file://{tmp_path}")


def test_several_workers_on_memory_are_warned(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several workers likely, memory:// for cache and limits is warned about."""
    make_app(sandbox)
    assert "memory://" not in logged.text
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    client_of(make_app(sandbox), ADA).post(TOKEN_PATH, json={})
    assert "ANAM_CACHE is memory://" in logged.text
    assert "ANAM_RATE_LIMIT_STORAGE_URI is memory://" in logged.text
