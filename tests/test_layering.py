"""The rules of the layout: imports run downward only, folders stay small, the core stays pure."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

_SPEC = find_spec("flask_anam")
assert _SPEC
assert _SPEC.origin
PACKAGE = Path(_SPEC.origin).parent

#: Packages and top-level modules, the lowest floor first; each may import what stands on a lower
#: floor. A module belongs to its package, so that a new one needs no entry. "core" is the modules
#: that stand in `core/` itself.
FLOORS = [
    ["errors"],
    ["core"],
    ["core.schemas", "core.metrics"],
    ["core.config", "core.cache"],
    ["core.personas"],
    ["core.tokens"],
    ["core.upstream"],
    ["core.usage"],
    ["core.minting"],
    ["sandbox"],
    ["auth", "signals", "rate_limits"],
    ["state"],
    ["session_control", "metrics"],
    ["usage"],
    ["web", "cli", "wiring"],
    ["extension", "player"],
    ["testing"],
    ["__init__"],
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
CORE_MAY_IMPORT = {"marshmallow", "requests", "urllib3", "cachelib", "itsdangerous", "limits"}
OPTIONAL_IN_CORE = {"redis", "pymemcache", "sqlalchemy", "alembic"}
#: The modules of the sandbox that nobody imports before a browser sends an offer.
MEDIA_MODULES = {f"sandbox.media.{name}" for name in ("peer", "tracks", "addresses")}
#: Which packages and modules may import a library that has a bridge of its own.
BRIDGES = {
    "flask_login": {"auth"},
    "prometheus_client": {"metrics", "extension"},
    "limits": {"rate_limits", "core.config", "core.usage"},
    "flask_limiter": set[str](),
}


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        yield name, path


MODULES = dict(_modules())
PACKAGES = {name for name, path in MODULES.items() if path.stem == "__init__"}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _module_of(imported: str) -> str | None:
    """Return our module that an imported name is, or is defined in."""
    if not imported.startswith("flask_anam."):
        return None
    name = imported.removeprefix("flask_anam.")
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def _ours(name: str) -> set[str]:
    """Return the modules of ours that a module imports; a package stands for what it re-exports."""
    modules = {_module_of(imported) for imported in _imports(MODULES[name])}
    return {module for module in modules if module and module != name}


def _package_of(module: str) -> str:
    """Return the package that a module belongs to; one that stands at the top is its own."""
    top, *below = module.split(".")
    if top != "core" or not below:
        return top
    package = f"core.{below[0]}"
    return package if package in PACKAGES else "core"


def test_a_package_imports_lower_floors_only() -> None:
    """Glue may import core, core may import errors; never upward, nor from a neighbour."""
    for name in MODULES:
        own = _package_of(name)
        for imported in _ours(name):
            other = _package_of(imported)
            if own == other:
                continue
            assert FLOOR_OF[other] < FLOOR_OF[own], f"{name} imports {imported}, which is not below"


def test_no_modules_import_each_other() -> None:
    """No circle, be it of modules in one package or of packages."""
    for group in (lambda module: module, _package_of):
        graph: dict[str, set[str]] = {}
        for name in MODULES:
            others = {group(imported) for imported in _ours(name)}
            graph.setdefault(group(name), set()).update(others - {group(name)})
        for package in PACKAGES if group is not _package_of else ():
            # A package's own door re-exports its modules; they may name the package, not use it.
            graph[package] = {m for m in graph[package] if not m.startswith(f"{package}.")}
        list(TopologicalSorter(graph).static_order())


def test_every_package_has_a_floor() -> None:
    """A new package, or a module at the top, says above whom it stands; none is gone."""
    assert set(FLOOR_OF) == {_package_of(name) for name in MODULES}


def test_folders_stay_small() -> None:
    """At most 8 modules stand in `core/` itself, 14 at the top, and 16 in any folder."""
    sizes = Counter(path.parent for path in MODULES.values() if path.stem != "__init__")
    assert sizes[PACKAGE / "core"] <= 8
    assert sizes[PACKAGE] <= 14
    assert max(sizes.values()) <= 16


@pytest.mark.parametrize("part", ["core", "sandbox"])
def test_the_core_and_the_sandbox_know_nothing_of_flask(part: str) -> None:
    """The core imports no web framework; the sandbox the standard library, and media libraries."""
    allowed = CORE_MAY_IMPORT | OPTIONAL_IN_CORE if part == "core" else set[str]()
    for name, path in MODULES.items():
        if name.split(".")[0] != part:
            continue
        media = {"aiortc", "aioice", "av"} if name in MEDIA_MODULES else set[str]()
        for imported in _imports(path):
            top = imported.split(".")[0]
            if top == "flask_anam":
                home = _package_of(_module_of(imported) or "errors").split(".")[0]
                assert home in ({"core", "errors"} if part == "core" else {"sandbox"}), name
                continue
            assert top in sys.stdlib_module_names | allowed | media, f"{name} imports {imported}"


def test_only_the_bridges_import_the_libraries_they_bridge() -> None:
    """Flask-Login is known to `auth`, Flask-Limiter to nobody: its storage is enough."""
    for name, path in MODULES.items():
        tops = {imported.split(".")[0] for imported in _imports(path)}
        for library in tops & set(BRIDGES):
            assert _package_of(name) in BRIDGES[library], f"{name} imports {library}"


def test_no_file_is_too_long_to_read() -> None:
    """No source file has more than 400 lines."""
    for path in MODULES.values():
        assert len(path.read_text().splitlines()) <= 400, path


#: Local names that say nothing about what they hold.
EMPTY_NAMES = {"found", "told", "one", "no", "kept", "got", "said"}


def _local_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


def test_local_names_say_what_they_hold() -> None:
    """A reader learns from `record`, `text` or `exc` what `found`, `told` and `no` do not tell."""
    for name, path in MODULES.items():
        assert not _local_names(path) & EMPTY_NAMES, name
