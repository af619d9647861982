"""Reconciler: compares usage records with Anam, which knows when each session began and ended.

A session is matched by the client label of its mint, whether or not a browser ever reported it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.tokens.reuse_policy import TokenRequest
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.sessions_api import AnamSession, get_session, list_sessions
from flask_anam.core.usage.recorder import UsageRecorder
from flask_anam.core.usage.records import NOT_FOUND, SessionRecord
from flask_anam.errors import AnamError, AnamRejected, UpstreamError

log = logging.getLogger("flask_anam")

#: Upper limit of records that are looked up singly; for more, Anam's list is read page by page.
MAX_SINGLE_LOOKUPS = 20
#: Upper limit of pages of Anam's list that are read.
MAX_PAGES = 500
#: Seconds after a token's expiry from which a session that Anam does not know never existed.
UNUSED_AFTER = 600.0
#: The same where the API key has changed since, so that this may be another account.
UNUSED_ELSEWHERE_AFTER = 86400.0
#: Seconds for which Anam may still show a session as running that has ended.
SETTLES_WITHIN = 120.0
#: Seconds after the mint from which on an unconfirmed record is not looked up any more.
GIVE_UP_AFTER = 30 * 86400.0
#: Failures in a row after which a run ends.
MAX_FAILURES_IN_A_ROW = 3
#: Upper limit of records that are looked up before a user is refused.
MAX_LOOKUPS_PER_USER = 5
#: Seconds between two such look-ups for the same user.
USER_CHECK_INTERVAL = 10.0
#: Upper limit of users whose last look-up is remembered.
MAX_USERS_REMEMBERED = 10_000

#: Resolves the API key of a record; None when there is none.
ApiKeyResolver = Callable[[SessionRecord], str | None]


@dataclass(slots=True)
class Reconciliation:
    """Result of a reconciliation, in numbers of records.

    Attributes:
        asked: looked up at Anam.
        settled: now equal to Anam's, with their end.
        running: of sessions that run according to Anam.
        unused: of tokens that never started a session, and no longer can.
        waiting: of tokens that may still start one.
        failed: could not be looked up.

    """

    asked: int = 0
    settled: int = 0
    running: int = 0
    unused: int = 0
    waiting: int = 0
    failed: int = 0


class Reconciler:
    """Reconciler: brings the usage records in line with Anam.

    Thread-safe; several at a time only cost calls.

    Args:
        client: the Anam API.
        recorder: the usage records.
        clock: time.
        deadline: makes the deadline of one call.

    """

    def __init__(
        self,
        client: AnamClient,
        recorder: UsageRecorder,
        clock: Clock,
        deadline: Callable[[], Deadline],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._store = recorder.store
        self._clock = clock
        self._deadline = deadline
        self._asked_of: dict[str, float] = {}

    def run(
        self,
        key_for: ApiKeyResolver,
        *,
        user_id: str | None = None,
        limit: int = 10_000,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Reconciliation:
        """Look up the records that Anam has not confirmed, oldest first.

        Args:
            key_for: resolves the API key of a record.
            user_id: only records of this user, as it is stored.
            limit: upper limit of records.
            on_progress: called with the number of records done, and of all records.

        Raises:
            Exception: of the session store, which cannot be read or written.

        """
        done = Reconciliation()
        groups: dict[str, list[SessionRecord]] = defaultdict(list)
        records = list(self._pending(limit, user_id))
        for record in records:
            key = key_for(record)
            if key is None:
                done.failed += 1
            else:
                groups[key].append(record)
        failures = 0
        for key, group in groups.items():
            by_label, complete = self._listed(group, key)
            account = self._recorder.account_hash(key)
            for label, ours in _by_label(group):
                on_progress(done.asked + done.failed, len(records))
                if failures >= MAX_FAILURES_IN_A_ROW:
                    done.failed += len(ours)
                    continue
                try:
                    if not by_label.get(label) and not complete:
                        by_label[label] = self._search(ours[0], key, self._deadline())
                    self._settle(ours, by_label.get(label, []), done, account)
                    failures = 0
                except UpstreamError as error:
                    log.warning("A session could not be looked up: %s", error.code)
                    failures += 1
                    done.failed += len(ours)
        on_progress(len(records), len(records))
        return done

    def check_user(self, request: TokenRequest, deadline: Deadline) -> bool:
        """Look up a user's open records before that user is refused; return whether any changed.

        Asks Anam about at most `MAX_LOOKUPS_PER_USER` records, and about one user at most every
        `USER_CHECK_INTERVAL` seconds. Raises nothing.
        """
        user, now = self._recorder.stored_user_id(request.user_id), self._clock.monotonic()
        if (
            user is None
            or now - self._asked_of.get(user, -USER_CHECK_INTERVAL) < USER_CHECK_INTERVAL
        ):
            return False
        if len(self._asked_of) > MAX_USERS_REMEMBERED:
            self._asked_of.clear()
        self._asked_of[user] = now
        account, done = request.account, Reconciliation()
        try:
            for record in list(self._pending(1000, user))[-MAX_LOOKUPS_PER_USER:]:
                if record.account == account and record.label:
                    sessions = self._search(record, request.api_key, deadline)
                    self._settle([record], sessions, done, account)
        except AnamError as error:
            log.warning("A user's sessions could not be looked up: %s", error.code)
        except Exception as exc:  # noqa: BLE001 - the store fails; the user is refused
            log.warning("A user's sessions could not be read: %s", type(exc).__name__)
        return done.settled + done.unused > 0

    def stop_orphans(self, request: TokenRequest, deadline: Deadline) -> None:
        """Stop orphaned sessions: those that a tab left running with the persona it asks for."""
        for record in self._recorder.orphaned_sessions(request):
            if record.account != request.account:
                continue
            try:
                if self.stop([record], request.api_key, deadline):
                    self._recorder.stopped(record)
            except AnamError as error:
                log.warning("An orphaned session could not be stopped: %s", error.code)

    @scrubs_traceback
    def stop(
        self, claims: Sequence[SessionRecord], api_key: str, deadline: Deadline
    ) -> SessionRecord | None:
        """Stop a session at Anam; return the record that it belongs to, or None.

        The id came from a browser, so Anam is asked for the label of the session first.

        Args:
            claims: records of one account that claim the same session.
            api_key: of that account.
            deadline: of both calls.

        Raises:
            UpstreamError: Anam refused, failed or could not be reached.

        """
        by_label = {record.label: record for record in claims if record.session_id and record.label}
        if not by_label:
            return None
        session_id = str(claims[0].session_id)
        try:
            session = get_session(self._client, session_id, api_key, deadline)
        except AnamRejected:
            return None
        record = by_label.get(session.label or "")
        if record is not None and session.ended_at is None:
            with suppress(AnamRejected):  # it has ended in between
                self._client.stop_session(session.id, api_key, deadline)
        return record

    def _pending(self, limit: int, user_id: str | None) -> Iterable[SessionRecord]:
        since, after = self._clock.time() - GIVE_UP_AFTER, 0
        while limit > 0:
            page = self._store.pending(
                since=since, after=after, limit=min(limit, 500), user_id=user_id
            )
            if not page:
                return
            yield from page
            after, limit = page[-1].id, limit - len(page)

    def _listed(
        self, records: Sequence[SessionRecord], key: str
    ) -> tuple[dict[str, list[AnamSession]], bool]:
        """Return Anam's sessions by label, and whether these are all; none for a few records."""
        by_label: dict[str, list[AnamSession]] = defaultdict(list)
        if len(records) <= MAX_SINGLE_LOOKUPS:
            return by_label, False
        oldest = min(record.minted_at for record in records) - SETTLES_WITHIN
        seen: set[str] = set()
        for page in range(1, MAX_PAGES + 1):
            try:
                sessions, is_last = list_sessions(self._client, key, self._deadline(), page=page)
            except UpstreamError:
                return by_label, False
            for session in sessions:
                if session.label and session.id not in seen:
                    seen.add(session.id)
                    by_label[session.label].append(session)
            if is_last:
                return by_label, True
            if all(session.started_at < oldest for session in sessions):
                return by_label, False  # the rest is older, if pages come in order
        return by_label, False

    def _search(self, record: SessionRecord, key: str, deadline: Deadline) -> list[AnamSession]:
        term = record.label or record.session_id or ""
        sessions, _ = list_sessions(self._client, key, deadline, search=term)
        if not record.label:
            return [session for session in sessions if session.id == record.session_id]
        return [session for session in sessions if session.label == record.label]

    def _settle(
        self,
        records: list[SessionRecord],
        sessions: list[AnamSession],
        done: Reconciliation,
        account: str,
    ) -> None:
        """Update the records of one label to the sessions that Anam has of it."""
        left, ids = list(records), {session.id for session in sessions}
        for session in sessions:
            same = [record for record in left if record.session_id == session.id]
            free = [record for record in left if record.session_id not in ids]
            record = next(iter(same or free), None)
            if record is not None:
                left.remove(record)
            self._write(record, replace(records[0], id=0), session, done)
        for record in left:
            done.asked += 1
            if sessions:
                continue
            wait = UNUSED_AFTER if record.account == account else UNUSED_ELSEWHERE_AFTER
            if self._clock.time() < record.expires_at + wait:
                done.waiting += 1
                continue
            done.unused += 1
            end = {"seconds": 0.0, "ended_at": record.started_at, "exit_status": NOT_FOUND}
            self._store.change(record.id, source="anam", **(end if record.started_at else {}))

    def _write(
        self,
        record: SessionRecord | None,
        model: SessionRecord,
        session: AnamSession,
        done: Reconciliation,
    ) -> None:
        now = self._clock.time()
        facts: dict[str, object] = {"session_id": session.id, "started_at": session.started_at}
        if session.ended_at is not None:
            done.settled += 1
            facts |= {"ended_at": session.ended_at, "seconds": session.seconds}
            facts |= {"exit_status": session.exit_status, "source": "anam"}
        else:
            done.running += 1
            reported = record.ended_at if record else None
            if reported is None or now - reported > SETTLES_WITHIN:
                facts |= {"ended_at": None, "seconds": None, "exit_status": None}
            facts["source"] = "report"
        if record is None:
            self._store.add(replace(model, **facts))  # type: ignore[arg-type]
        else:
            done.asked += 1
            self._store.change(record.id, **facts)


def _by_label(records: Sequence[SessionRecord]) -> list[tuple[str, list[SessionRecord]]]:
    """Return records by label; each one without a label is a group of its own."""
    groups: dict[tuple[str, int], list[SessionRecord]] = defaultdict(list)
    for record in records:
        groups[record.label, 0 if record.label else record.id].append(record)
    return [(label, group) for (label, _), group in groups.items()]
