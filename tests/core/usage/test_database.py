"""The tables: made and changed forward, by whoever comes first, beside those of the host."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect

from flask_anam.core.usage import database, sql_tables
from flask_anam.core.usage.database import HEAD, MIGRATIONS, VERSION_TABLE, Database
from flask_anam.core.usage.records import UsageQuery
from flask_anam.core.usage.sql_store import SqlSessionStore


def test_the_migrations_lead_to_the_tables_of_this_release(database_url: str) -> None:
    """From nothing; and there is nothing left to be done."""
    opened = Database(database_url)
    assert opened.upgrade() == (None, HEAD)
    assert opened.upgrade() == (HEAD, HEAD)
    with opened.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, sql_tables.metadata) == []
    opened.close()


def test_the_newest_migration_is_the_one_we_know() -> None:
    """Or no database would ever be brought to it."""
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD
    assert [path.name[1:5] for path in (MIGRATIONS / "versions").glob("v*.py")] == [HEAD]


@pytest.mark.parametrize("kind", [mysql.dialect, MariaDBDialect])
def test_mysql_keeps_bytes(kind: Any) -> None:
    """Its texts ignore blanks at their end, which would make one of two users."""
    (script,) = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    for table in sql_tables.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, sql_tables.ExactText):
                length = column.type.length
                made = [column.type, script.module._text(length)]
                compiled = {type_.compile(dialect=kind()) for type_ in made}
                assert compiled == {f"VARBINARY({4 * length})"}
    column_type: Any = sql_tables.sessions.c.user_id.type
    assert column_type.bind_processor(kind())("ädä ") == "ädä ".encode()
    assert column_type.result_processor(kind(), None)("ädä ".encode()) == "ädä "


def test_nobody_else_can_read_a_file(tmp_path: Path) -> None:
    """It says who talked when; SQLite makes what is beside it alike. An old file stays as it is."""
    path = tmp_path / "own" / "usage.sqlite"
    opened = Database(f"sqlite:///{path}")
    opened.upgrade()
    with opened.writing() as connection:
        connection.execute(text("DELETE FROM anam_users"))
        made = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert len(made) == 3
    assert set(made.values()) == {0o600}
    opened.close()
    path.chmod(0o640)
    again = Database(f"sqlite:///{path}")
    again.upgrade()
    again.close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_many_may_begin_at_once(database_url: str) -> None:
    """Each with connections of its own: the tables are made once, and all go on."""
    opened = [Database(database_url) for _ in range(4)]
    gate, results = threading.Barrier(4), []

    def begin(number: int) -> None:
        gate.wait()
        results.append(SqlSessionStore(opened[number]).sessions(UsageQuery()))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[]] * 4
    for connected in opened:
        connected.close()


def test_the_tables_of_the_host_stay_as_they_are(database_url: str) -> None:
    """Its own Alembic version too."""
    opened = Database(database_url)
    with opened._open().begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('host')"))
    opened.upgrade()
    with opened.reading() as connection:
        assert connection.execute(text("SELECT * FROM alembic_version")).all() == [("host",)]
        ours = {name for name in inspect(connection).get_table_names() if "anam" in name}
    assert ours == {"anam_sessions", "anam_users", "anam_counts", VERSION_TABLE}
    opened.close()


def test_a_later_schema_is_used_as_it_is(
    database_url: str, logged: pytest.LogCaptureFixture
) -> None:
    """After a release is taken back, nothing is changed backwards."""
    opened = Database(database_url)
    opened.upgrade()
    with opened.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    opened.close()
    again = Database(database_url)
    assert again.upgrade() == ("9999", "9999")
    assert "of a later release (9999)" in logged.text
    assert SqlSessionStore(again).sessions(UsageQuery()) == []
    again.close()


def test_a_migration_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one transaction, and is tried again by the next one who comes."""
    url = f"sqlite:///{tmp_path}/usage.sqlite"
    opened = Database(url)

    def broken(connection: Any) -> None:
        migrate(connection)
        raise OSError

    migrate = database._migrate
    monkeypatch.setattr(database, "_migrate", broken)
    with pytest.raises(OSError):  # noqa: PT011 - raised above
        opened.upgrade()
    monkeypatch.undo()
    with opened._open().connect() as connection:
        assert inspect(connection).get_table_names() == []
    assert opened.upgrade() == (None, HEAD)
    opened.close()


def test_a_fork_opens_connections_of_its_own(database_url: str, record: Any) -> None:
    """The parent's are left to the parent, which goes on using them."""
    import os

    store = SqlSessionStore(Database(database_url))
    store.add(record("parent"))
    child = os.fork()
    if child == 0:
        store.add(record("child"))
        os._exit(0 if len(store.sessions(UsageQuery())) == 2 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert {r.token_id for r in store.sessions(UsageQuery())} == {"parent", "child"}
    store.close()
