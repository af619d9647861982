"""The quick tests on every Python from 3.11 on that this machine has: ``make pythons``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True

OLDEST, NEWEST = 11, 29  # minor versions of Python 3 that are looked for, see python_requires
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))


def _starts(python: str, minor: int) -> bool:
    """Say whether a program is that Python; a shim of pyenv may be there and not start."""
    ask = [python, "--version"]
    answer = subprocess.run(ask, capture_output=True, text=True, check=False)  # noqa: S603 - no input
    return re.fullmatch(rf"Python 3\.{minor}\.\d+\n", answer.stdout) is not None


def _versions() -> list[str]:
    """Return the versions on the path and, when pyenv has them, put those on the path."""
    versions = []
    for minor in range(OLDEST, NEWEST + 1):
        name = f"python3.{minor}"
        inside = sorted(str(path) for path in PYENV.glob(f"versions/3.{minor}.*/bin/{name}"))
        for python in filter(None, [shutil.which(name), *inside]):
            if _starts(python, minor):
                if python in inside:
                    os.environ["PATH"] = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
                versions.append(f"3.{minor}")
                break
    return versions


@nox.session(python=_versions())
def tests(session: nox.Session) -> None:
    """Install what requirements.lock says and run the quick tests."""
    session.install("--quiet", "--require-hashes", "--requirement", "requirements.lock")
    session.install("--quiet", "--no-deps", "--editable", ".")
    session.run("python", "-VV")
    arguments = session.posargs or ["-q", "-n", "2", "--dist", "worksteal"]
    session.run("python", "-m", "pytest", "-m", "not slow and not browser", *arguments)
