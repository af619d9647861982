"""What a wheel carries, and what the metadata promises."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import flask_anam

ROOT = Path(__file__).parent.parent
PACKAGE = Path(flask_anam.__file__).parent


def test_the_package_carries_its_data_files() -> None:
    """py.typed, static files and templates are where the package is imported from."""
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "static" / "flask-anam.js").is_file()


def test_the_metadata_names_the_package_and_its_extras() -> None:
    """The distribution is called Flask-Anam and offers the extras of the design."""
    facts = metadata("Flask-Anam")
    assert facts["Name"] == "Flask-Anam"
    extras = set(facts.get_all("Provides-Extra") or ())
    assert {"redis", "sandbox", "analytics", "prometheus", "docs", "test", "dev"} <= extras


def test_the_metadata_says_who_and_where() -> None:
    """An author, and addresses of docs, source, changes and issues."""
    facts = metadata("Flask-Anam")
    assert facts["Author"] == "Flask-Anam contributors"
    labels = {url.split(",")[0] for url in facts.get_all("Project-URL") or ()}
    assert {"Documentation", "Source", "Changes", "Issues"} <= labels


def test_dependencies_have_floors_and_no_ceilings() -> None:
    """Each dependency says its oldest release; none is held back, but for one known bug."""
    for requirement in requires("Flask-Anam") or ():
        name = requirement.split(";")[0].strip()
        if name.startswith("aioice"):
            assert "<0.13" in name  # later releases lose Chromium without a microphone
        else:
            assert "<" not in name, name
            assert ">=" in name or name == "types-requests", name


@pytest.mark.slow
@pytest.mark.source
def test_a_wheel_holds_the_whole_package_and_nothing_else(tmp_path: Path) -> None:
    """Every file of the package is in the wheel; tests, docs and the example are not.

    It is built from an sdist: `build/` in the source tree may hold modules of another day.
    """
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "flask_anam").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == expected | {"flask_anam_pytest.py"}


@pytest.mark.source
def test_metadata_lives_in_one_file() -> None:
    """setup.cfg holds the metadata; a [project] table would silently win over it."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    assert parser["metadata"]["name"] == "Flask-Anam"
    assert "[project]" not in (ROOT / "pyproject.toml").read_text()


@pytest.mark.source
def test_the_lock_holds_what_the_metadata_asks_for() -> None:
    """Each dependency of each extra is locked, in an allowed release, with its hash."""
    text = (ROOT / "requirements.lock").read_text()
    locked: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+) .*\\$", text, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append(Version(version))
    for line in requires("Flask-Anam") or ():
        requirement = Requirement(line)
        versions = locked[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), line
    assert "://" not in text  # which index is asked is for each machine to say
    assert text.count("==") <= text.count("--hash=sha256:")
