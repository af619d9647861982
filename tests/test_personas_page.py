"""The page "Personas" of the docs says what the code does."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from core.schemas.intended_differences import SDK, TABLE
from hosts import make_app

from flask_anam import FlaskAnam
from flask_anam.core.schemas.fields import NestedObject, StrictList
from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.sandbox import Sandbox

pytestmark = pytest.mark.source

DOCS = Path(__file__).parent.parent / "docs"
# Read here, where pytest also looks when the docs are not there and the tests are left out.
PAGE = (DOCS / "personas.md").read_text(encoding="utf-8") if DOCS.is_dir() else ""


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language on the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Return the module that makes the list of fields."""
    spec = importlib.util.spec_from_file_location("persona_fields", DOCS / "persona_fields.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_differences_is_the_one_of_the_tests() -> None:
    """Each row stands on the page, in the same order, and no other."""
    shown = PAGE.split("| Rule | Reason |\n|---|---|\n")[1].split("\n\n")[0]
    assert shown.splitlines() == [f"| {row.name} | {row.why} |" for row in TABLE]


def every_field(schema: Any) -> list[Any]:
    """Return the fields of a schema and of all its parts."""
    fields = []
    for field in schema.load_fields.values():
        part = field.inner if isinstance(field, StrictList) else field
        fields += [field, *(every_field(part.schema) if isinstance(part, NestedObject) else ())]
    return fields


def test_every_field_is_listed_with_type_example_and_meaning(generator: ModuleType) -> None:
    """No field of the schemas is without a row, and no row without its facts."""
    text = generator.render()
    for field in every_field(MintRequestSchema()):
        if field.data_key == "personaConfig":
            continue
        rows = [line for line in text.splitlines() if line.startswith(f"| `{field.data_key}`")]
        cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
        assert rows, field.data_key
        assert all(len(row) == 4 and row[1] and row[3] for row in cells), field.data_key
        parts = (field, getattr(field, "inner", None))
        nested = any(isinstance(part, NestedObject) for part in parts)
        assert nested or all(row[2] for row in cells), field.data_key


def test_fields_of_the_sdks_are_marked(generator: ModuleType) -> None:
    """Exactly those that the OpenAPI lacks."""
    marked = set(re.findall(r"^\| `(\w+)` \(SDK\)", generator.render(), re.MULTILINE))
    assert marked == set().union(*SDK.values())


def test_the_list_shows_ranges_lists_defaults_and_sizes(generator: ModuleType) -> None:
    """What is published about a value stands beside its name."""
    text = generator.render()
    for line in (
        "| `silenceBeforeAutoEndTurnSeconds` | number, 0.5 to 10 | `5` |",
        "| `avatarModel` | `cara-3` or `cara-4` or `cara-4-latest` |",
        "| `customStylePrompt` | string, at most 2000 characters |",
        "| `initialMessage` | string or null |",
        '| `userName` | string; default `"anam-avatar"` |',
        "| `enableSessionReplay` | true or false; default `true` |",
        "| `roomUrl` | URL, needed |",
        "`cara-3`: 720x480; `cara-4`: 768x1152 or 1152x768",
    ):
        assert line in text


def test_the_list_is_written_only_when_it_changes(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sphinx does not read the page again for nothing."""
    page = tmp_path / "fields.md"
    monkeypatch.setattr(generator, "PAGE", page)
    generator.write_persona_page(None)
    written = page.stat().st_mtime_ns
    generator.write_persona_page(None)
    assert page.stat().st_mtime_ns == written
    assert page.read_text(encoding="utf-8") == generator.render()


def test_every_example_of_a_field_is_valid() -> None:
    """What the page and the editors show could be pasted."""
    for field in every_field(MintRequestSchema()):
        example = field.metadata.get("example")
        if example is not None and "secret" not in json.dumps(example):
            field.deserialize(example)


def test_the_personas_on_the_page_start_an_app(sandbox: Sandbox, tmp_path: Path) -> None:
    """The declarations in Python and the file in TOML can be pasted."""
    (tmp_path / "personas.toml").write_text(blocks("toml")[0])
    anam = FlaskAnam()
    names: dict[str, Any] = {"app": type("App", (), {"config": {}}), "anam": anam}
    for block in blocks("python"):
        exec(compile(block, "personas.md", "exec"), names)  # noqa: S102 - our own text
    config = names["app"].config
    entry = {**config["ANAM_PERSONAS"]["support"], "overrides": names["overrides"]}
    entry["tools"] = [names["order_status"]]
    config["ANAM_PERSONAS"]["support"] = entry
    app = make_app(sandbox, anam=anam, **config)
    assert {persona.name for persona in app.extensions["anam"].registry} == {
        *("support", "tutor", "sales", "coach"),
    }
    make_app(sandbox, ANAM_PERSONAS={}, ANAM_PERSONAS_FILE=str(tmp_path / "personas.toml"))
    assert tomllib.loads(blocks("toml")[0])["tutor"]["fallback"] == "support"
