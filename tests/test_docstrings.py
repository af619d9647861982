"""Public docstrings: each has an example, and each example gives what it shows."""

from __future__ import annotations

import doctest
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from blinker import NamedSignal
from flask import Flask
from hosts import ADA, client_of, make_app

import flask_anam
import flask_anam_pytest
from flask_anam import FlaskAnam, testing, usage
from flask_anam.sandbox import Sandbox
from flask_anam.state import get_state
from flask_anam.testing import ManualClock

PUBLIC = {
    **{name: getattr(flask_anam, name) for name in flask_anam.__all__},
    **{name: getattr(testing, name) for name in testing.__all__},
    **{name: getattr(usage, name) for name in usage.__all__ if name.islower()},
    "Sandbox": Sandbox,
}


def documented() -> Iterator[tuple[str, str]]:
    """Yield name and docstring of each public object, and of each public method of a class."""
    for name, item in PUBLIC.items():
        yield name, inspect.getdoc(item) or ""
        if inspect.isclass(item):
            for method, function in vars(item).items():
                if not method.startswith("_") and inspect.isroutine(getattr(item, method)):
                    yield f"{name}.{method}", inspect.getdoc(function) or ""


DOCSTRINGS = dict(documented())


@pytest.fixture
def world(make_sandbox: Any) -> Iterator[dict[str, Any]]:
    """Yield the names that examples use: an app on a sandbox, in its context."""
    clock = ManualClock()
    sandbox = make_sandbox(clock=clock.time)
    anam = FlaskAnam(clock=clock)
    app = make_app(sandbox, ADA, anam=anam)
    with app.app_context():
        yield {
            **PUBLIC,
            "Flask": Flask,
            "anam": anam,
            "app": app,
            "client": client_of(app, ADA),
            "clock": clock,
            "manager": get_state().manager,
            "requests": requests,
            "sandbox": sandbox,
            "usage": usage,
            "threading": threading,
            "user": ADA,
        }


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_an_example_gives_what_it_shows(name: str, world: dict[str, Any]) -> None:
    """The docstring has a section with an example, whose output is the one shown."""
    _, heading, example = DOCSTRINGS[name].partition("\nExample:\n")
    assert heading, f"{name} has no example"
    test = doctest.DocTestParser().get_doctest(example, world, name, name, 0)
    assert test.examples, f"{name} has an example without prompts"
    shown: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(test, out=shown.append)
    assert not shown, "".join(shown)


#: What the examples of the fixtures need: an app that is set up as a host would do it.
HOST = """
import pytest
from flask import Flask
from flask_login import LoginManager
from hosts import PERSONA, User
from flask_anam import FlaskAnam

anam = FlaskAnam()

def create_app(settings):
    app = Flask("host")
    app.config.update(SECRET_KEY="host secret", ANAM_PERSONAS={"support": PERSONA})
    app.config.update(settings)
    LoginManager(app).user_loader(User)
    anam.init_app(app)
    return app

@pytest.fixture
def app():
    return create_app({"ANAM_API_KEY": "never used", "ANAM_USAGE_URL": "memory://"})
"""


def test_the_examples_of_the_fixtures_are_tests_that_pass(tmp_path: Path) -> None:
    """Each fixture of the plugin shows a test, and pytest runs them all."""
    names = ("anam_sandbox", "anam_config", "anam_app", "login_as")
    parser = doctest.DocTestParser()
    shown = {name: parser.get_examples(getattr(flask_anam_pytest, name).__doc__) for name in names}
    assert all(shown.values()), shown
    sources = [example.source for examples in shown.values() for example in examples]
    (tmp_path / "test_fixtures.py").write_text("\n".join([HOST, *sources]))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in run.stdout, run.stdout


def test_what_is_walked_is_what_is_public() -> None:
    """No kind of public object is passed over, signals included."""
    assert isinstance(PUBLIC["token_minted"], NamedSignal)
    assert {"FlaskAnam.create_token", "Sandbox.fail_next", "ManualClock.move"} <= set(DOCSTRINGS)
    assert len(DOCSTRINGS) > 60
