"""What is shipped can be built again to the byte, and no security rule is off without a reason."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
SOURCE = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "flask_anam_pytest.py")


@pytest.mark.slow
def test_the_same_source_makes_the_same_wheel(tmp_path: Path) -> None:
    """Two folders, two times on the files, one SOURCE_DATE_EPOCH: one hash."""
    builds = []
    for number in (1, 2):
        folder = tmp_path / f"copy-{number}"
        folder.mkdir()
        for name in SOURCE:
            shutil.copy(ROOT / name, folder / name)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "flask_anam", folder / "flask_anam", ignore=ignored)
        for file in folder.rglob("*"):
            os.utime(file, (number * 10**9, number * 10**9))
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist")]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1800000000"}
        environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        with (folder / "log").open("w") as log:
            build = subprocess.Popen(
                [*command, str(folder)], env=environment, stdout=log, stderr=log
            )
        builds.append((folder, build))
    hashes = set()
    for folder, build in builds:
        assert build.wait(300) == 0, (folder / "log").read_text()
        (wheel,) = (folder / "dist").glob("*.whl")
        hashes.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_the_rules_of_security_are_on() -> None:
    """Bandit's rules are selected, and switched off for tests and docs alone, or singly."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S1") or rule == "S311"] == [
        "S311",
        "S105",
    ]
    for place, rules in lint["per-file-ignores"].items():
        if any((rule[0] == "S" and rule[1:].isdigit()) or rule == "S" for rule in rules):
            assert place.split("/")[0] in {"tests", "example_app", "benchmarks"}


def test_every_exception_from_them_is_explained() -> None:
    """A rule that is off on one line has its reason beside it."""
    for folder in ("flask_anam", "example_app"):
        for file in (ROOT / folder).rglob("*.py"):
            for line in file.read_text().splitlines():
                reason = re.search(r"# noqa: [^-]*\bS\d{3}(.*)", line)
                if reason:
                    assert " - " in reason[1], f"{file.name}: {line.strip()}"


def test_the_scripts_of_the_supply_chain_are_in_the_makefile() -> None:
    """Each has a target, so that people find it."""
    makefile = (ROOT / "Makefile").read_text()
    oldest = "test-wheel.sh .* --oldest"
    for target, script in (("build", "build.sh"), ("audit", "audit.sh"), ("floors", oldest)):
        assert re.search(rf"^{target}: .*\n\ttools/.*{script}", makefile, re.MULTILINE)


#: What stands in for Python: it makes an environment of itself, and tells what pip-audit told.
STAND_IN = """#!/bin/sh
case "$2" in
    venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    pip_audit) printf '%s\\n' "$TOLD"; exit "$STATUS" ;;
esac
"""


@pytest.mark.parametrize(
    ("reason", "status", "says", "exit_status"),
    [
        ("No known vulnerabilities found", 0, "No known", 0),
        ("Found 1 known vulnerability in 1 package", 1, "Found 1", 1),
        ("ConnectionError: no way to pypi.org", 1, "nothing was checked", 0),
        (
            "No known vulnerabilities found\nflask Dependency could not be audited: flask",
            0,
            "1 packages could not be looked up",
            0,
        ),
    ],
)
def test_an_audit_says_what_it_could_not_look_up(
    tmp_path: Path, reason: str, status: int, says: str, exit_status: int
) -> None:
    """A finding fails it; that advisories could not be had does not, and is told."""
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "tools" / "audit.sh"), str(python)],
        env={**os.environ, "TOLD": reason, "STATUS": str(status)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert says in done.stdout
    assert done.returncode == exit_status
    assert ("could not be" in done.stdout) == ("no way" in reason or "could not be" in reason)
