"""The example app without a browser: its pages, its switches and the servers it runs under."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_anam import ConfigError

pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
MakeExample = Callable[..., Flask]


@pytest.fixture
def make_example(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeExample]:
    """Make example apps as on a machine whose environment says nothing."""
    from example_app import create_app  # not there when an installed wheel is tested

    for name in ("ANAM_API_KEY", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    made: list[Flask] = []

    def make(**settings: Any) -> Flask:
        made.append(create_app({"SECRET_KEY": "example tests", **settings}))
        return made[-1]

    yield make
    for app in made:
        if app.extensions["anam"].sandbox:
            app.extensions["anam"].sandbox.stop()


@pytest.fixture
def visitor(make_example: MakeExample) -> FlaskClient:
    """Give a client that is not logged in."""
    return make_example().test_client()


def log_in(client: FlaskClient, name: str, password: str, target: str = "") -> TestResponse:
    """Send the login form."""
    return client.post(f"/login{target}", data={"name": name, "password": password})


def test_ada_may_do_everything(visitor: FlaskClient) -> None:
    """Three cards, three pages, three tokens, and the dashboard."""
    assert log_in(visitor, "ada", "lovelace").location == "/"
    home = visitor.get("/").text
    for persona in ("support", "guide", "coach"):
        assert f'href="/talk/{persona}"' in home
        assert visitor.get(f"/talk/{persona}").status_code == 200
        answer = visitor.post("/api/session-token", json={"personaType": persona})
        assert (answer.status_code, answer.get_json()["personaType"]) == (200, persona)
    assert visitor.get("/dashboard").status_code == 200
    assert visitor.post("/dashboard/forget-tokens").status_code == 204


def test_bob_may_only_look(visitor: FlaskClient) -> None:
    """He gets an explanation and no way around it."""
    log_in(visitor, "bob", "builder")
    home = visitor.get("/").text
    assert "may not talk to personas yet" in home
    assert "/talk/" not in home
    assert visitor.get("/talk/support").status_code == 403
    assert visitor.get("/dashboard").status_code == 403
    assert visitor.post("/api/session-token", json={"personaType": "support"}).status_code == 403
    refusal = visitor.post("/dashboard/forget-tokens")
    assert (refusal.status_code, refusal.get_json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "builder"), ("eve", "lovelace"), ("", ""), ("ada", "")]
)
def test_wrong_login_is_refused(visitor: FlaskClient, name: str, password: str) -> None:
    """An unknown name and a wrong password read the same."""
    answer = log_in(visitor, name, password)
    assert answer.status_code == 401
    assert "do not belong together" in answer.text
    assert visitor.get("/").status_code == 302


def test_pages_send_to_the_login_and_back(visitor: FlaskClient) -> None:
    """Visitors end up where they wanted to go; after the logout they are visitors again."""
    assert visitor.get("/talk/coach").location == "/login?next=%2Ftalk%2Fcoach"
    answer = log_in(visitor, "ada", "lovelace", "?next=%2Ftalk%2Fcoach")
    assert answer.location == "/talk/coach"
    visitor.post("/logout")
    assert visitor.get("/dashboard").location == "/login?next=%2Fdashboard"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "/\t/evil.example",
        "//[",
        "javascript:alert(1)",
        "evil.example",
    ],
)
def test_login_never_leads_to_another_site(visitor: FlaskClient, target: str) -> None:
    """Only paths of this site are followed."""
    answer = visitor.post(
        "/login", query_string={"next": target}, data={"name": "ada", "password": "lovelace"}
    )
    assert answer.location == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_forms_of_other_sites_are_refused(visitor: FlaskClient, headers: dict[str, str]) -> None:
    """Nobody is logged in or out by another site's page."""
    form = {"name": "ada", "password": "lovelace"}
    assert visitor.post("/login", data=form, headers=headers).status_code == 403
    assert visitor.get("/").status_code == 302
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert visitor.post("/login", data=form, headers=own).status_code == 302


