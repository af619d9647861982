"""``flask anam …``: readable output, honest exit status, no secrets."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from hosts import KEY, PERSONA, PROMPT, make_app

from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox


def _run(app: Flask, *args: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["anam", *args])
    assert KEY not in result.output
    assert PROMPT not in result.output
    return result.exit_code, result.output


def test_check_passes_when_everything_exists(app: Flask, sandbox: Sandbox) -> None:
    """Exit status 0 and a line per persona; the ids are asked of the account."""
    status, output = _run(app, "check")
    assert status == 0, output
    assert "API key: accepted" in output
    assert "persona support: everything it names exists" in output
    assert sandbox.ledger.count(f"/v1/avatars/{PERSONA['avatarId']}") == 1


def test_check_names_what_the_account_does_not_know(sandbox: Sandbox) -> None:
    """Exit status 1 and the field, the id and the cure."""
    unknown = "00000000-0000-4000-8000-000000000000"
    personas = {"support": PERSONA, "ghost": {**PERSONA, "voiceId": unknown}}
    status, output = _run(make_app(sandbox, ANAM_PERSONAS=personas), "check")
    assert status == 1
    assert f"error   persona ghost: voiceId {unknown} is not in the account" in output
    assert "ok      persona support" in output


@pytest.mark.parametrize("versions", [["\x1b[2J\u202ecara-9"], 7, [None]], ids=str)
def test_check_lets_nobody_write_on_the_terminal(sandbox: Sandbox, versions: Any) -> None:
    """What an account says of an avatar is shown without control characters, or not at all."""
    app = make_app(sandbox, ANAM_PERSONAS={"support": {**PERSONA, "avatarModel": "cara-4"}})
    path = f"/v1/avatars/{PERSONA['avatarId']}"
    sandbox.fail_next(200, json={"availableVersions": versions}, path=path)
    _, output = _run(app, "check")
    assert "persona support" in output
    assert all(letter.isprintable() or letter == "\n" for letter in output)


def test_check_says_when_the_key_is_refused(sandbox: Sandbox) -> None:
    """A wrong key is one line and exit status 1."""
    status, output = _run(make_app(sandbox, ANAM_API_KEY="wrong-key"), "check")
    assert status == 1
    assert "error   API key: Anam refused this server's API key (401)." in output
    assert "wrong-key" not in output


def test_personas_lists_them_all(sandbox: Sandbox) -> None:
    """A table of name, label, kind and permission."""
    anam = FlaskAnam()
    anam.add_persona("coach", lambda user: PERSONA, permission="coach:talk")
    status, output = _run(make_app(sandbox, anam=anam), "personas")
    assert status == 0
    assert [line.split() for line in output.splitlines()] == [
        ["PERSONA", "LABEL", "KIND", "PERMISSION"],
        ["support", "Support", "static", "-"],
        ["coach", "Coach", "per", "user", "coach:talk"],
    ]
    assert "No personas yet" in _run(make_app(sandbox, ANAM_PERSONAS={}), "personas")[1]


def test_token_mints_and_shows_the_id_only(app: Flask, sandbox: Sandbox) -> None:
    """The token id is printed; the token itself only when asked for."""
    status, output = _run(app, "token", "support", "--user", "ada")
    mint = sandbox.ledger.mints[0]
    assert status == 0
    assert mint.token_id in output
    assert "eyJhbGciOi" not in output
    assert "eyJhbGciOi" in _run(app, "token", "support", "--user", "ada", "--show")[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [(("nobody", "--user", "ada"), "unknown_persona"), (("support",), "--user")],
)
def test_token_explains_what_is_wrong(app: Flask, args: tuple[str, ...], message: str) -> None:
    """A wrong persona or a missing user is one clear line and a non-zero status."""
    status, output = _run(app, "token", *args)
    assert status != 0
    assert message in output


def test_token_of_a_per_user_persona_gets_the_hosts_user(sandbox: Sandbox) -> None:
    """The user is loaded with Flask-Login's loader."""
    anam = FlaskAnam()

    @anam.persona("guide")
    def guide(user: Any) -> dict[str, Any]:
        return {**PERSONA, "name": user.get_id()}

    assert _run(make_app(sandbox, anam=anam), "token", "guide", "--user", "bob")[0] == 0
    assert (sandbox.ledger.mints[0].persona_config or {})["name"] == "bob"


def test_clear_cache_makes_the_next_request_mint(app: Flask, sandbox: Sandbox) -> None:
    """Stored tokens are forgotten, narrowed by user or persona."""
    for args, mints in (([], 2), (["--user", "bob"], 2), (["--persona", "support"], 3)):
        _run(app, "token", "support", "--user", "ada")
        assert _run(app, "clear-cache", *args)[0] == 0
        _run(app, "token", "support", "--user", "ada")
        assert len(sandbox.ledger.mints) == mints


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flask", "module"])
def test_the_sandbox_runs_alone(tmp_path: Path, free_port: int, how: str) -> None:
    """`flask anam sandbox --port N` and `python -m flask_anam.sandbox` serve until stopped."""
    app = """
        from flask import Flask
        from flask_anam import FlaskAnam
        app = Flask(__name__)
        app.config.update(SECRET_KEY="s", ANAM_SANDBOX=True)
        FlaskAnam(app)
    """
    (tmp_path / "host.py").write_text(textwrap.dedent(app))
    commands = {
        "flask": ["-m", "flask", "--app", "host", "anam", "sandbox", "--port", str(free_port)],
        "module": ["-m", "flask_anam.sandbox", "--port", str(free_port)],
    }
    process = subprocess.Popen(
        [sys.executable, "-u", *commands[how]],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout
        printed = "".join(process.stdout.readline() for _ in range(4))
        assert f"http://127.0.0.1:{free_port}" in printed
        key = printed.split('ANAM_API_KEY = "')[1].split('"')[0]
        answer = requests.get(
            f"http://127.0.0.1:{free_port}/v1/avatars",
            headers={"Authorization": f"Bearer {key}"},
            timeout=5,
        )
        assert answer.status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_a_taken_port_is_one_clear_line(app: Flask, sandbox: Sandbox) -> None:
    """The sandbox command does not end in a traceback."""
    port = sandbox.url.rsplit(":", 1)[1]
    status, output = _run(app, "sandbox", "--port", port)
    assert status == 1
    assert output.startswith("Error: ")
    assert port in output
