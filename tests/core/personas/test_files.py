"""Persona files: TOML and JSON, one file or a folder, with secrets and precise errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask
from hosts import ADA, PERSONA, TOKEN_PATH, client_of, make_app, mint_body

from flask_anam import ConfigError
from flask_anam.sandbox import Sandbox

COMMON = f"""
name = "Alex"
avatar_id = "{PERSONA["avatarId"]}"
voiceId = "{PERSONA["voiceId"]}"
llm_id = "{PERSONA["llmId"]}"
"""
SENT = {name: PERSONA[name] for name in ("name", "avatarId", "voiceId", "llmId")}


def from_file(sandbox: Sandbox, path: Path) -> Flask:
    """Return an app whose personas come from a file or folder."""
    return make_app(sandbox, ANAM_PERSONAS={}, ANAM_PERSONAS_FILE=str(path))


def test_a_toml_file_holds_several_personas(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each table is a persona, in either spelling, with our own keys beside."""
    file = tmp_path / "personas.toml"
    text = f'[support]{COMMON}label = "Help"\n[support.overrides]\nlanguageCode = ["de"]\n'
    file.write_text(f"{text}[coach]{COMMON}session_options.video_quality = 'auto'\n")
    app = from_file(sandbox, file)
    personas = app.extensions["anam"].registry
    assert [(p.name, p.label, dict(p.overrides)) for p in personas] == [
        ("support", "Help", {"languageCode": ["de"]}),
        ("coach", "Coach", {}),
    ]
    client_of(app, ADA).post(TOKEN_PATH, json={"personaType": "coach"})
    sent = {"personaConfig": SENT, "sessionOptions": {"videoQuality": "auto"}}
    assert json.dumps(mint_body(sandbox, 0)) == json.dumps(sent)


def test_a_json_file_holds_several_personas(sandbox: Sandbox, tmp_path: Path) -> None:
    """With a $schema for the editor, and a byte order mark as some editors write."""
    file = tmp_path / "personas.json"
    content = {"$schema": "./personas.schema.json", "support": PERSONA}
    file.write_text(json.dumps(content), encoding="utf-8-sig")
    client_of(from_file(sandbox, file), ADA).post(TOKEN_PATH, json={})
    assert mint_body(sandbox, 0) == {"personaConfig": PERSONA}


def test_a_folder_holds_one_persona_for_each_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """The file's name is the persona type; other files do not matter."""
    (tmp_path / "support.toml").write_text(COMMON)
    (tmp_path / "coach.json").write_text(json.dumps({"$schema": "x", **PERSONA}))
    (tmp_path / "README.md").write_text("Our personas")
    personas = from_file(sandbox, tmp_path).extensions["anam"].registry
    assert sorted(persona.name for persona in personas) == ["coach", "support"]


def test_a_secret_table_is_read_from_the_environment_at_mint(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """{ secret = "NAME" } stands for a value at any depth; the key of an account too."""
    file = tmp_path / "personas.toml"
    tool = '{type="server", subtype="webhook", name="w", headers={X={secret="HOOK"}}}'
    file.write_text(f'[support]{COMMON}apiKey = {{secret = "THE_KEY"}}\ntools = [{tool}]\n')
    app = from_file(sandbox, file)
    monkeypatch.setenv("HOOK", "hook-value")
    monkeypatch.setenv("THE_KEY", sandbox.api_key)
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).status_code == 200
    (sent,) = sandbox.ledger.requests[0].body["personaConfig"]["tools"]
    assert sent["headers"] == {"X": "hook-value"}


BROKEN = {
    "TOML": ("p.toml", '[support]\nname = "A\n', "line 2"),
    "JSON": ("p.json", '{"support": {\n"name": "A"\n"x": 1}}', "line 3"),
    "twice in TOML": ("p.toml", "[a]\n[a]\n", "line 2"),
    "twice in JSON": ("p.json", '{"a": {}, "a": {}}', "'a' is given twice"),
    "not UTF-8": ("p.toml", b"name = '\xff'", "not UTF-8"),
    "a list": ("p.json", "[]", "must hold an object"),
    "no table": ("p.toml", "support = 5", "'support' in"),
    "suffix": ("p.yaml", "support:", "must be a folder, or end in .toml or .json"),
    "deep": ("p.json", "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize(("name", "content", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_told_with_its_name_and_place(
    sandbox: Sandbox, tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    """The message names the file and, where there is one, the line."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        from_file(sandbox, file)
    assert "ANAM_PERSONAS_FILE" in caught.value.text
    assert str(file) in caught.value.text
    assert words in caught.value.text


def test_a_missing_file_is_told_with_its_whole_path(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is told as the absolute one that was looked at."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        from_file(sandbox, Path("nowhere.toml"))
    assert f"{tmp_path / 'nowhere.toml'}: No such file or directory." in caught.value.text


def test_an_empty_folder_is_no_source(sandbox: Sandbox, tmp_path: Path) -> None:
    """A folder without a persona is most likely the wrong one."""
    with pytest.raises(ConfigError, match=r"holds no \.toml or \.json file"):
        from_file(sandbox, tmp_path)


def test_a_persona_is_described_in_one_place_only(sandbox: Sandbox, tmp_path: Path) -> None:
    """Twice in a folder, or in a file and in ANAM_PERSONAS: which one counts is not guessed."""
    (tmp_path / "support.toml").write_text(COMMON)
    with pytest.raises(ConfigError, match="both in ANAM_PERSONAS and in ANAM_PERSONAS_FILE"):
        make_app(sandbox, ANAM_PERSONAS_FILE=str(tmp_path))
    (tmp_path / "support.json").write_text(json.dumps(PERSONA))
    with pytest.raises(ConfigError, match="describes 'support' twice"):
        from_file(sandbox, tmp_path)


def test_a_mistake_in_a_file_names_the_persona_and_the_field(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """The same rules and messages as for ANAM_PERSONAS."""
    (tmp_path / "support.toml").write_text(COMMON + 'permision = "x"\n')
    with pytest.raises(ConfigError, match="Persona 'support' is not valid: permision: Unknown"):
        from_file(sandbox, tmp_path)