def test_sandbox_is_on_without_a_key_and_says_so(visitor: FlaskClient) -> None:
    """The policy lets pages reach the sandbox and nothing else outside."""
    page = visitor.get("/login")
    assert "sandbox-banner" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "'unsafe" not in policy
    assert "anam.ai" not in policy
    assert re.search(r"connect-src 'self' http://127\.0\.0\.1:\d+ ws://127\.0\.0\.1:\d+;", policy)


def test_key_in_the_environment_means_anam(
    make_example: MakeExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key there is no sandbox, no banner, and the key is in no page."""
    monkeypatch.setenv("ANAM_API_KEY", "SENTINEL-key")
    app = make_example()
    client = app.test_client()
    assert app.extensions["anam"].sandbox is None
    log_in(client, "ada", "lovelace")
    for path in ("/", "/talk/guide", "/dashboard"):
        page = client.get(path)
        assert "sandbox-banner" not in page.text
        assert "SENTINEL-key" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "connect-src 'self' https://api.anam.ai https://*.anam.ai wss://*.anam.ai" in policy


def player_on(client: FlaskClient, path: str) -> dict[str, Any]:
    """Return what the player on a page is told."""
    html = client.get(path).text
    (attribute,) = re.findall(r'data-anam-player="([^"]*)"', html)
    (block,) = re.findall(r'data-anam-config="player"[^>]*>(.*?)</script>', html)
    config: dict[str, Any] = {**json.loads(unescape(attribute)), **json.loads(block)}
    return config


def test_missing_sdk_comes_from_a_cdn(make_example: MakeExample, tmp_path: Path) -> None:
    """The player's pinned one is used only while npm has put none here."""
    client = make_example(NODE_MODULES=str(tmp_path)).test_client()
    log_in(client, "ada", "lovelace")
    assert "sdk" not in player_on(client, "/talk/support")
    assert client.get("/sdk/anam.js").status_code == 404

    file = tmp_path / "@anam-ai/js-sdk/dist/umd/anam.js"
    file.parent.mkdir(parents=True)
    file.write_text("// the SDK")
    assert player_on(client, "/talk/support")["sdk"] == "/sdk/anam.js"
    with client.get("/sdk/anam.js") as script:
        assert script.get_data(as_text=True) == "// the SDK"


def test_every_script_and_style_has_the_nonce_of_its_page(visitor: FlaskClient) -> None:
    """The policy lets nothing else in, and each answer has a nonce of its own."""
    log_in(visitor, "ada", "lovelace")
    nonces = []
    for path in ("/", "/talk/support", "/talk/guide", "/dashboard", "/nothing", "/talk/guide"):
        page = visitor.get(path)
        policy = page.headers["Content-Security-Policy"]
        (nonce,) = set(re.findall(r"(?:script|style)-src 'nonce-([\w-]{22})';", policy))
        tags = re.findall(r"<(?:script|link rel=.(?:stylesheet|modulepreload))[^>]*>", page.text)
        assert tags
        assert all(f'nonce="{nonce}"' in tag for tag in tags)
        assert "<style" not in page.text
        assert not re.search(r"<[^>]+\s(style|on\w+)=", page.text)
        nonces.append(nonce)
    assert len(set(nonces)) == len(nonces)


def test_player_gets_what_the_page_was_asked_for(visitor: FlaskClient) -> None:
    """A language of the persona is passed on; any other is not, and no prompt ever is."""
    log_in(visitor, "ada", "lovelace")
    for asked, given in (("", "en"), ("?language=de", "de"), ("?language=xx", "en")):
        config = player_on(visitor, f"/talk/guide{asked}")
        assert config["overrides"] == {"languageCode": given}
        assert config["microphone"] is False  # the sandbox does not listen
    assert "overrides" not in player_on(visitor, "/talk/support?language=de")
    assert "You are Liv" not in visitor.get("/talk/guide").text


def test_microphone_is_for_this_site_only(
    make_example: MakeExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page may use it, and with Anam it does."""
    monkeypatch.setenv("ANAM_API_KEY", "SENTINEL-key")
    client = make_example().test_client()
    log_in(client, "ada", "lovelace")
    allowed = client.get("/talk/guide").headers["Permissions-Policy"]
    assert "microphone=(self)" in allowed
    assert player_on(client, "/talk/guide")["microphone"] is True


def test_secret_key_is_kept_and_shared(tmp_path: Path) -> None:
    """Many workers that start at once agree on one key, which only the owner can read."""
    from example_app.security import stored_secret_key

    folder = tmp_path / "instance"
    apps = [Flask("example", instance_path=str(folder)) for _ in range(8)]
    keys: list[str] = []
    ready = threading.Barrier(len(apps))

    def worker(app: Flask) -> None:
        ready.wait()
        keys.append(stored_secret_key(app))

    threads = [threading.Thread(target=worker, args=[app]) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == len(apps)
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 32
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stored_secret_key(apps[0]) == keys[0]


def test_personas_are_checked_at_the_start(make_example: MakeExample) -> None:
    """A wrong setting stops the app with a sentence that names it."""
    with pytest.raises(ConfigError, match="ANAM_TOKEN_RATE_LIMIT"):
        make_example(ANAM_TOKEN_RATE_LIMIT="often")


@contextmanager
def served(arguments: Sequence[str], log: Path, **options: Any) -> Iterator[Callable[[], str]]:
    """Run a Python module as a server; yields a function that returns what it has said so far."""
    hidden = {"ANAM_API_KEY", "FLASK_APP", "WEB_CONCURRENCY", "SECRET_KEY"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"SECRET_KEY": "example tests", "PYTHONUNBUFFERED": "1"}
    environment["XDG_RUNTIME_DIR"] = str(log.parent)  # Gunicorn keeps its control socket there
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            **options,
        )
        try:
            yield log.read_text
        finally:
            server.terminate()
            server.wait(timeout=15)


def found_in(output: Callable[[], str], pattern: str) -> str:
    """Return the group of a pattern as soon as the server has said it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        match = re.search(pattern, output())
        if match:
            return match[1]
        time.sleep(0.05)
    pytest.fail(f"{pattern} did not appear in: {output()}")


def walk(url: str) -> None:
    """Log in and get a token, over real HTTP."""
    with requests.Session() as browser:
        browser.trust_env = False
        form = {"name": "ada", "password": "lovelace"}
        home = browser.post(f"{url}/login", data=form, timeout=30)
        assert "Who would you like to talk to, Ada?" in home.text
        for _ in range(4):
            answer = browser.post(
                f"{url}/api/session-token", json={"personaType": "guide"}, timeout=30
            )
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["tokenId"]) == 16


@pytest.mark.slow
def test_gunicorn_serves_it(tmp_path: Path) -> None:
    """Two workers share logins; the socket is handed over, so that no port can be lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, handle = listener.getsockname()[1], listener.fileno()
        arguments = ["gunicorn", "--bind", f"fd://{handle}", "--workers", "2"]
        arguments += ["example_app:create_app()"]
        with served(arguments, tmp_path / "log", pass_fds=[handle]) as output:
            walk(f"http://127.0.0.1:{port}")
            assert "Traceback" not in output()


@pytest.mark.slow
def test_flask_run_serves_it(tmp_path: Path) -> None:
    """The factory is found by name."""
    arguments = ["flask", "--app", "example_app", "run", "--port", "0"]
    with served(arguments, tmp_path / "log") as output:
        walk(found_in(output, r"Running on (http://127\.0\.0\.1:\d+)"))


@pytest.mark.slow
def test_python_m_serves_it_and_says_how_to_log_in(tmp_path: Path) -> None:
    """The address and both logins are printed."""
    with served(["example_app", "--port", "0"], tmp_path / "log") as output:
        url = found_in(output, r"Open\s+(http://127\.0\.0\.1:\d+)/")
        assert "ada / lovelace" in output()
        assert "the local sandbox, not Anam" in output()
        walk(url)


def test_taken_port_gives_one_sentence() -> None:
    """It names the port and the way out, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = subprocess.run(
            [sys.executable, "-m", "example_app", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith(f"Port {port} is taken. Choose another: make demo PORT=")
    assert run.stderr.count("\n") == 1
