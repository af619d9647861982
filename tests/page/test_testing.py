"""The pytest plugin, as users have it: every example of the page is run in a project of its own."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import ADA, BOB, KEY, PERSONA, User, make_app, make_host

import flask_anam
from flask_anam import FlaskAnam
from flask_anam.errors import ConfigError
from flask_anam.sandbox import Sandbox
from flask_anam.testing import log_in, on_sandbox

ROOT = Path(flask_anam.__file__).parents[1]
DOCS = Path(__file__).parents[2] / "docs" / "testing.md"

#: The app that the page takes for granted.
SHOP = f"""
from flask import Flask
from flask_login import LoginManager, UserMixin
from flask_anam import FlaskAnam

class User(UserMixin):
    def __init__(self, user_id):
        self.id = user_id
        self.can_access_personas = user_id == "ada"

def create_app(config, clock=None):
    app = Flask("shop")
    app.config["SECRET_KEY"] = "of the shop"
    app.config["ANAM_PERSONAS"] = {{"support": {PERSONA!r}}}
    app.config.update(config)
    LoginManager(app).user_loader(User)
    FlaskAnam(app, clock=clock)
    return app
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, with the plugin and no other."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
    }
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "flask_anam_pytest", "-q"),
            *("-W", "error", "-p", "no:cacheprovider", *arguments),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def project(folder: Path, files: dict[str, str]) -> Path:
    """Write the shop and these files into a folder."""
    for name, text in {"shop.py": SHOP, "pytest.ini": "[pytest]\n", **files}.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.source
@pytest.mark.parametrize("way", [0, 1], ids=["factory", "one app for all tests"])
def test_the_examples_of_the_page_pass(tmp_path: Path, way: int) -> None:
    """Saved under the names they carry, they make a test suite that passes."""
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    conftests = [block for block in blocks if block.startswith("# conftest.py")]
    files = {"conftest.py": conftests[way]}
    for number, block in enumerate(block for block in blocks if block not in conftests):
        named = re.match(r"# (test_\w+\.py)\n", block)
        files[named[1] if named else f"test_other_{number}.py"] = block
    done = run_pytest(project(tmp_path, files))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


@pytest.mark.slow
def test_who_does_not_use_the_fixtures_pays_nothing(tmp_path: Path) -> None:
    """Flask is not even imported, and the import of the plugin takes no time worth a word."""
    test = "import sys\ndef test_it():\n    assert 'flask' not in sys.modules\n"
    done = run_pytest(project(tmp_path, {"test_plain.py": test}))
    assert done.returncode == 0, done.stdout + done.stderr
    began = time.perf_counter()
    code = (
        "import sys, pytest, time; began = time.perf_counter(); import flask_anam_pytest;"
        "assert not {'flask', 'flask_anam', 'requests'} & set(sys.modules);"
        "print(time.perf_counter() - began)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 0.1
    assert time.perf_counter() - began < 30


@pytest.mark.slow
def test_a_missing_app_fixture_is_explained(tmp_path: Path) -> None:
    """The message says what to write."""
    done = run_pytest(project(tmp_path, {"test_x.py": "def test_x(anam_app): pass\n"}))
    assert done.returncode == 1
    assert "anam_app needs a fixture named app" in done.stdout


@pytest.mark.source
def test_the_plugin_is_an_entry_point() -> None:
    """Installed beside pytest, it is found."""
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).parents[2] / "setup.cfg")
    assert "flask_anam = flask_anam_pytest" in parser["options.entry_points"]["pytest11"]
    assert parser["options"]["py_modules"] == "flask_anam_pytest"


def test_an_app_is_as_before_afterwards(sandbox: Sandbox) -> None:
    """Tokens, limits and counters of a test are gone at its end."""
    app = make_app(sandbox, ANAM_TOKEN_RATE_LIMIT="1 per hour", ANAM_TOKEN_REUSE="never")
    before = app.extensions["anam"]
    for _ in range(2):
        with Sandbox() as own, on_sandbox(app, own):
            client = log_in(app, "ada")
            codes = [client.post("/api/session-token", json={}).status_code for _ in range(2)]
            assert codes == [200, 429]
            assert len(own.ledger.mints) == 1
    assert app.extensions["anam"] is before
    assert sandbox.ledger.requests == ()


def test_personas_with_own_keys_use_the_sandbox(sandbox: Sandbox) -> None:
    """A key of another account stays out of a test."""
    app = make_app(sandbox, ADA)
    anam = FlaskAnam()
    anam.add_persona("tenant", {"personaId": "30fa96d0-26c4-4e55-94a0-517025942e18"}, api_key="x")
    other = make_host(ADA, ANAM_API_KEY="y", ANAM_BASE_URL="http://127.0.0.1:9")
    anam.init_app(other)
    with on_sandbox(other, sandbox):
        answer = log_in(other, ADA).post("/api/session-token", json={})
    assert answer.status_code == 200, answer.text
    assert KEY not in answer.text
    assert app is not other


@pytest.mark.parametrize("protection", ["basic", "strong", None])
def test_session_protection_lets_a_logged_in_client_in(
    sandbox: Sandbox, protection: str | None
) -> None:
    """Also where Flask-Login ties a session to the browser."""
    app = make_app(sandbox, BOB)
    app.login_manager.session_protection = protection  # type: ignore[attr-defined]  # Flask-Login
    assert log_in(app, BOB).get("/anam/personas").status_code == 200


def test_an_identity_loader_gets_the_user_object(sandbox: Sandbox) -> None:
    """A client is whoever was given to it; others are asked of the app's own loader."""
    anam = FlaskAnam()
    anam.identity_loader(lambda: None)
    app = make_app(sandbox, anam=anam)
    with on_sandbox(app, sandbox):
        assert log_in(app, User("zoe")).get("/anam/personas").status_code == 200
        assert app.test_client().get("/anam/personas").status_code == 401
        with pytest.raises(TypeError, match="user object"):
            log_in(app, "zoe")


def test_misuse_is_explained(sandbox: Sandbox) -> None:
    """An app without Flask-Anam, or one that knows no users."""
    with pytest.raises(ConfigError, match="not set up"), on_sandbox(make_host(), sandbox):
        raise AssertionError
    app = make_app(sandbox)
    del app.login_manager  # type: ignore[attr-defined]  # Flask-Login
    with pytest.raises(LookupError, match="neither Flask-Login"):
        log_in(app, "ada")
