"""Session records in a SQL database, through SQLAlchemy Core: for several workers and hosts.

Writing that must be exact among processes happens in a transaction that is alone: on SQLite as
every writing one is, elsewhere by a lock on the row of the user or of the record.
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
    may_start,
    sums,
    unused,
    where,
)
from flask_anam.core.usage.store import SessionStore

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Table

    from flask_anam.core.usage.database import Database
    from flask_anam.core.usage.quotas import Quota

_rows = tables.sessions.c
_FIELDS = [field.name for field in fields(SessionRecord)]
#: Seconds before which no record can still be open: no token and no session lasts so long.
_OPEN_SINCE = 15 * 86400.0
#: Records that one statement of a purge deletes, so that none takes long.
_AT_ONCE = 5000


class SqlSessionStore(SessionStore):
    """Session records in a database. Thread-safe, safe after fork, exact among processes."""

    shared = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: SessionRecord) -> None:
        """Store a record; one of the same token and session is left as it is."""
        try:
            with self._database.writing() as connection:
                self._insert(connection, record)
        except IntegrityError:
            pass

    def reserve(self, record: SessionRecord, quota: Quota) -> SessionRecord:
        """Store a record of a mint to come, if the user's quota has room."""
        since = min([window.since for window in quota.windows] + [quota.now - _OPEN_SINCE])
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
            found = list(connection.execute(select(*columns).where(mine)).one())
            spent = [float(one) for one in found[:-1]]
            granted = quota.granted(record, spent, int(found[-1]))
            self._insert(connection, granted)
        return granted

    def confirm(self, label: str, token_id: str, minted_at: float, expires_at: float) -> None:
        """Note that the mint of a reserved record has worked."""
        facts = {"token_id": token_id, "minted_at": minted_at, "expires_at": expires_at}
        self._update(_rows.label == label, **facts)

    def cancel(self, label: str) -> None:
        """Forget a reserved record: its mint has failed."""
        with self._database.writing() as connection:
            connection.execute(delete(tables.sessions).where(_rows.label == label))

    def refuse(self, user_id: str, token_id: str, at: float) -> None:
        """Note that this user's token failed to start, if no start is known."""
        mine = and_(_rows.token_id == token_id, _rows.user_id == user_id)
        self._update(and_(mine, unused()), refused_at=at)

    def supersede(self, record: SessionRecord, at: float) -> None:
        """Give back other unused tokens of the same user, persona and slot as a record's."""
        here = and_(
            _rows.user_id == record.user_id,
            _rows.slot == record.slot,
            _rows.persona_type == record.persona_type,
            _rows.label != record.label,
        )
        self._update(and_(here, unused()), refused_at=at)

    def start(
        self, user_id: str, token_id: str, session_id: str, at: float, *, again: bool = False
    ) -> SessionRecord | None:
        """Note a start that this user's browser reports; None when it changes nothing."""
        wanted = _select(and_(_rows.token_id == token_id, _rows.user_id == user_id))
        try:
            with self._database.writing() as connection:
                mine = _records(connection, wanted.with_for_update())
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
        """Note the end of this user's session; None when there is none that runs."""
        mine = and_(
            _rows.session_id == session_id, _rows.user_id == user_id, _rows.ended_at.is_(None)
        )
        if label is not None:
            mine = and_(mine, _rows.label == label)
        with self._database.writing() as connection:
            found = _records(connection, _select(mine).with_for_update())
            if not found:
                return None
            record = ended(found[0], at, exit_status)
            self._store(connection, record)
        return record

    def change(self, record_id: int, **changes: object) -> None:
        """Set fields of one record."""
        self._update(_rows.id == record_id, **changes)

    def count(self, counts: Mapping[CountKey, int]) -> None:
        """Add to the counts."""
        table = tables.counts
        with self._database.writing() as connection:
            # In one order everywhere, so that two processes never wait for each other.
            for (start, persona_type, outcome), number in sorted(counts.items()):
                row = {"start": start, "persona_type": persona_type, "outcome": outcome}
                key = ["start", "persona_type", "outcome"]
                more = {"number": table.c.number + number}
                self._upsert(connection, table, {**row, "number": number}, key, more)

    def purge(self, before: float, *, user_id: str | None = None) -> int:
        """Forget records and counts older than `before`; return how many records."""
        old = where(UsageQuery(until=before, user_id=user_id))
        gone = 0
        while True:
            with self._database.writing() as connection:
                ids = connection.execute(select(_rows.id).where(old).limit(_AT_ONCE)).scalars()
                some = list(ids)
                if some:
                    connection.execute(delete(tables.sessions).where(_rows.id.in_(some)))
            gone += len(some)
            if len(some) < _AT_ONCE:
                break
        with self._database.writing() as connection:
            if user_id is None:
                past = tables.counts.c.start + COUNT_BUCKET <= before
                connection.execute(delete(tables.counts).where(past))
            known = select(_rows.id).where(_rows.user_id == tables.users.c.user_id)
            connection.execute(delete(tables.users).where(not_(known.exists())))
        return gone

    def find(
        self,
        *,
        session_id: str | None = None,
        token_id: str | None = None,
        label: str | None = None,
        user_id: str | None = None,
    ) -> list[SessionRecord]:
        """Return the records that have all that is given: one of the first three at least."""
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
        """Return records that Anam has not confirmed, by id from the one after `after`."""
        chosen = where(UsageQuery(since=since, user_id=user_id))
        open_ones = and_(chosen, _rows.source != "anam", _rows.id > after)
        return self._read(_select(open_ones).order_by(_rows.id).limit(limit))

    def sessions(
        self, which: UsageQuery, *, limit: int = 100, before: int | None = None
    ) -> list[SessionRecord]:
        """Return records, newest first."""
        chosen = where(which)
        if before is not None:
            chosen = and_(chosen, _rows.id < before)
        return self._read(_select(chosen).order_by(_rows.id.desc()).limit(limit))

    def running(
        self, now: float, *, user_id: str | None = None, limit: int = 1000
    ) -> list[SessionRecord]:
        """Return sessions that run as far as is known, oldest first."""
        chosen = and_(where(UsageQuery(since=now - _OPEN_SINCE, user_id=user_id)), is_running(now))
        return self._read(_select(chosen).order_by(_rows.id).limit(limit))

    def count_running(self, now: float) -> int:
        """Return how many sessions run as far as is known."""
        chosen = and_(_rows.minted_at >= now - _OPEN_SINCE, is_running(now))
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).where(chosen)).scalar_one())

    def per_user(self, which: UsageQuery, *, limit: int = 1000) -> list[Totals]:
        """Return totals by user and persona, most seconds first."""
        columns = [_rows.user_id, _rows.persona_type]
        found = sums()
        query = select(*columns, *found).where(where(which)).group_by(*columns)
        query = query.order_by(found[-1].desc(), found[0].desc(), *columns).limit(limit)
        with self._database.reading() as connection:
            return [
                Totals(0, row[0], row[1], *_numbers(row[2:])) for row in connection.execute(query)
            ]

    def totals_by_interval(self, which: UsageQuery, seconds: int) -> list[Totals]:
        """Return totals by stretches of so many seconds and persona, in the order of time."""
        start = self._bucket(_rows.minted_at, seconds)
        columns: list[ColumnElement[Any]] = [start, _rows.persona_type, *sums()]
        query = select(*columns).where(where(which))
        query = query.group_by(start, _rows.persona_type).order_by(start, _rows.persona_type)
        with self._database.reading() as connection:
            return [
                Totals(int(row[0]) * seconds, None, row[1], *_numbers(row[2:]))
                for row in connection.execute(query)
            ]

    def duration_histogram(self, which: UsageQuery, edges: Sequence[float]) -> list[int]:
        """Return how many ended sessions lasted at most each of the edges, and one for the rest."""
        above = [-1.0, *edges]
        columns = [
            func.sum(case((and_(_rows.seconds > low, _rows.seconds <= high), 1), else_=0))
            for low, high in zip(above, edges, strict=False)
        ]
        columns.append(func.sum(case((_rows.seconds > above[-1], 1), else_=0)))
        with self._database.reading() as connection:
            found = connection.execute(select(*columns).where(where(which))).one()
        return [int(number or 0) for number in found]

    def counts(self, which: UsageQuery, seconds: int) -> list[OutcomeCount]:
        """Return the counts by stretches of so many seconds."""
        table = tables.counts.c
        start = table.start - table.start % seconds
        chosen: list[ColumnElement[bool]] = []
        if which.since is not None:
            chosen.append(table.start >= which.since)
        if which.until is not None:
            chosen.append(table.start < which.until)
        if which.persona_type is not None:
            chosen.append(table.persona_type == which.persona_type)
        key: list[ColumnElement[Any]] = [start, table.persona_type, table.outcome]
        query = select(*[*key, func.sum(table.number)]).where(*chosen).group_by(*key).order_by(*key)
        with self._database.reading() as connection:
            return [
                OutcomeCount(int(begin), persona, outcome, int(number))
                for begin, persona, outcome, number in connection.execute(query)
            ]

    def upgrade(self) -> tuple[str | None, str]:
        """Bring the schema up to date; return its revision before and after."""
        return self._database.upgrade()

    def close(self) -> None:
        """Close the connections of this process."""
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
        """Be alone with a user until the end of the transaction."""
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
        """Return the number of the stretch of time that a moment falls into."""
        if self._database.dialect == "sqlite":  # its floor() is not always there; CAST cuts off
            return cast(column / float(seconds), Integer)
        return func.floor(column / float(seconds))


def _select(which: ColumnElement[bool]) -> Select[Any]:
    return select(tables.sessions).where(which)


def _records(connection: Connection, query: Select[Any]) -> list[SessionRecord]:
    return [_record(row) for row in connection.execute(query)]


def _record(row: Row[Any]) -> SessionRecord:
    found = row._mapping  # noqa: SLF001 - its public name
    return SessionRecord(**{name: found[name] for name in _FIELDS})


def _numbers(row: Sequence[Any]) -> tuple[int, int, int, float]:
    tokens, sessions, over, seconds = row
    return int(tokens), int(sessions), int(over), float(seconds)
