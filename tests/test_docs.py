"""What the docs show works, and what they should name is there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from hosts import User, client_of, make_host

from flask_anam import FlaskAnam, errors
from flask_anam.cli.commands import make_cli
from flask_anam.core.config.settings import Settings, key_of
from flask_anam.sandbox import Sandbox

pytestmark = pytest.mark.source

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
#: Pages that `make docs` writes; git does not have them.
GENERATED = {DOCS / "configuration.md", *DOCS.glob("_generated_*.md")}
#: Made by running the example app; looked at by a test of its own.
SCREENSHOT = DOCS / "_static" / "demo.png"

ADA = User("ada", may_talk=False)


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """Return every page a person reads, but for the generated ones."""
    names = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGES.md")
    result = [ROOT / name for name in names] + sorted(
        [*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md")]
    )
    return [page for page in result if page not in GENERATED]


def load(path: Path, name: str) -> ModuleType:
    """Import a file that is on no search path."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def on_sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Let the next app find a sandbox where it expects Anam, and its key in the environment."""
    defaults = {**Flask.default_config, "ANAM_BASE_URL": sandbox.url}
    monkeypatch.setattr(Flask, "default_config", defaults)
    monkeypatch.setenv("ANAM_API_KEY", sandbox.api_key)
    return sandbox


def test_the_quick_start_of_the_readme_gives_a_token(on_sandbox: Sandbox) -> None:
    """Pasted into an app with Flask-Login, the block lets a logged-in user have a token."""
    (block,) = blocks(ROOT / "README.md", "python")
    app = make_host(ADA)
    exec(compile(block, "README.md", "exec"), {"app": app})  # noqa: S102 - our own text
    answer = client_of(app, ADA).post("/api/session-token", json={"personaType": "support"})
    assert answer.status_code == 200
    assert answer.get_json()["sessionToken"]
    assert client_of(app).post("/api/session-token", json={}).status_code == 401
    assert len(on_sandbox.ledger.mints) == 1


def quickstart_apps() -> list[str]:
    """Return the whole apps of the quick start, in the order of its steps."""
    page = DOCS / "quickstart.md"
    return [block for block in blocks(page, "python") if block.startswith("# app.py\n")]


@pytest.mark.parametrize(("step", "pages_shown"), [(0, "Get a session token"), (1, "Talk")])
def test_the_apps_of_the_quick_start_work(
    on_sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    pages_shown: str,
) -> None:
    """Saved as told, each app shows its page, logs in and hands out a token."""
    name = f"quickstart_app_{step}"
    (tmp_path / "templates").mkdir()
    (tmp_path / "app.py").write_text(quickstart_apps()[step])
    html = blocks(DOCS / "quickstart.md", "html")[step]
    (tmp_path / "templates" / "index.html").write_text(html)
    if step == 0:  # it brings a sandbox of its own
        monkeypatch.delenv("ANAM_API_KEY")
    module = load(tmp_path / "app.py", name)
    app: Flask = module.app
    app.root_path = str(tmp_path)
    app.testing = True
    client = app.test_client()
    assert "Log in as Ada" in client.get("/").text
    assert client.post("/api/session-token", json={}).status_code == 401
    assert client.post("/login").status_code == 302
    assert pages_shown in client.get("/").text
    answer = client.post("/api/session-token", json={"personaType": "support"})
    assert answer.status_code == 200, answer.text
    assert len(on_sandbox.ledger.mints) == step


