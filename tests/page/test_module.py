"""flask-anam.js as a module: its cases in Node and Chromium, its size, types and texts."""

from __future__ import annotations

import gzip
import inspect
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from page.conftest import HERE, MODULES, needed
from playwright.sync_api import Page, expect

import flask_anam
from flask_anam import errors
from flask_anam.web.player import LABELS

if TYPE_CHECKING:
    from page.sites import Site

STATIC = Path(flask_anam.__file__).parent / "static"
DOCS = HERE.parents[1] / "docs"
#: Bytes of the helper with what it imports, compressed, stay under this.
HELPER_LIMIT = 6 * 1024


def compressed(*names: str) -> int:
    """Return the bytes of these files as a server sends them compressed."""
    return sum(len(gzip.compress((STATIC / name).read_bytes(), 9)) for name in names)


def in_node(node: str, code: str) -> str:
    """Run a module in Node and return what it prints."""
    done = subprocess.run(
        [node, "--input-type=module", "-e", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """Give a folder with the scripts, where Node takes them for modules."""
    for script in STATIC.glob("*.js"):
        shutil.copy(script, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    return tmp_path


@pytest.mark.slow
def test_the_cases_pass_in_node(node: str, modules: Path) -> None:
    """Every way a start can go, against a fake of the SDK."""
    done = subprocess.run(
        [node, "--test", str(HERE / "cases.test.mjs")],
        env={**os.environ, "ANAM_STATIC": str(modules)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout


@pytest.mark.browser
def test_the_cases_pass_in_chromium(site: Site, page: Page) -> None:
    """The same file, in a real page."""
    page.goto(f"{site.url}/bare")
    failed = page.evaluate(
        """async () => {
          const { cases, run } = await import("/test/cases.mjs");
          const failed = [];
          let count = 0;
          for (const name of Object.keys(cases)) {
            const load = () => import(`/anam/static/flask-anam.js?${++count}`);
            await run(name, load).catch((error) => failed.push(`${name}: ${error.message}`));
          }
          return failed;
        }"""
    )
    assert failed == []


def test_the_helper_is_small() -> None:
    """What it says of itself in the docs: under 6 kB as it goes over the wire."""
    parts = re.findall(r'from "\./(.+?)"', (STATIC / "flask-anam.js").read_text())
    assert set(parts) == {"anam-token.js"}
    assert "import " not in (STATIC / "anam-token.js").read_text()
    assert compressed("flask-anam.js", *set(parts)) < HELPER_LIMIT


def test_no_script_is_too_long_to_read() -> None:
    """No file has more than 400 lines."""
    for path in (*STATIC.iterdir(), *HERE.glob("*.*")):
        if path.name != "package-lock.json":
            assert len(path.read_text().splitlines()) <= 400, path


def test_nothing_in_the_templates_is_inline() -> None:
    """No handlers, scripts or styles that a content security policy would have to allow."""
    for path in (STATIC.parent / "templates" / "anam").iterdir():
        text = path.read_text().replace('<script type="application/json" ', "")  # data, never run
        assert not re.search(r"\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)|<style", text)


@pytest.mark.slow
@pytest.mark.source
def test_the_types_fit(node: str) -> None:
    """A program that uses every name compiles, and the wrong uses in it do not."""
    compiler = needed("typescript/bin/tsc")
    options = "--strict --noEmit --target es2022 --module esnext --moduleResolution bundler"
    done = subprocess.run(
        [node, str(compiler), *options.split(), str(HERE / "types.ts")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_types_name_what_the_module_exports(node: str, modules: Path) -> None:
    """No name is missing on either side."""
    code = f'console.log(JSON.stringify(Object.keys(await import("{modules}/flask-anam.js"))))'
    typed = re.findall(
        r"^export (?:const|class|function) (\w+)",
        (STATIC / "flask-anam.d.ts").read_text(),
        re.MULTILINE,
    )
    shim = "globalThis.addEventListener = () => {};"
    assert sorted(json.loads(in_node(node, shim + code))) == sorted(typed)


def sentences(node: str, modules: Path) -> dict[str, str]:
    """Return what the player says, by code."""
    code = (
        f'const {{ SENTENCES }} = await import("{modules}/anam-texts.js");'
        "console.log(JSON.stringify(SENTENCES))"
    )
    texts: dict[str, str] = json.loads(in_node(node, code))
    return texts


def test_every_error_code_has_a_sentence(node: str, modules: Path) -> None:
    """The server's codes, and those that the helper makes itself; each is one for people."""
    texts = sentences(node, modules)
    members = [m for m in vars(errors).values() if inspect.isclass(m)]
    codes = {m.code for m in members if issubclass(m, errors.AnamError)}
    helper = "".join((STATIC / name).read_text() for name in ("flask-anam.js", "anam-token.js"))
    kinds = r'problem\("X"|code: "X"|timedOut \? "X" : "X"|refused \? "X"|[A-Z_]{8,}: "X"'
    own = set(re.findall(kinds.replace("X", r"(\w+)"), helper))
    codes |= {code for group in own for code in group if code}
    assert codes <= set(texts)
    assert {"network", "no_webrtc", "capacity", "connection_lost", "bad_answer"} <= codes
    for sentence in texts.values():
        assert re.fullmatch(r"[A-Z].{10,100}[.?]", sentence), sentence


@pytest.mark.source
def test_the_page_of_the_docs_names_the_codes_and_properties(node: str, modules: Path) -> None:
    """Every code is on the page or on that of the errors; every property and argument is too."""
    text = (DOCS / "page.md").read_text()
    known = text + (DOCS / "errors.md").read_text()
    for code in sentences(node, modules):
        assert f"`{code}`" in known or f"### {code}\n" in known, code
    for name in set(re.findall(r"var\((--anam-[\w-]+)", (STATIC / "anam-player.css").read_text())):
        assert f"`{name}`" in text, name
    url = re.search(r'SDK_URL = "(.+?)"', (STATIC / "flask-anam.js").read_text())
    assert url
    assert url[1] in text
    assert "{name}" in "".join(LABELS.values())


def test_times_are_said_as_people_say_them(node: str, modules: Path) -> None:
    """Seconds, minutes and hours, in the language of the page."""
    code = (
        f'const {{ humanTime }} = await import("{modules}/anam-texts.js");'
        "const seconds = [0.2, 42, 99, 150, 86400];"
        'const said = [...seconds.map((s) => humanTime(s, "en")), humanTime(9, "de")];'
        "console.log(JSON.stringify(said))"
    )
    assert json.loads(in_node(node, code)) == [
        *("1 second", "42 seconds", "99 seconds", "3 minutes", "24 hours", "9 Sekunden")
    ]


def example(language: str) -> list[str]:
    """Return the examples of a language on the page."""
    text = (DOCS / "page.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.browser
@pytest.mark.source
def test_the_react_example_costs_one_token(
    node: str, make_site: Callable[..., Site], page: Page, visit: Callable[..., None]
) -> None:
    """In strict mode, with the development build of React, which mounts everything twice."""
    react, dom = "react/umd/react.development.js", "react-dom/umd/react-dom.development.js"
    needed(react)
    needed(dom)
    (jsx,) = example("jsx")
    compiler = MODULES / "typescript/lib/typescript.js"
    code = (
        f'const ts = (await import("{compiler}")).default;'
        f"const options = {{ jsx: ts.JsxEmit.React, module: ts.ModuleKind.ESNext, target: 9 }};"
        f"console.log(ts.transpile({json.dumps(jsx)}, options))"
    )
    component = in_node(node, code)
    site = make_site()
    facade = "export const { useEffect, useRef, useState } = globalThis.React;"
    page.route("**/react.js", lambda r: r.fulfill(content_type="text/javascript", body=facade))
    page.route(
        "**/component.js", lambda r: r.fulfill(content_type="text/javascript", body=component)
    )
    imports = '<script type="importmap">{"imports": {"react": "/react.js"}}</script>'
    site.app.config["BARE"] = imports + '<div id="root"></div>'
    visit(site, "/bare")
    for name in (f"npm/{react}", f"npm/{dom}", "fake-sdk.js"):
        page.add_script_tag(url=f"/test/{name}")
    page.evaluate(
        """async (apiBaseUrl) => {
          const { Persona } = await import("/component.js");
          const { createElement, StrictMode } = React;
          const props = { type: "support", sdk: anam, apiBaseUrl };
          globalThis.root = ReactDOM.createRoot(document.querySelector("#root"));
          root.render(createElement(StrictMode, null, createElement(Persona, props)));
        }""",
        site.sandbox.url,
    )
    expect(page.get_by_role("status")).to_have_text("live")
    assert len(site.sandbox.ledger.mints) == len(site.sandbox.ledger.sessions) == 1
    page.evaluate("root.unmount()")
    assert page.evaluate("fakeAnam.clients.map((client) => client.stopped)") == [True]


@pytest.mark.browser
@pytest.mark.source
def test_the_plain_example_works(
    make_site: Callable[..., Site], page: Page, visit: Callable[..., None]
) -> None:
    """Pasted into a page, it starts a conversation and says why it cannot."""
    (html,) = [block for block in example("html") if "createPersona" in block]
    site = make_site()
    api = f'{{ apiBaseUrl: "{site.sandbox.url}", personaType'
    site.app.config["BARE"] = html.replace("{ personaType", api)
    visit(site, "/bare")
    page.add_script_tag(url="/test/fake-sdk.js")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("status")).to_have_text("live")
    visit(site, "/bare", user="bob")
    page.add_script_tag(url="/test/fake-sdk.js")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("status")).to_contain_text("Your account may not talk")
