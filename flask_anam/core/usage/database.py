"""SQL database of session records: engine, transactions, time limits and schema migrations.

SQLAlchemy is imported only when a database is opened, Alembic only when a schema must be changed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.usage.records import Unstorable
from flask_anam.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

log = logging.getLogger("flask_anam")

#: The newest schema revision that this release knows.
HEAD = "0001"
#: The table in which a database has its own revision.
VERSION_TABLE = "anam_alembic_version"
MIGRATIONS = Path(__file__).parent / "migrations"
#: Seconds to wait for a connection.
CONNECT_WITHIN = 2
#: Seconds to wait for a lock.
LOCK_WITHIN = 3
#: Seconds that one statement that writes may take.
WRITE_WITHIN = 5
#: Seconds that one statement that only reads may take.
READ_WITHIN = 60
#: Seconds to wait while another process changes the schema.
MIGRATE_WITHIN = 60
#: Seconds after which a pooled connection is replaced.
RECYCLE_AFTER = 1800
#: Drivers, by backend; the first that is installed is used when a URL names none.
_DRIVERS = {"postgresql": ("psycopg", "psycopg2"), "mysql": ("pymysql", "MySQLdb")}
_DRIVERS["mariadb"] = _DRIVERS["mysql"]
#: Key of the advisory lock of our migrations on PostgreSQL: "flanam" in ASCII.
_ADVISORY_LOCK = 0x666C616E616D

#: Alembic keeps its state in module globals, so that only one thread may use it at a time.
_migrating = threading.Lock()


class Database:
    """Database: one engine, opened at its first use. Thread-safe; a forked child opens its own.

    Args:
        url: an SQLAlchemy URL of SQLite, PostgreSQL, MySQL or MariaDB; may hold a password.

    """

    def __init__(self, url: str) -> None:
        """Check the URL and that the libraries are installed; nothing is connected to yet.

        Raises:
            ConfigError: the URL is not a database URL, or a library or driver is missing.

        """
        self._url = _checked(url)
        self._engine: Engine | None = None
        self._current = False
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Forget a parent's connections without closing them: their sockets are shared."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose(close=False)
        self._opening = threading.Lock()
        self._writing = threading.Lock()

    @property
    def dialect(self) -> str:
        """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
        return self._url.get_backend_name()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that is committed at the end.

        Raises:
            Unstorable: the database does not take a value.
            TimeoutError: other threads write to SQLite for `LOCK_WITHIN` seconds.

        """
        if self.dialect != "sqlite":
            with _unstorable_values(), self._ready().begin() as connection:
                yield connection
            return
        # Threads of one process queue here: SQLite would let them retry in random order.
        if not self._writing.acquire(timeout=LOCK_WITHIN):
            raise TimeoutError("The database is busy.")
        try:
            with _unstorable_values(), self._ready().connect() as connection:
                writer = connection.execution_options(anam_writes=True)
                with writer.begin():
                    yield writer
        finally:
            self._writing.release()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for queries that take up to `READ_WITHIN` seconds.

        Raises:
            Unstorable: the database does not take a value of a condition.

        """
        with _unstorable_values(), self._ready().begin() as connection:
            if self.dialect == "postgresql":
                limit = f"SET LOCAL statement_timeout = '{READ_WITHIN}s'"
                connection.exec_driver_sql(limit)
            yield connection

    def upgrade(self) -> tuple[str | None, str]:
        """Migrate the schema, forward only; return its revision before and after.

        Several processes may do this at the same time: one migrates, the others wait for it.
        """
        with self._opening:
            return self._upgrade(self._open())

    def close(self) -> None:
        """Close the connections of this process."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _ready(self) -> Engine:
        if self._current and self._engine is not None:
            return self._engine
        # While the first thread waits for a database that is down, the others must not queue.
        if not self._opening.acquire(timeout=LOCK_WITHIN):
            raise TimeoutError("The database is being opened.")
        try:
            engine = self._open()
            if not self._current:
                self._upgrade(engine)
            return engine
        finally:
            self._opening.release()

    def _upgrade(self, engine: Engine) -> tuple[str | None, str]:
        before = _revision(engine)
        if before != HEAD and not _is_newer(before):
            with _migrating, engine.connect() as connection:
                writer = connection.execution_options(anam_writes=True)
                with writer.begin(), _migration_lock(writer, self.dialect):
                    _migrate(writer)
        self._current = True
        return before, _revision(engine) or HEAD

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = _make_engine(self._url)
        return self._engine


@contextmanager
def _unstorable_values() -> Iterator[None]:
    """Raise Unstorable for a value that the database does not take; other errors pass.

    Some drivers refuse values themselves: sqlite3 numbers that are too large, psycopg2 a NUL.
    """
    from sqlalchemy.exc import DataError, StatementError

    try:
        yield
    except (OverflowError, ValueError) as exc:
        raise Unstorable(type(exc).__name__) from None
    except StatementError as exc:
        if isinstance(exc, DataError) or isinstance(exc.orig, OverflowError | ValueError):
            raise Unstorable(type(exc.orig).__name__) from None
        raise


def _checked(url: str) -> URL:
    if find_spec("sqlalchemy") is None or find_spec("alembic") is None:
        raise ConfigError(
            "ANAM_USAGE_URL needs SQLAlchemy and Alembic: pip install 'Flask-Anam[analytics]'. "
            "Or set it to memory://."
        )
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError("ANAM_USAGE_URL is not a database URL.") from None
    backend = "postgresql" if parsed.drivername == "postgres" else parsed.drivername
    for driver in _DRIVERS.get(backend, ()):
        if find_spec(driver):
            backend = f"{backend}+{driver.lower()}"
            break
    parsed = parsed.set(drivername=backend)
    try:
        parsed.get_dialect().import_dbapi()
    except (NoSuchModuleError, ImportError) as exc:
        raise ConfigError(f"ANAM_USAGE_URL cannot be used: {exc}. Install its driver.") from None
    return parsed


def _make_engine(url: URL) -> Engine:
    from sqlalchemy import create_engine, event

    backend = url.get_backend_name()
    options: dict[str, Any] = {"connect_args": _connect_args(url), "hide_parameters": True}
    if backend == "sqlite":
        _make_file(Path(str(url.database)))
    else:
        options |= {"pool_pre_ping": True, "pool_timeout": CONNECT_WITHIN}
        options |= {"pool_recycle": RECYCLE_AFTER, "isolation_level": "READ COMMITTED"}
    engine = create_engine(url, **options)
    if backend == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_file(path: Path) -> None:
    """Create the file of an SQLite database with rights for its owner only: it is personal data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not str(path).startswith("file:"):  # SQLite parses such a path itself
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _connect_args(url: URL) -> dict[str, Any]:
    """Return the time limits for a driver; those in the query of the URL take precedence."""
    driver = url.get_driver_name()
    args: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        args = {"timeout": LOCK_WITHIN}
    elif driver in {"psycopg", "psycopg2"}:
        limits = f"-c lock_timeout={LOCK_WITHIN}s -c statement_timeout={WRITE_WITHIN}s"
        args = {"connect_timeout": CONNECT_WITHIN, "options": limits}
        args["tcp_user_timeout"] = WRITE_WITHIN * 1000
    elif driver in {"pymysql", "mysqldb"}:
        args = {"connect_timeout": CONNECT_WITHIN, "write_timeout": WRITE_WITHIN}
        args |= {"read_timeout": READ_WITHIN}
        args["init_command"] = f"SET innodb_lock_wait_timeout={LOCK_WITHIN}"
    return {name: value for name, value in args.items() if name not in url.query}


