"""``flask anam check`` against the account, and ``flask anam schema`` for editors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from hosts import KEY, PROMPT, make_app

from flask_anam.core.schemas.json_schema import persona_json_schema
from flask_anam.core.schemas.secret import secret
from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.api.catalog import PERSONA_ID, TOOL_ID

UNKNOWN = "00000000-0000-4000-8000-000000000000"
GOOD = {
    "name": "Cara",
    "avatarId": catalog.AVATAR_ID,
    "avatarModel": "cara-4",
    "voiceId": catalog.VOICE_ID,
    "llmId": catalog.LLM_ID,
    "toolIds": [TOOL_ID],
    "voiceGenerationOptions": {"stability": 0.5, "speed": 1},
    "systemPrompt": PROMPT,
}


def run(app: Flask, *args: str) -> tuple[int, str]:
    """Run a command; no key and no prompt may ever be printed."""
    result = app.test_cli_runner().invoke(args=["anam", *args])
    assert KEY not in result.output
    assert PROMPT not in result.output
    return result.exit_code, result.output


def check(sandbox: Sandbox, entry: dict[str, Any]) -> tuple[int, str]:
    """Check one persona."""
    return run(make_app(sandbox, ANAM_PERSONAS={"p": entry}), "check")


FINE: dict[str, dict[str, Any]] = {
    "inline": GOOD,
    "stored": {"personaId": PERSONA_ID},
    "named LLM": {**GOOD, "llmId": "CUSTOMER_CLIENT_V1"},
    "another model": {**GOOD, "avatarModel": "cara-3"},
    "Cartesia": {
        **GOOD,
        "voiceId": catalog.OTHER_VOICE_ID,
        "voiceGenerationOptions": {"emotion": "calm"},
    },
}


@pytest.mark.parametrize("entry", FINE.values(), ids=FINE)
def test_check_is_content_when_all_exists_and_fits(sandbox: Sandbox, entry: dict[str, Any]) -> None:
    """One line per persona and exit status 0."""
    status, output = check(sandbox, entry)
    assert status == 0, output
    assert "ok      persona p: everything it names exists in the account" in output


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "avatar": ({"avatarId": UNKNOWN}, f"avatarId {UNKNOWN} is not in the account. Copy it from"),
    "voice": ({"voiceId": UNKNOWN}, f"voiceId {UNKNOWN} is not in the account."),
    "LLM": ({"llmId": UNKNOWN}, f"llmId {UNKNOWN} is not in the account."),
    "tool": ({"toolIds": [TOOL_ID, UNKNOWN]}, f"toolIds {UNKNOWN} is not in the account."),
    "model": (
        {"avatarId": catalog.OTHER_AVATAR_ID},
        "avatarModel cara-4 is not for this avatar: use cara-3.",
    ),
    "voice options": (
        {"voiceId": catalog.OTHER_VOICE_ID},
        (
            "voiceGenerationOptions (stability, speed) do not fit the voice, which is of CARTESIA: "
            "use those of Cartesia Sonic-3."
        ),
    ),
    "secret": ({"systemPrompt": secret("NOT_SET_HERE")}, "variable NOT_SET_HERE is not set"),
    "key": ({"apiKey": "another-key"}, "its API key: Anam refused this server's API key (401)."),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_check_finds_what_does_not_exist_or_fit(
    sandbox: Sandbox, change: dict[str, Any], message: str
) -> None:
    """One line with field, finding and cure, and exit status 1."""
    status, output = check(sandbox, {**GOOD, **change})
    assert status == 1
    (line,) = [line for line in output.splitlines() if line.startswith("error")]
    assert line.startswith("error   persona p: ")
    assert message in line


def test_check_finds_a_lost_stored_persona(sandbox: Sandbox) -> None:
    """The id of a persona that was deleted at Anam."""
    status, output = check(sandbox, {"personaId": UNKNOWN})
    assert status == 1
    assert f"personaId {UNKNOWN} is not in the account." in output


def test_check_warns_of_what_it_cannot_look_up(sandbox: Sandbox) -> None:
    """A server error of Anam is no error of ours: a warning, and exit status 0."""
    sandbox.fail_next(503, path=f"/v1/avatars/{catalog.AVATAR_ID}")
    status, output = check(sandbox, GOOD)
    assert status == 0
    assert "warning persona p: avatarId could not be checked: Anam is not available (503)" in output


def test_check_writes_json_for_programs(sandbox: Sandbox) -> None:
    """--json prints every finding as an object; the exit status stays the same."""
    personas = {"good": GOOD, "bad": {**GOOD, "avatarId": UNKNOWN}}
    status, output = run(make_app(sandbox, ANAM_PERSONAS=personas), "check", "--json")
    findings = json.loads(output)
    assert status == 1
    assert [(finding["level"], finding["subject"]) for finding in findings] == [
        ("ok", "settings"),
        ("ok", "API key"),
        ("ok", "persona good"),
        ("error", "persona bad"),
    ]
    assert all(set(finding) == {"level", "subject", "text"} for finding in findings)


@pytest.mark.parametrize("whole_file", [False, True])
def test_schema_is_printed_for_editors(sandbox: Sandbox, whole_file: bool) -> None:
    """The JSON Schema of a file with one persona or, with --file, with several."""
    status, output = run(make_app(sandbox), "schema", *(["--file"] if whole_file else []))
    assert status == 0
    assert json.loads(output) == persona_json_schema(whole_file=whole_file)