def test_the_last_app_of_the_quick_start_needs_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable the app says at once which one is missing."""
    monkeypatch.delenv("ANAM_API_KEY", raising=False)
    with pytest.raises(KeyError, match="ANAM_API_KEY"):
        exec(compile(quickstart_apps()[-1], "app.py", "exec"), {"__name__": "app"})  # noqa: S102


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_python_on_every_page_compiles(page: Path) -> None:
    """No Python block has a slip of the pen."""
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_what_a_page_imports_of_ours_is_there(page: Path) -> None:
    """Each name that a Python block imports from the package exists today."""
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_anam"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page.name}: {alias.name}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_python_files_that_a_page_names_are_there(page: Path) -> None:
    """From the root or from the package: glossary, decisions, tests of a promise."""
    for name in re.findall(r"`([\w./-]+/[\w-]+\.py)\b", page.read_text()):
        assert (ROOT / name).is_file() or (ROOT / "flask_anam" / name).is_file(), name


def settings_page() -> str:
    """Return the page of settings as the docs build makes it."""
    text: str = load(DOCS / "settings_page.py", "settings_page").render()
    return text


@pytest.mark.parametrize("row", fields(Settings), ids=key_of)
def test_every_setting_is_on_the_page_of_settings(row: Any) -> None:
    """Each setting has a section with its help, type, unit and default."""
    _, _, after = settings_page().partition(f"\n### {key_of(row)}\n")
    section = after.partition("\n### ")[0]
    facts = row.metadata
    for wanted in (facts["help"], facts["type"], facts["unit"]):
        assert wanted in section
    assert "Default\n: " in section


def setting_names() -> Iterator[tuple[str, str]]:
    """Yield page and name for everything on the pages that looks like a setting."""
    for page in pages():
        for name in sorted(set(re.findall(r"\bANAM_[A-Z_]+[A-Z]\b", page.read_text()))):
            yield page.name, name


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    """Every ANAM_ name on the pages is a setting of today."""
    known = {key_of(row) for row in fields(Settings)}
    shown_as_a_mistake = {"ANAM_API_KEYS"}
    unknown = [item for item in setting_names() if item[1] not in known | shown_as_a_mistake]
    assert unknown == []


def error_classes() -> list[type[errors.AnamError]]:
    """Return the whole error tree."""
    members = vars(errors).values()
    return [m for m in members if inspect.isclass(m) and issubclass(m, errors.AnamError)]


@pytest.mark.parametrize("code", sorted({error.code for error in error_classes()}))
def test_every_error_code_has_a_section(code: str) -> None:
    """The page of errors has a heading for each code, which is also its anchor."""
    assert f"\n### {code}\n" in (DOCS / "errors.md").read_text()


def test_every_status_and_code_is_in_the_table_of_the_http_api() -> None:
    """The table of errors names each code in the row of its status."""
    text = (DOCS / "http-api.md").read_text()
    rows = dict(re.findall(r"^\| (\d{3}) \| (.*) \|$", text, re.MULTILINE))
    bases = {errors.AnamError, errors.RequestError, errors.UpstreamError}
    for error in error_classes():
        if error not in bases:
            assert f"[`{error.code}`](errors.md#{error.code})" in rows[str(error.status)]


@pytest.mark.parametrize("command", sorted(make_cli().commands))
def test_every_command_has_a_section(command: str) -> None:
    """The page of the command line names each command, and each of its options."""
    text = (DOCS / "cli.md").read_text()
    _, _, after = text.partition(f"\n## flask anam {command}\n")
    section = after.partition("\n## ")[0]
    assert section
    for parameter in make_cli().commands[command].params:
        for option in parameter.opts:
            assert option in section or not option.startswith("-")


def test_every_route_is_on_the_page_of_the_http_api() -> None:
    """Each rule of the blueprint is named with its method."""
    app = make_host()
    app.config["ANAM_SANDBOX"] = True
    FlaskAnam(app)
    text = (DOCS / "http-api.md").read_text()
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("anam.")]
    assert len(rules) > 8
    for rule in rules:
        (method,) = (rule.methods or set()) - {"OPTIONS", "HEAD"}
        named = rule.rule if rule.endpoint == "anam.static" else f"`{method} {rule.rule}`"
        assert named in text


def anchors(page: Path) -> set[str]:
    """Return what a link may name after the # on a page."""
    text = settings_page() if page in GENERATED else page.read_text()
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#{1,3} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_local_links_lead_somewhere(page: Path) -> None:
    """Every link to a file or heading of this repository resolves."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name).resolve() if name else page
        if to != SCREENSHOT:
            assert to in GENERATED or to.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(to), f"{page.name} links to {target}"


def test_the_readme_has_its_screenshot() -> None:
    """The picture in the README is there and is a picture."""
    assert SCREENSHOT.read_bytes().startswith(b"\x89PNG")


def sandbox_names() -> list[str]:
    """Return the options and methods of a sandbox, but those to start and stop it: `with` does."""
    names = {*inspect.signature(Sandbox).parameters, *vars(Sandbox)}
    plain = {name for name in names if not name.startswith("_")}
    return sorted(plain - {"start", "stop", "ensure_running", "serve_forever"})


@pytest.mark.parametrize("name", sandbox_names())
def test_every_option_and_method_of_the_sandbox_is_on_its_page(name: str) -> None:
    """By name, as code."""
    text = (DOCS / "sandbox.md").read_text()
    assert re.search(rf"`[^`\n]*\b{name}\b|sandbox\.{name}\(", text)
