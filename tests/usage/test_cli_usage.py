"""The commands, as an operator runs them."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hosts import ADA, BOB
from usage.conftest import World

from flask_anam.core.usage.records import UsageQuery
from flask_anam.sandbox import Sandbox


def run(world: World, *args: str, status: int = 0) -> str:
    """Run a command; return what it printed."""
    result = world.app.test_cli_runner().invoke(args=["anam", *args])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def busy(world: World, database_url: str) -> World:
    """Return an app in which ada has talked for 90 seconds and bob is still talking."""
    world.make(database_url)
    session_id = world.talk(ADA, "a")
    world.clock.move(90)
    world.end(ADA, session_id)
    world.talk(BOB, "b")
    return world


@pytest.mark.slow
def test_usage_shows_who_has_talked_for_how_long(busy: World) -> None:
    """One line per user and persona, most minutes first, for the time and user wanted."""
    lines = run(busy, "usage").splitlines()
    assert [line.split() for line in lines] == [
        ["USER", "PERSONA", "TOKENS", "SESSIONS", "MINUTES"],
        ["ada", "support", "1", "1", "1.5"],
        ["bob", "support", "1", "1", "0.0"],
    ]
    assert all(len(line) <= 80 for line in lines)
    assert "ada" not in run(busy, "usage", "--user", "bob")
    assert run(busy, "usage", "--persona", "coach") == "No usage yet.\n"
    assert run(busy, "usage", "--until", "2020-01-01") == "No usage yet.\n"
    assert "ada" in run(busy, "usage", "--since", "2020-01-01T10:00:00+02:00")


@pytest.mark.slow
def test_usage_as_csv_is_for_bills(busy: World) -> None:
    """Exact seconds, and nothing that a spreadsheet would run."""
    rows = list(csv.DictReader(io.StringIO(run(busy, "usage", "--csv"))))
    assert [(row["user_id"], row["sessions"], row["seconds"]) for row in rows] == [
        ("ada", "1", "90.0"),
        ("bob", "1", "0.0"),
    ]


def test_sessions_are_listed(busy: World) -> None:
    """Newest first; only running ones; all that is recorded as CSV."""
    lines = run(busy, "sessions").splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["bob", "ada"]
    assert ("running" in lines[1], "ended" in lines[2], "90 s" in lines[2]) == (True, True, True)
    assert run(busy, "sessions", "--running", "--persona", "coach") == "No sessions yet.\n"
    running = run(busy, "sessions", "--running")
    assert ("bob" in running, "ada" in running) == (True, False)
    assert len(run(busy, "sessions", "--limit", "1").splitlines()) == 2
    (row,) = csv.DictReader(io.StringIO(run(busy, "sessions", "--user", "ada", "--csv")))
    assert (row["seconds"], row["source"], row["state"]) == ("90.0", "report", "ended")
    assert row["label"].startswith("flask-anam.")


def test_old_records_are_purged(busy: World) -> None:
    """By age or moment; of one user, if wanted."""
    assert run(busy, "usage", "purge", "--older-than", "2020-01-01").startswith("0 ")
    assert run(busy, "usage", "purge", "--older-than", "2099-01-01", "--user", "ada") == (
        "1 session records are deleted.\n"
    )
    assert run(busy, "usage", "purge", "--older-than", "2099-01-01").startswith("1 ")
    assert busy.recorder.store.sessions(UsageQuery()) == []
    assert "nor an age such as 7d" in run(busy, "usage", "purge", "--older-than", "old", status=2)
    assert "--older-than" in run(busy, "usage", "purge", status=2)
    assert run(busy, "usage", "purge", "--older-than", "30d").startswith("0 ")


def test_a_session_is_stopped(busy: World) -> None:
    """By its id, and only if a user has it, where one is named."""
    (running,) = busy.recorder.store.running(busy.clock.now)
    session_id = str(running.session_id)
    assert "not_found" in run(busy, "stop", session_id, "--user", "ada", status=1)
    assert run(busy, "stop", session_id, "--user", "bob") == "The session is stopped.\n"
    assert "No session of this app" in run(busy, "stop", "nonsense", status=1)
    assert busy.recorder.store.running(busy.clock.now) == []


def test_reconcile_tells_what_it_found(busy: World) -> None:
    """And fails where Anam could not be asked, so that cron says so."""
    output = run(busy, "reconcile")
    assert output.endswith("0 settled, 2 running, 0 waiting, 0 never used, 0 failed.\n")
    busy.sandbox.fail_next(403, path="/v1/sessions")
    busy.sandbox.fail_next(403, path="/v1/sessions")
    assert "2 failed" in run(busy, "reconcile", "--limit", "5", status=1)


@pytest.mark.slow
def test_the_tables_are_brought_up_to_date(world: World, database_url: str) -> None:
    """What was before and is now; nothing to do is fine."""
    world.make(database_url)
    assert run(world, "db", "upgrade") == "The tables are brought from nothing to 0001.\n"
    assert run(world, "db", "upgrade") == "The tables are up to date (0001).\n"


def test_without_a_database_there_is_nothing_to_upgrade(world: World) -> None:
    """It says which setting is in question."""
    world.make("memory://")
    assert "ANAM_USAGE_URL names no database" in run(world, "db", "upgrade", status=1)


def test_long_and_odd_names_fit_a_table(world: World) -> None:
    """They are cut, and cannot paint the terminal."""
    world.make("memory://")
    with world.app.app_context():
        world.anam.create_token("support", user_id="x" * 200)
        world.anam.create_token("support", user_id="red\x1b[31m")
        world.anam.create_token("support", user_id="=1+1")
    output = run(world, "usage")
    assert "\x1b" not in output
    assert "x" * 35 + "…" in output
    assert "'=1+1" in run(world, "usage", "--csv")


def test_a_sandbox_of_its_own_has_no_sessions(sandbox: Sandbox, world: World, **_: Any) -> None:
    """Nothing to ask for is no failure."""
    world.make("memory://")
    assert "0 failed" in run(world, "reconcile")
