"""SQL session store (SQLAlchemy Core): for several workers and hosts.

Writes that must be exact among processes are serialised: on SQLite every writing transaction is,
elsewhere a row lock on the user or the record does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from flask_anam.core.tokens.token import LONGEST_LIFETIME
from flask_anam.core.usage import sql_tables as tables
from flask_anam.core.usage.records import (
    COUNT_BUCKET,
    CountKey,
    OutcomeCount,
    SessionRecord,
    Totals,
    UsageQuery,
    ended,
    started,
)
from flask_anam.core.usage.sql_filters import (
    billable_seconds,
    is_running,
    is_unused,
    may_start,
    sums,
    where,
)
from flask_anam.core.usage.store import SessionStore

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Table

    from flask_anam.core.usage.database import Database
    from flask_anam.core.usage.quotas import Quota

_rows = tables.sessions.c
_FIELDS = [field.name for field in fields(SessionRecord)]
#: Seconds after its mint from which on a record is never open: the longest token, and a session
#: started with it, are over by then.
_OPEN_FOR = LONGEST_LIFETIME + 86400.0
#: Records that one statement of a purge deletes, so that none takes long.
_PURGE_BATCH = 5000


class SqlSessionStore(SessionStore):
    """SQL session store. Thread-safe, safe after fork, exact among processes."""

    shared = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: SessionRecord) -> None:
        try:
            with self._database.writing() as connection:
                self._insert(connection, record)
        except IntegrityError:
            pass

    def reserve(self, record: SessionRecord, quota: Quota) -> SessionRecord:
        since = min([window.since for window in quota.windows] + [quota.now - _OPEN_FOR])
        seconds = billable_seconds(quota.now)
        columns = [
            func.coalesce(func.sum(case((_rows.minted_at >= window.since, seconds))), 0)
            for window in quota.windows
        ]
        is_open = or_(is_running(quota.now), may_start(quota.now))
        columns.append(func.coalesce(func.sum(case((is_open, 1), else_=0)), 0))
        mine = and_(_rows.user_id == record.user_id, _rows.minted_at >= since)
        with self._database.writing() as connection:
            self._lock_user(connection, record.user_id)
            *spent, open_now = connection.execute(select(*columns).where(mine)).one()
            granted = quota.granted(record, list(map(float, spent)), int(open_now))
            self._insert(connection, granted)
        return granted

    def confirm(self, label: str, token_id: str, minted_at: float, expires_at: float) -> None:
        facts = {"token_id": token_id, "minted_at": minted_at, "expires_at": expires_at}
        self._update(_rows.label == label, **facts)

    def cancel(self, label: str) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(tables.sessions).where(_rows.label == label))

    def refuse(self, user_id: str, token_id: str, at: float) -> None:
        mine = and_(_rows.token_id == token_id, _rows.user_id == user_id)
        self._update(and_(mine, is_unused()), refused_at=at)

    def supersede(self, record: SessionRecord, at: float) -> None:
        here = and_(
            _rows.user_id == record.user_id,
            _rows.slot == record.slot,
            _rows.persona_type == record.persona_type,
            _rows.label != record.label,
        )
        self._update(and_(here, is_unused()), refused_at=at)

    def start(
        self, user_id: str, token_id: str, session_id: str, at: float, *, again: bool = False
    ) -> SessionRecord | None:
        query = _select(and_(_rows.token_id == token_id, _rows.user_id == user_id))
        try:
            with self._database.writing() as connection:
                mine = _records(connection, query.with_for_update())
                record = started(mine, session_id, at, again=again)
                if record is not None:
                    self._store(connection, record)
        except IntegrityError:  # an equal report came at the same time
            return None
        return record

    def end(
        self,
        user_id: str | None,
        session_id: str,
        at: float,
        exit_status: str | None = None,
        *,
        label: str | None = None,
    ) -> SessionRecord | None:
        mine = and_(
            _rows.session_id == session_id, _rows.user_id == user_id, _rows.ended_at.is_(None)
        )
        if label is not None:
            mine = and_(mine, _rows.label == label)
        with self._database.writing() as connection:
            records = _records(connection, _select(mine).with_for_update())
            if not records:
                return None
            record = ended(records[0], at, exit_status)
            self._store(connection, record)
        return record

    def change(self, record_id: int, **changes: object) -> None:
        self._update(_rows.id == record_id, **changes)

    def count(self, counts: Mapping[CountKey, int]) -> None:
        table = tables.counts
        with self._database.writing() as connection:
            # In one order everywhere, so that two processes never wait for each other.
            for (start, persona_type, outcome), number in sorted(counts.items()):
                row = {"start": start, "persona_type": persona_type, "outcome": outcome}
                key = ["start", "persona_type", "outcome"]
                more = {"number": table.c.number + number}
                self._upsert(connection, table, {**row, "number": number}, key, more)

    def purge(self, before: float, *, user_id: str | None = None) -> int:
        old = where(UsageQuery(until=before, user_id=user_id))
        deleted = 0
        while True:
            with self._database.writing() as connection:
                chosen = select(_rows.id).where(old).limit(_PURGE_BATCH)
                ids = list(connection.execute(chosen).scalars())
                if ids:
                    connection.execute(delete(tables.sessions).where(_rows.id.in_(ids)))
            deleted += len(ids)
            if len(ids) < _PURGE_BATCH:
                break
        with self._database.writing() as connection:
            if user_id is None:
                past = tables.counts.c.start + COUNT_BUCKET <= before
                connection.execute(delete(tables.counts).where(past))
            known = select(_rows.id).where(_rows.user_id == tables.users.c.user_id)
            connection.execute(delete(tables.users).where(not_(known.exists())))
        return deleted

    def find(
        self,
        *,
        session_id: str | None = None,
        token_id: str | None = None,
        label: str | None = None,
        user_id: str | None = None,
    ) -> list[SessionRecord]:
        given = [
            column == value
            for column, value in (
                (_rows.session_id, session_id),
                (_rows.token_id, token_id),
                (_rows.label, label),
                (_rows.user_id, user_id),
            )
            if value is not None
        ]
        return self._read(_select(and_(*given)).order_by(_rows.id))

    def pending(
        self, *, since: float, after: int = 0, limit: int = 500, user_id: str | None = None
    ) -> list[SessionRecord]:
        chosen = where(UsageQuery(since=since, user_id=user_id))
        unconfirmed = and_(chosen, _rows.source != "anam", _rows.id > after)
        return self._read(_select(unconfirmed).order_by(_rows.id).limit(limit))

    def sessions(
        self, query: UsageQuery, *, limit: int = 100, before: int | None = None
    ) -> list[SessionRecord]:
        chosen = where(query)
        if before is not None:
            chosen = and_(chosen, _rows.id < before)
        return self._read(_select(chosen).order_by(_rows.id.desc()).limit(limit))

    def running(
        self, now: float, *, user_id: str | None = None, limit: int = 1000
    ) -> list[SessionRecord]:
        chosen = and_(where(UsageQuery(since=now - _OPEN_FOR, user_id=user_id)), is_running(now))
        return self._read(_select(chosen).order_by(_rows.id).limit(limit))

    def count_running(self, now: float) -> int:
        chosen = and_(_rows.minted_at >= now - _OPEN_FOR, is_running(now))
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).where(chosen)).scalar_one())

    def totals_by_user(self, query: UsageQuery, *, limit: int = 1000) -> list[Totals]:
        columns = [_rows.user_id, _rows.persona_type]
        aggregates = sums()
        statement = select(*columns, *aggregates).where(where(query)).group_by(*columns)
        order = (aggregates[-1].desc(), aggregates[0].desc(), *columns)
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(*order).limit(limit))
            return [Totals(0, row[0], row[1], *_numbers(row[2:])) for row in rows]

    def totals_by_interval(self, query: UsageQuery, seconds: int) -> list[Totals]:
        start = self._bucket(_rows.minted_at, seconds)
        columns: list[ColumnElement[Any]] = [start, _rows.persona_type, *sums()]
        statement = select(*columns).where(where(query))
        statement = statement.group_by(*columns[:2]).order_by(*columns[:2])
        with self._database.reading() as connection:
            return [
                Totals(int(row[0]) * seconds, None, row[1], *_numbers(row[2:]))
                for row in connection.execute(statement)
            ]

    def duration_histogram(self, query: UsageQuery, edges: Sequence[float]) -> list[int]:
        above = [-1.0, *edges]
        columns = [
            func.sum(case((and_(_rows.seconds > low, _rows.seconds <= high), 1), else_=0))
            for low, high in zip(above, edges, strict=False)
        ]
        columns.append(func.sum(case((_rows.seconds > above[-1], 1), else_=0)))
        with self._database.reading() as connection:
            numbers = connection.execute(select(*columns).where(where(query))).one()
        return [int(number or 0) for number in numbers]

    def counts(self, query: UsageQuery, seconds: int) -> list[OutcomeCount]:
        table = tables.counts.c
        start = table.start - table.start % seconds
        chosen: list[ColumnElement[bool]] = []
        if query.since is not None:
            chosen.append(table.start >= query.since)
        if query.until is not None:
            chosen.append(table.start < query.until)
        if query.persona_type is not None:
            chosen.append(table.persona_type == query.persona_type)
        key: list[ColumnElement[Any]] = [start, table.persona_type, table.outcome]
        statement = select(*[*key, func.sum(table.number)]).where(*chosen)
        statement = statement.group_by(*key).order_by(*key)
        with self._database.reading() as connection:
            return [
                OutcomeCount(int(begin), persona, outcome, int(number))
                for begin, persona, outcome, number in connection.execute(statement)
            ]

    def upgrade(self) -> tuple[str | None, str]:
        return self._database.upgrade()

    def close(self) -> None:
        self._database.close()

    def _read(self, query: Select[Any]) -> list[SessionRecord]:
        with self._database.reading() as connection:
            return _records(connection, query)

    def _update(self, which: ColumnElement[bool], **changes: object) -> None:
        with self._database.writing() as connection:
            connection.execute(update(tables.sessions).where(which).values(**changes))

    def _insert(self, connection: Connection, record: SessionRecord) -> None:
        facts = asdict(record)
        del facts["id"]
        connection.execute(insert(tables.sessions).values(**facts))

    def _store(self, connection: Connection, record: SessionRecord) -> None:
        if not record.id:
            self._insert(connection, record)
            return
        here = _rows.id == record.id
        connection.execute(update(tables.sessions).where(here).values(**asdict(record)))

    def _lock_user(self, connection: Connection, user_id: str | None) -> None:
        """Lock a user until the end of the transaction."""
        if self._database.dialect != "sqlite":
            more = {"turn": tables.users.c.turn + 1}
            row = {"user_id": user_id, "turn": 1}
            self._upsert(connection, tables.users, row, ["user_id"], more)

    def _upsert(
        self,
        connection: Connection,
        table: Table,
        row: Mapping[str, object],
        key: list[str],
        changes: Mapping[str, Any],
    ) -> None:
        if self._database.dialect in {"mysql", "mariadb"}:
            from sqlalchemy.dialects.mysql import insert as mysql_insert

            connection.execute(mysql_insert(table).values(**row).on_duplicate_key_update(**changes))
            return
        if self._database.dialect == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as upsert
        else:
            from sqlalchemy.dialects.sqlite import insert as upsert  # type: ignore[assignment]
        statement = upsert(table).values(**row)
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changes))

    def _bucket(self, column: ColumnElement[float], seconds: int) -> ColumnElement[int]:
        """Return the number of the interval that a moment falls into."""
        if self._database.dialect == "sqlite":  # its floor() is not always there; CAST cuts off
            return cast(column / float(seconds), Integer)
        return func.floor(column / float(seconds))


def _select(which: ColumnElement[bool]) -> Select[Any]:
    return select(tables.sessions).where(which)


def _records(connection: Connection, query: Select[Any]) -> list[SessionRecord]:
    return [_record(row) for row in connection.execute(query)]


def _record(row: Row[Any]) -> SessionRecord:
    values = row._mapping  # noqa: SLF001 - its public name
    return SessionRecord(**{name: values[name] for name in _FIELDS})


def _numbers(row: Sequence[Any]) -> tuple[int, int, int, float]:
    tokens, sessions, ended_sessions, seconds = row
    return int(tokens), int(sessions), int(ended_sessions), float(seconds)
