"""The public names are those documented, and importing them is all it takes."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import flask_anam
import flask_anam.sandbox
from flask_anam import AnamError


def test_all_names_exist_and_are_sorted() -> None:
    """__all__ is sorted, complete and true."""
    assert list(flask_anam.__all__) == sorted(flask_anam.__all__)
    public = {
        name
        for name, value in vars(flask_anam).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(flask_anam.__all__)


def test_the_names_of_the_design_are_public() -> None:
    """What the design shows can be imported from flask_anam."""
    assert {
        "FlaskAnam",
        "permission_required",
        "PersonaConfigSchema",
        "SessionOptionsSchema",
        "AnamError",
        "token_minted",
        "token_reused",
        "token_failed",
        "session_started",
        "session_ended",
        "limit_reached",
    } <= set(flask_anam.__all__)
    assert inspect.isclass(flask_anam.sandbox.Sandbox)


def test_every_public_object_is_documented() -> None:
    """Each public class, function and method has a docstring."""
    for name in flask_anam.__all__:
        thing = getattr(flask_anam, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name
        if inspect.isclass(thing) and not issubclass(thing, AnamError):
            for method, function in inspect.getmembers(thing, inspect.isfunction):
                if not method.startswith("_") and function.__module__.startswith("flask_anam"):
                    assert function.__doc__, f"{name}.{method}"


def test_extras_and_the_sandbox_are_loaded_only_where_they_are_used() -> None:
    """Importing the package, and setting an app up in memory, loads none of them."""
    code = (
        "import sys, flask, flask_anam\n"
        "app = flask.Flask('app'); app.secret_key = 'x'\n"
        "app.config.update(ANAM_API_KEY='key', ANAM_USAGE_URL='memory://')\n"
        "flask_anam.FlaskAnam(app)\n"
        "print(*sorted(sys.modules))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    loaded = set(result.stdout.split())
    late = {"redis", "pymemcache", "sqlalchemy", "prometheus_client", "aiortc", "av", "tomllib"}
    assert not loaded & late
    assert not any(name.startswith("flask_anam.sandbox") for name in loaded)
