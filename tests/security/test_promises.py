"""The page "Security model" promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from flask import render_template_string
from hosts import client_of, make_app

from flask_anam.sandbox import Sandbox

pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "security.md"
# Read here, where pytest also looks when the docs are not there and the tests are left out.
PAGE = FILE.read_text() if FILE.is_file() else ""


def promises() -> dict[str, str]:
    """Return each promise of the page, and what holds it."""
    part = PAGE.partition("## Promises and their tests")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (.+) \|$", part, re.MULTILINE)
    return {promise: held for promise, held in rows if not held.startswith("Test")}


@pytest.mark.parametrize("promise", promises())
def test_every_promise_is_held(promise: str) -> None:
    """It names tests that exist, or commands of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    names = re.findall(r"`([^`]+)`", promises()[promise])
    assert names
    for name in names:
        if name.startswith("make "):
            assert f"\n{name.removeprefix('make ')}: " in makefile
            continue
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_keeps_its_promises_about_headers(sandbox: Sandbox) -> None:
    """Pasted into an app, the block lets our tags run by nonce and nothing inline."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    app = make_app(sandbox)
    exec(compile(blocks[0], FILE.name, "exec"), {"app": app})  # noqa: S102 - our own text
    text = "{{ anam.head(nonce=csp_nonce()) }}{{ anam.player('support') }}"
    app.add_url_rule("/page", "page", lambda: render_template_string(text))
    answers = [client_of(app).get("/page") for _ in range(2)]
    nonces = set()
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        (nonce,) = set(re.findall("'nonce-([^']+)'", policy))
        nonces.add(nonce)
        assert "unsafe" not in policy
        assert "microphone=(self)" in answer.headers["Permissions-Policy"]
        tags = re.findall(r"<(?:script|link)\b[^>]*>", answer.text)
        assert tags
        assert all(f'nonce="{nonce}"' in tag for tag in tags)
        assert not re.search(r"\s(?:style|on[a-z]+)=", answer.text)
        assert "<style" not in answer.text
    assert len(nonces) == 2
