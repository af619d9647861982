"""Session records in the memory of this process: for one worker, for tests, and without extras."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

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

#: Records kept at most, and stretches of time for which counts are kept (31 days).
MAX_RECORDS, MAX_BUCKETS = 10_000, 31 * 86400 // COUNT_BUCKET


class MemorySessionStore(SessionStore):
    """The newest 10,000 records of this process. Thread-safe; lost when the process ends."""

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
        """Store a record; one of the same token and session is left as it is."""
        with self._lock:
            twins = self._with("session", record.session_id)
            if any(twin.token_id == record.token_id for twin in twins):
                return
            self._last += 1
            self._put(replace(record, id=self._last))
            while len(self._records) > MAX_RECORDS:
                self._drop(next(iter(self._records)))

    def reserve(self, record: SessionRecord, quota: Quota) -> SessionRecord:
        """Store a record of a mint to come, if the user's quota has room."""
        with self._lock:
            mine = list(self._with("user", record.user_id))
            spent = [
                sum(
                    one.billable_seconds(quota.now) for one in mine if one.minted_at >= window.since
                )
                for window in quota.windows
            ]
            busy = sum(one.is_running(quota.now) or one.may_start(quota.now) for one in mine)
            granted = quota.granted(record, spent, busy)
            self.add(granted)
            return granted

    def confirm(self, label: str, token_id: str, minted_at: float, expires_at: float) -> None:
        """Note that the mint of a reserved record has worked."""

        def minted(one: SessionRecord) -> SessionRecord:
            return replace(one, token_id=token_id, minted_at=minted_at, expires_at=expires_at)

        self._change_where("label", label, minted)

    def cancel(self, label: str) -> None:
        """Forget a reserved record: its mint has failed."""
        with self._lock:
            for record in self._with("label", label):
                self._drop(record.id)

    def refuse(self, user_id: str, token_id: str, at: float) -> None:
        """Note that this user's token failed to start, if no start is known."""

        def refused(one: SessionRecord) -> SessionRecord:
            mine = one.user_id == user_id and one.started_at is None and one.refused_at is None
            return replace(one, refused_at=at) if mine else one

        self._change_where("token", token_id, refused)

    def supersede(self, record: SessionRecord, at: float) -> None:
        """Give back other unused tokens of the same user, persona and slot as a record's."""
        here = (record.persona_type, record.slot)

        def old(one: SessionRecord) -> SessionRecord:
            unused = one.started_at is None and one.refused_at is None
            same = (one.persona_type, one.slot) == here and one.label != record.label
            return replace(one, refused_at=at) if unused and same else one

        self._change_where("user", record.user_id, old)

    def start(
        self, user_id: str, token_id: str, session_id: str, at: float, *, again: bool = False
    ) -> SessionRecord | None:
        """Note a start that this user's browser reports; None when it changes nothing."""
        with self._lock:
            mine = [one for one in self._with("token", token_id) if one.user_id == user_id]
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
        """Note the end of this user's session; None when there is none that runs."""
        with self._lock:
            for record in self._with("session", session_id):
                mine = record.user_id == user_id and label in {None, record.label}
                if mine and record.ended_at is None:
                    over = ended(record, at, exit_status)
                    self._put(over)
                    return over
        return None

    def change(self, record_id: int, **changes: object) -> None:
        """Set fields of one record."""
        with self._lock:
            if record_id in self._records:
                self._put(replace(self._records[record_id], **changes))  # type: ignore[arg-type]

    def count(self, counts: Mapping[CountKey, int]) -> None:
        """Add to the counts."""
        with self._lock:
            known = len(self._counts)
            for key, number in counts.items():
                self._counts[key] = self._counts.get(key, 0) + number
            if len(self._counts) > known:
                self._forget_old_counts(max(start for start, _, _ in counts))

    def purge(self, before: float, *, user_id: str | None = None) -> int:
        """Forget records and counts older than `before`; return how many records."""
        with self._lock:
            old = [one.id for one in self._chosen(UsageQuery(until=before, user_id=user_id))]
            for record_id in old:
                self._drop(record_id)
            if user_id is None:
                kept = {k: n for k, n in self._counts.items() if k[0] + COUNT_BUCKET > before}
                self._counts = kept
            return len(old)

    def find(
        self,
        *,
        session_id: str | None = None,
        token_id: str | None = None,
        label: str | None = None,
        user_id: str | None = None,
    ) -> list[SessionRecord]:
        """Return the records that have all that is given: one of the first three at least."""
        with self._lock:
            keys = (("session", session_id), ("token", token_id), ("label", label))
            kind, value = next(key for key in keys if key[1] is not None)
            return [
                one
                for one in self._with(kind, value)
                if token_id in {None, one.token_id}
                and label in {None, one.label}
                and user_id in {None, one.user_id}
            ]

    def pending(
        self, *, since: float, after: int = 0, limit: int = 500, user_id: str | None = None
    ) -> list[SessionRecord]:
        """Return records that Anam has not confirmed, by id from the one after `after`."""
        chosen = self._chosen(UsageQuery(since=since, user_id=user_id))
        found = (one for one in chosen if one.source != "anam" and one.id > after)
        return sorted(found, key=lambda one: one.id)[:limit]

    def sessions(
        self, which: UsageQuery, *, limit: int = 100, before: int | None = None
    ) -> list[SessionRecord]:
        """Return records, newest first."""
        found = [one for one in self._chosen(which) if before is None or one.id < before]
        return sorted(found, key=lambda one: -one.id)[:limit]

    def running(
        self, now: float, *, user_id: str | None = None, limit: int = 1000
    ) -> list[SessionRecord]:
        """Return sessions that run as far as is known, oldest first."""
        return [one for one in self._chosen(UsageQuery(user_id=user_id)) if one.is_running(now)][
            :limit
        ]

    def count_running(self, now: float) -> int:
        """Return how many sessions run as far as is known."""
        return len(self.running(now, limit=MAX_RECORDS))

    def per_user(self, which: UsageQuery, *, limit: int = 1000) -> list[Totals]:
        """Return totals by user and persona, most seconds first."""
        found = self._totals(which, lambda one: (0, one.user_id, one.persona_type))
        found.sort(key=lambda one: (-one.seconds, -one.tokens, one.user_id or ""))
        return found[:limit]

    def totals_by_interval(self, which: UsageQuery, seconds: int) -> list[Totals]:
        """Return totals by stretches of so many seconds and persona, in the order of time."""
        found = self._totals(
            which,
            lambda one: (int(one.minted_at // seconds * seconds), None, one.persona_type),
        )
        return sorted(found, key=lambda one: (one.start, one.persona_type))

    def duration_histogram(self, which: UsageQuery, edges: Sequence[float]) -> list[int]:
        """Return how many ended sessions lasted at most each of the edges, and one for the rest."""
        steps = [0] * (len(edges) + 1)
        for record in self._chosen(which):
            if record.seconds is not None:
                steps[bisect_left(edges, record.seconds)] += 1
        return steps

    def counts(self, which: UsageQuery, seconds: int) -> list[OutcomeCount]:
        """Return the counts by stretches of so many seconds."""
        sums: Counter[CountKey] = Counter()
        with self._lock:
            kept = list(self._counts.items())
        for (start, persona, outcome), number in kept:
            if which.persona_type in {None, persona} and _in_time(start, which):
                sums[start // seconds * seconds, persona, outcome] += number
        return [OutcomeCount(*key, number) for key, number in sorted(sums.items())]

    def close(self) -> None:
        """Nothing is open."""

    def _totals(
        self, which: UsageQuery, key: Callable[[SessionRecord], tuple[int, str | None, str]]
    ) -> list[Totals]:
        groups: dict[tuple[int, str | None, str], list[SessionRecord]] = defaultdict(list)
        for record in self._chosen(which):
            groups[key(record)].append(record)
        return [
            Totals(
                start,
                user_id,
                persona_type,
                tokens=len(found),
                sessions=sum(one.started_at is not None for one in found),
                ended=sum(one.ended_at is not None for one in found),
                seconds=sum(one.seconds or 0.0 for one in found),
            )
            for (start, user_id, persona_type), found in groups.items()
        ]

    def _chosen(self, which: UsageQuery) -> Iterator[SessionRecord]:
        with self._lock:
            kept = list(self._records.values())
        for record in kept:
            fits = which.user_id in {None, record.user_id}
            fits = fits and which.persona_type in {None, record.persona_type}
            fits = fits and (record.started_at is not None or not which.started)
            if fits and _in_time(record.minted_at, which):
                yield record

    def _with(self, kind: str, value: str | None) -> list[SessionRecord]:
        """Return the records of a label, token, session or user."""
        if value is None:
            return []
        return [self._records[number] for number in self._ids.get((kind, value), ())]

    def _change_where(
        self, kind: str, value: str | None, change: Callable[[SessionRecord], SessionRecord]
    ) -> None:
        with self._lock:
            for record in self._with(kind, value):
                self._put(change(record))

    def _put(self, record: SessionRecord) -> None:
        if record.id in self._records:
            self._forget_keys(self._records[record.id])
        self._records[record.id] = record
        for key in _keys(record):
            self._ids[key][record.id] = None

    def _drop(self, record_id: int) -> None:
        self._forget_keys(self._records.pop(record_id))

    def _forget_old_counts(self, newest: int) -> None:
        oldest = newest - MAX_BUCKETS * COUNT_BUCKET
        while (first := next(iter(self._counts)))[0] < oldest:
            del self._counts[first]  # they came in the order of time

    def _forget_keys(self, record: SessionRecord) -> None:
        for key in _keys(record):
            self._ids[key].pop(record.id, None)
            if not self._ids[key]:
                del self._ids[key]


def _keys(record: SessionRecord) -> Iterator[tuple[str, str]]:
    named = {
        "label": record.label,
        "token": record.token_id,
        "session": record.session_id,
        "user": record.user_id,
    }
    return ((kind, value) for kind, value in named.items() if value is not None)


def _in_time(moment: float, which: UsageQuery) -> bool:
    after = which.since is None or moment >= which.since
    return after and (which.until is None or moment < which.until)
