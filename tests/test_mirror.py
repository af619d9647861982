"""The tests of the core stand where its modules stand."""

from __future__ import annotations

from pathlib import Path

import flask_anam

TESTS = Path(__file__).parent
CORE = Path(flask_anam.__file__).parent / "core"

#: Modules without a test file of their name, and the file that tests them: end to end, with every
#: store, or through the module that uses them.
ELSEWHERE = {
    "minting/error_codec": "core/minting/test_mint_lock.py",
    "upstream/sessions_api": "usage/test_reconcile.py",
    "usage/memory_store": "core/usage/test_store.py",
    "usage/migrations/env": "core/usage/test_database.py",
    "usage/migrations/versions/v0001_sessions": "core/usage/test_database.py",
    "usage/reconciler": "usage/test_reconcile.py",
    "usage/sql_filters": "core/usage/test_store.py",
    "usage/sql_store": "core/usage/test_store.py",
    "usage/sql_tables": "core/usage/test_store.py",
}


def test_each_module_of_the_core_has_its_test_file() -> None:
    """``core/a/b.py`` is tested by ``tests/core/a/test_b.py``, or as the table says."""
    modules = {
        path.relative_to(CORE).with_suffix("")
        for path in CORE.rglob("*.py")
        if path.stem != "__init__"
    }
    own = {
        module.as_posix()
        for module in modules
        if (TESTS / "core" / module.parent / f"test_{module.name}.py").is_file()
    }
    assert {module.as_posix() for module in modules} - own == {*ELSEWHERE}
    assert all((TESTS / file).is_file() for file in ELSEWHERE.values())