def _set_up_sqlite(raw: Any, _: object) -> None:
    import sqlite3

    raw.isolation_level = None  # transactions begin in _begin_sqlite only
    with suppress(sqlite3.OperationalError):  # another process does so at the same time
        raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("anam_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(engine: Engine) -> str | None:
    """Return the revision of a database, or None for an empty one."""
    from sqlalchemy import inspect, text

    if not inspect(engine).has_table(VERSION_TABLE):
        return None
    query = text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    with engine.connect() as connection:
        revision = connection.execute(query).scalar()
    return None if revision is None else str(revision)


def _is_newer(revision: str | None) -> bool:
    """Whether a database is of a later release; then it is used as it is."""
    if revision is None or any((MIGRATIONS / "versions").glob(f"v{revision}_*.py")):
        return False
    log.warning("The usage database is of a later release (%s); it is left as it is.", revision)
    return True


@contextmanager
def _migration_lock(connection: Connection, dialect: str) -> Iterator[None]:
    """Hold a lock while migrating; on SQLite the transaction itself is one."""
    if dialect == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{MIGRATE_WITHIN}s'")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{MIGRATE_WITHIN}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    elif dialect in {"mysql", "mariadb"}:
        name = f"'{VERSION_TABLE}'"
        result = connection.exec_driver_sql(f"SELECT GET_LOCK({name}, {MIGRATE_WITHIN})").scalar()
        if result != 1:
            raise TimeoutError("Another process is changing the schema.")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT RELEASE_LOCK({name})")
        return
    yield


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
