"""In-memory session store: for one worker, for tests, and without the extra ``analytics``."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.usage.quotas import Quota
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
from flask_anam.core.usage.store import SessionStore

#: Upper limit of records; the oldest are deleted.
MAX_RECORDS = 10_000
#: Seconds for which counts are kept: 31 days, so that the dashboard's month is whole.
KEEP_COUNTS_FOR = 31 * 86400


class MemorySessionStore(SessionStore):
    """In-memory session store: the newest 10,000 records. Thread-safe; lost at the process' end."""

    def __init__(self) -> None:
        self._records: dict[int, SessionRecord] = {}
        self._ids: dict[tuple[str, str], dict[int, None]] = defaultdict(dict)
        self._counts: dict[CountKey, int] = {}
        self._last = 0
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Replace the lock."""
        self._lock = threading.RLock()

    def add(self, record: SessionRecord) -> None:
        with self._lock:
            twins = self._with("session", record.session_id)
            if any(twin.token_id == record.token_id for twin in twins):
                return
            self._last += 1
            self._put(replace(record, id=self._last))
            while len(self._records) > MAX_RECORDS:
                self._drop(next(iter(self._records)))

    def reserve(self, record: SessionRecord, quota: Quota) -> SessionRecord:
        with self._lock:
            mine = list(self._with("user", record.user_id))
            spent = [
                sum(r.billable_seconds(quota.now) for r in mine if r.minted_at >= window.since)
                for window in quota.windows
            ]
            open_now = sum(r.is_running(quota.now) or r.may_start(quota.now) for r in mine)
            granted = quota.granted(record, spent, open_now)
            self.add(granted)
            return granted

    def confirm(self, label: str, token_id: str, minted_at: float, expires_at: float) -> None:
        def minted(record: SessionRecord) -> SessionRecord:
            return replace(record, token_id=token_id, minted_at=minted_at, expires_at=expires_at)

        self._change_where("label", label, minted)

    def cancel(self, label: str) -> None:
        with self._lock:
            for record in self._with("label", label):
                self._drop(record.id)

    def refuse(self, user_id: str, token_id: str, at: float) -> None:
        def refused(record: SessionRecord) -> SessionRecord:
            is_mine = record.user_id == user_id and record.is_unused()
            return replace(record, refused_at=at) if is_mine else record

        self._change_where("token", token_id, refused)

    def supersede(self, record: SessionRecord, at: float) -> None:
        here = (record.persona_type, record.slot)

        def superseded(other: SessionRecord) -> SessionRecord:
            is_same = (other.persona_type, other.slot) == here and other.label != record.label
            return replace(other, refused_at=at) if is_same and other.is_unused() else other

        self._change_where("user", record.user_id, superseded)

    def start(
        self, user_id: str, token_id: str, session_id: str, at: float, *, again: bool = False
    ) -> SessionRecord | None:
        with self._lock:
            mine = [r for r in self._with("token", token_id) if r.user_id == user_id]
            record = started(mine, session_id, at, again=again)
            if record is not None and not record.id:
                self.add(record)
                return self._records[self._last]
            if record is not None:
                self._put(record)
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
        with self._lock:
            for record in self._with("session", session_id):
                is_mine = record.user_id == user_id and label in {None, record.label}
                if is_mine and record.ended_at is None:
                    ended_record = ended(record, at, exit_status)
                    self._put(ended_record)
                    return ended_record
        return None

    def change(self, record_id: int, **changes: object) -> None:
        with self._lock:
            if record_id in self._records:
                self._put(replace(self._records[record_id], **changes))  # type: ignore[arg-type]

    def count(self, counts: Mapping[CountKey, int]) -> None:
        with self._lock:
            size = len(self._counts)
            for key, number in counts.items():
                self._counts[key] = self._counts.get(key, 0) + number
            if len(self._counts) > size:
                self._drop_old_counts(max(start for start, _, _ in counts))

    def purge(self, before: float, *, user_id: str | None = None) -> int:
        with self._lock:
            old = list(self._chosen(UsageQuery(until=before, user_id=user_id)))
            for record in old:
                self._drop(record.id)
            if user_id is None:
                counts = self._counts.items()
                self._counts = {k: n for k, n in counts if k[0] + COUNT_BUCKET > before}
            return len(old)

    def find(
        self,
        *,
        session_id: str | None = None,
        token_id: str | None = None,
        label: str | None = None,
        user_id: str | None = None,
    ) -> list[SessionRecord]:
        with self._lock:
            keys = (("session", session_id), ("token", token_id), ("label", label))
            kind, value = next(key for key in keys if key[1] is not None)
            return [
                record
                for record in self._with(kind, value)
                if token_id in {None, record.token_id}
                and label in {None, record.label}
                and user_id in {None, record.user_id}
            ]

    def pending(
        self, *, since: float, after: int = 0, limit: int = 500, user_id: str | None = None
    ) -> list[SessionRecord]:
        chosen = self._chosen(UsageQuery(since=since, user_id=user_id))
        records = (r for r in chosen if r.source != "anam" and r.id > after)
        return sorted(records, key=lambda record: record.id)[:limit]

    def sessions(
        self, query: UsageQuery, *, limit: int = 100, before: int | None = None
    ) -> list[SessionRecord]:
        records = (r for r in self._chosen(query) if before is None or r.id < before)
        return sorted(records, key=lambda record: -record.id)[:limit]

    def running(
        self, now: float, *, user_id: str | None = None, limit: int = 1000
    ) -> list[SessionRecord]:
        chosen = self._chosen(UsageQuery(user_id=user_id))
        return list(islice((record for record in chosen if record.is_running(now)), limit))

    def count_running(self, now: float) -> int:
        return len(self.running(now, limit=MAX_RECORDS))

    def totals_by_user(self, query: UsageQuery, *, limit: int = 1000) -> list[Totals]:
        totals = self._totals(query, lambda record: (0, record.user_id, record.persona_type))
        totals.sort(key=lambda total: (-total.seconds, -total.tokens, total.user_id or ""))
        return totals[:limit]

    def totals_by_interval(self, query: UsageQuery, seconds: int) -> list[Totals]:
        totals = self._totals(
            query, lambda record: (_start(record.minted_at, seconds), None, record.persona_type)
        )
        return sorted(totals, key=lambda total: (total.start, total.persona_type))

    def duration_histogram(self, query: UsageQuery, edges: Sequence[float]) -> list[int]:
        steps = [0] * (len(edges) + 1)
        for record in self._chosen(query):
            if record.seconds is not None:
                steps[bisect_left(edges, record.seconds)] += 1
        return steps

    def counts(self, query: UsageQuery, seconds: int) -> list[OutcomeCount]:
        sums: Counter[CountKey] = Counter()
        with self._lock:
            counts = list(self._counts.items())
        for (start, persona, outcome), number in counts:
            if query.persona_type in {None, persona} and _in_time(start, query):
                sums[_start(start, seconds), persona, outcome] += number
        return [OutcomeCount(*key, number) for key, number in sorted(sums.items())]

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _totals(
        self, query: UsageQuery, key: Callable[[SessionRecord], tuple[int, str | None, str]]
    ) -> list[Totals]:
        groups: dict[tuple[int, str | None, str], list[SessionRecord]] = defaultdict(list)
        for record in self._chosen(query):
            groups[key(record)].append(record)
        return [
            Totals(
                start,
                user_id,
                persona_type,
                tokens=len(group),
                sessions=sum(record.started_at is not None for record in group),
                ended=sum(record.ended_at is not None for record in group),
                seconds=sum(record.seconds or 0.0 for record in group),
            )
            for (start, user_id, persona_type), group in groups.items()
        ]

    def _chosen(self, query: UsageQuery) -> Iterator[SessionRecord]:
        with self._lock:
            records = list(self._records.values())
        for record in records:
            fits = query.user_id in {None, record.user_id}
            fits = fits and query.persona_type in {None, record.persona_type}
            fits = fits and (record.started_at is not None or not query.started)
            if fits and _in_time(record.minted_at, query):
                yield record

    def _with(self, kind: str, value: str | None) -> list[SessionRecord]:
        """Return the records of a label, token, session or user."""
        if value is None:
            return []
        return [self._records[record_id] for record_id in self._ids.get((kind, value), ())]

    def _change_where(
        self, kind: str, value: str | None, change: Callable[[SessionRecord], SessionRecord]
    ) -> None:
        with self._lock:
            for record in self._with(kind, value):
                self._put(change(record))

    def _put(self, record: SessionRecord) -> None:
        if record.id in self._records:
            self._drop_keys(self._records[record.id])
        self._records[record.id] = record
        for key in _keys(record):
            self._ids[key][record.id] = None

    def _drop(self, record_id: int) -> None:
        self._drop_keys(self._records.pop(record_id))

    def _drop_old_counts(self, newest: int) -> None:
        while (first := next(iter(self._counts)))[0] < newest - KEEP_COUNTS_FOR:
            del self._counts[first]  # they came in the order of time

    def _drop_keys(self, record: SessionRecord) -> None:
        for key in _keys(record):
            self._ids[key].pop(record.id, None)
            if not self._ids[key]:
                del self._ids[key]


def _keys(record: SessionRecord) -> list[tuple[str, str]]:
    pairs = (
        ("label", record.label),
        ("token", record.token_id),
        ("session", record.session_id),
        ("user", record.user_id),
    )
    return [(kind, value) for kind, value in pairs if value is not None]


def _start(moment: float, seconds: int) -> int:
    """Return when the interval of that length begins that a moment falls into."""
    return int(moment // seconds * seconds)


def _in_time(moment: float, query: UsageQuery) -> bool:
    after = query.since is None or moment >= query.since
    return after and (query.until is None or moment < query.until)
