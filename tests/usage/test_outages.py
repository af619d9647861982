"""A store that is down stops no token, and says so once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hosts import ADA, BOB, PERSONA, TOKEN_PATH, make_app
from servers.postgres import Postgres
from usage.conftest import World
from usage.test_limits import code
from usage.workers import SEARCH

from flask_anam.core.usage.records import UsageQuery
from flask_anam.errors import ConfigError
from flask_anam.metrics.collector import read_metrics
from flask_anam.sandbox import Sandbox


@pytest.fixture
def own_postgres(postgres: Postgres) -> Any:
    """Yield a PostgreSQL that runs again when the test is over."""
    yield postgres
    postgres.stop()
    postgres.start()


def test_tokens_come_while_the_database_is_down(
    world: World, own_postgres: Postgres, logged: pytest.LogCaptureFixture
) -> None:
    """What is lost is counted, one line is logged, and all is well when it is back."""
    world.make(own_postgres.database(), ANAM_CONCURRENT_SESSIONS=1)
    world.token(ADA, "before")
    own_postgres.stop()
    for number in range(3):
        token = world.token(ADA, str(number))
        world.report(ADA, token, f"s{number}")
        world.end(ADA, f"s{number}")
        world.clock.move(6)
    assert read_metrics(world.state)["usage_records_lost"] == 9
    assert logged.text.count("Usage cannot be recorded") == 1
    own_postgres.start()
    world.clock.move(6)
    assert world.ask(ADA, "after").get_json()["code"] == "too_many_sessions"
    session_id = world.talk(ADA, "before")
    assert len(world.recorder.store.find(session_id=session_id)) == 1
    own_postgres.stop()
    world.clock.move(6)
    world.token(ADA, "again")
    assert logged.text.count("Usage cannot be recorded") == 2


#: What a user may send that is no id, or too large for a column: method, path and body.
STRANGE: dict[str, tuple[str, str, Any]] = {
    "end": ("POST", "/anam/sessions/%00/end", {}),
    "stop": ("DELETE", "/anam/sessions/a%00b", {}),
    "start": ("POST", "/anam/sessions", {"tokenId": "\0" * 16, "sessionId": "s-1"}),
    "refused": ("POST", TOKEN_PATH, {"slot": "x", "refused": "\0" * 16}),
    "long": ("POST", TOKEN_PATH, {"slot": "y", "overrides": {"maxSessionLengthSeconds": 3e9}}),
    "longest": ("POST", TOKEN_PATH, {"slot": "z", "overrides": {"maxSessionLengthSeconds": 1e300}}),
}


@pytest.mark.parametrize(("method", "path", "body"), STRANGE.values(), ids=STRANGE)
def test_no_user_can_stop_the_recording_for_all(
    world: World, usage_url: str, method: str, path: str, body: Any
) -> None:
    """A value that a database does not take is no outage, in which limits would not be kept."""
    persona = {**PERSONA, "overrides": ["maxSessionLengthSeconds"]}
    world.make(usage_url, ANAM_CONCURRENT_SESSIONS=1, ANAM_PERSONAS={"support": persona})
    world.token(ADA, "first")
    answer = world.client(BOB).open(path, method=method, json=body)
    assert answer.status_code in {200, 204, 404, 422}
    assert code(world.ask(ADA, "second")) == "too_many_sessions"
    assert read_metrics(world.state)["usage_records_lost"] == 0


def test_a_value_that_no_database_takes_is_no_outage(
    world: World, database_url: str, logged: pytest.LogCaptureFixture
) -> None:
    """Should one come through all the same, it is lost alone; the log quotes nothing of it."""
    world.make(database_url)
    assert world.recorder.running_sessions("SENTINEL \ud800") == []
    assert "The usage store does not take a value (UnicodeEncodeError)." in logged.text
    assert "SENTINEL" not in logged.text
    world.token(ADA, "tab")
    assert read_metrics(world.state)["usage_records_lost"] == 0


def test_a_failing_store_is_left_alone_for_five_seconds(world: World, tmp_path: Any) -> None:
    """It is not even asked, so that no request pays twice."""
    folder = tmp_path / "usage"
    folder.write_text("not a folder")
    world.make(f"sqlite:///{folder}/usage.sqlite")
    world.token(ADA, "a")
    folder.unlink()
    world.token(ADA, "b")
    assert not folder.exists()
    world.clock.move(5)
    world.token(ADA, "c")
    assert [r.slot is not None for r in world.recorder.store.sessions(UsageQuery())] == [True]
    assert read_metrics(world.state)["usage_records_lost"] == 2


def test_counts_wait_for_the_database(world: World, tmp_path: Any) -> None:
    """They are kept while it is down, and written when it is back."""
    folder = tmp_path / "usage"
    folder.write_text("not a folder")
    world.make(f"sqlite:///{folder}/usage.sqlite")
    world.token(ADA, "a")
    world.recorder.flush()
    folder.unlink()
    world.clock.move(6)
    world.token(ADA, "b")
    world.recorder.flush()
    assert sum(count.number for count in world.recorder.store.counts(UsageQuery(), 300)) == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+nonsense://h/d", "Install its driver"),
        ("mysql://h:port/d", "not a database URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_at_once(
    sandbox: Sandbox, url: str, words: str
) -> None:
    """At start-up where it can be known, without the URL, which may hold a password."""
    with pytest.raises(ConfigError, match=words):
        make_app(sandbox, ANAM_USAGE_URL=url)


WITHOUT = """
import sys, importlib.machinery
class Missing(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "alembic" else super().find_spec(name, path, target)
sys.meta_path = [Missing if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
"""
MINT = """
from hosts import make_host, PERSONA
from flask_anam import FlaskAnam
app = make_host(ANAM_SANDBOX=True, ANAM_PERSONAS={"support": PERSONA}, ANAM_USAGE_URL=None)
app.instance_path = sys.argv[1]
anam = FlaskAnam(app)
with app.app_context():
    anam.create_token("support", user_id="ada")
print(type(app.extensions["anam"].recorder.store).__name__, "sqlalchemy" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "store"),
    [(WITHOUT + MINT, "MemorySessionStore False"), ("import sys" + MINT, "SqlSessionStore True")],
    ids=["without the extra", "with it"],
)
def test_records_go_to_the_instance_folder_with_the_extra(
    tmp_path: Path, script: str, store: str
) -> None:
    """Without it they stay in memory, and SQLAlchemy is not even imported."""
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "instance")],
        capture_output=True,
        text=True,
        check=True,
        env=SEARCH,
        timeout=120,
    )
    assert run.stdout.strip() == store
    made = {path.name for path in tmp_path.glob("instance/*.sqlite")}
    assert made == ({"anam-usage.sqlite"} if "Sql" in store else set())


def test_the_missing_extra_is_named(tmp_path: Path) -> None:
    """Where a database is asked for, with the command that installs it."""
    asked = MINT.replace("ANAM_USAGE_URL=None", 'ANAM_USAGE_URL="sqlite:////tmp/x.sqlite"')
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT + asked, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=SEARCH,
        timeout=120,
    )
    assert run.returncode == 1
    assert "pip install 'Flask-Anam[analytics]'" in run.stderr


def test_hashed_ids_need_a_secret(sandbox: Sandbox, tmp_path: Any) -> None:
    """Else tomorrow's hashes would be others."""
    url = f"sqlite:///{tmp_path}/usage.sqlite"
    with pytest.raises(ConfigError, match="needs SECRET_KEY"):
        make_app(sandbox, ANAM_USAGE_URL=url, ANAM_USAGE_USER_IDS="hashed", SECRET_KEY=None)
