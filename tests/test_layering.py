"""Imports run downward only, proven from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

_SPEC = find_spec("flask_anam")
assert _SPEC
assert _SPEC.origin
PACKAGE = Path(_SPEC.origin).parent

#: From the top to the bottom; a module may import modules of lower layers only.
LAYERS = [
    ["__init__"],
    ["extension"],
    ["blueprint", "cli"],
    ["dashboard"],
    ["dashboard_view"],
    [
        "handlers",
        "decorators",
        "openapi",
        "testing",
        "player",
        "cli_usage",
        "probe",
        "metrics",
        "doctor",
    ],
    ["assembly"],
    ["records", "start_up", "intake"],
    ["state"],
    ["identity", "ratelimit", "signals"],
    ["counters", "prometheus", "charts"],
    ["human"],
    ["sandbox"],
    ["core.manager", "core.account"],
    ["core.reconcile"],
    ["core.books", "core.anam_sessions"],
    ["core.figures", "core.session_csv"],
    ["core.setbacks", "core.turn", "core.capacity"],
    ["core.reuse"],
    ["core.client", "core.store", "core.usage", "core.flight", "core.registry"],
    ["core.memory_sessions", "core.sql_sessions", "core.counting"],
    ["core.sql_conditions"],
    ["core.sql_tables", "core.sessions", "core.migrations.env"],
    ["core.quota", "core.database", "core.periods"],
    ["core.session_records", "core.migrations.versions", "core.error_facts"],
    ["core.transport", "core.guard", "core.retry", "core.backends", "core.measures"],
    ["core.personas", "core.persona_files", "core.jsonschema", "core.lease", "core.memory_cache"],
    ["core.schemas"],
    ["core.session_options"],
    ["core.parts", "core.messages", "core.settings"],
    ["core.base_schemas"],
    ["core.fields", "core.checks", "core.tokens", "core.timed_http", "core.tally"],
    ["core.keys"],
    ["core.clock", "core.fork", "core.unseen"],
    ["core"],
    ["errors"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
CORE_MAY_IMPORT = {"marshmallow", "requests", "urllib3", "cachelib", "itsdangerous", "limits"}
OPTIONAL_IN_CORE = {"redis", "pymemcache", "sqlalchemy", "alembic"}
#: Modules that name its types only for type checkers.
TYPES_ONLY = {"metrics", "extension"}
#: The modules of the sandbox that nobody imports before a browser sends an offer.
MEDIA_MODULES = {f"sandbox.media.{name}" for name in ("peer", "tracks", "addresses")}


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        yield name, path


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _layer(module: str) -> str | None:
    """Return the name in LAYERS that a module of ours belongs to."""
    parts = module.split(".")
    while parts:
        if ".".join(parts) in RANK:
            return ".".join(parts)
        parts.pop()
    return None


@pytest.mark.parametrize(("name", "path"), list(_modules()), ids=lambda value: str(value)[-30:])
def test_a_module_imports_lower_layers_only(name: str, path: Path) -> None:
    """Glue may import core, core may import errors; never upward or sideways."""
    own = _layer(name)
    assert own, f"{name} has no layer: add it to LAYERS"
    for imported in _imports(path):
        if not imported.startswith("flask_anam."):
            continue
        other = _layer(imported.removeprefix("flask_anam."))
        if other is None or other == own == "sandbox":
            continue
        assert RANK[other] > RANK[own] or imported == "flask_anam.errors", (
            f"{name} imports {imported}, which is not below it"
        )


@pytest.mark.parametrize("part", ["core", "sandbox"])
def test_the_core_and_the_sandbox_know_nothing_of_flask(part: str) -> None:
    """The core imports no web framework; the sandbox the standard library, and media libraries."""
    import sys

    allowed = CORE_MAY_IMPORT | OPTIONAL_IN_CORE if part == "core" else set[str]()
    for name, path in _modules():
        if name.split(".")[0] != part:
            continue
        media = {"aiortc", "aioice", "av"} if name in MEDIA_MODULES else set[str]()
        for imported in _imports(path):
            top = imported.split(".")[0]
            if top == "flask_anam":
                below = ("flask_anam.core", "flask_anam.errors", "flask_anam")
                assert imported.startswith(below if part == "core" else "flask_anam.sandbox")
                continue
            assert top in sys.stdlib_module_names | allowed | media, f"{name} imports {imported}"


def test_only_the_bridges_import_the_libraries_they_bridge() -> None:
    """flask_login is known to identity, flask_limiter to nobody: its storage is enough."""
    for name, path in _modules():
        tops = {imported.split(".")[0] for imported in _imports(path)}
        assert "flask_login" not in tops or name == "identity", name
        assert "prometheus_client" not in tops or name in {"prometheus", *TYPES_ONLY}, name
        assert "limits" not in tops or name in {
            "ratelimit",
            "counters",
            "core.checks",
            "core.quota",
        }, name


def test_no_file_is_too_long_to_read() -> None:
    """No source file has more than 400 lines."""
    for _, path in _modules():
        assert len(path.read_text().splitlines()) <= 400, path
