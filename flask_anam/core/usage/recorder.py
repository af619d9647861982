"""The books of one app: writes each mint, start and end down, and keeps the users' limits.

A store that is down never stops a token: what could not be written is counted as lost, and after
a failure the store is left alone for five seconds. Limits are not kept in that time.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from flask_anam.core.clock import Clock
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.tokens.reuse_policy import TokenRequest
from flask_anam.core.tokens.token import SessionToken, is_session_id
from flask_anam.core.usage.count_buffer import CountBuffer
from flask_anam.core.usage.quotas import QuotaRules
from flask_anam.core.usage.records import (
    MAX_LABEL,
    MAX_STORABLE_SECONDS,
    CountKey,
    SessionRecord,
    Unstorable,
)
from flask_anam.core.usage.store import SessionStore
from flask_anam.errors import AnamError

log = logging.getLogger("flask_anam")
T = TypeVar("T")

#: Seconds that a failing store is left alone.
SKIP_FOR = 5.0
#: What our labels begin with when the persona has none of its own.
LABEL = "flask-anam"
#: The persona type of a session whose mint could not be written down.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PendingMint:
    """One mint under way.

    Attributes:
        record: what is known of it.
        body: what Anam is sent: with the label, and no longer than the user's minutes last.
        is_written: whether the store has it already.

    """

    record: SessionRecord
    body: Mapping[str, Any] = field(repr=False)
    is_written: bool


class UsageRecorder:
    """Session records and limits of one app. Thread-safe; raises nothing of the store's own.

    Args:
        store: where records are kept.
        settings: the settings of the app.
        keys: makes the keyed hashes of users, tabs and accounts.
        clock: time.
        on_lost: called with the number of records that could not be written.

    """

    def __init__(
        self,
        store: SessionStore,
        *,
        settings: Settings,
        keys: KeyHasher,
        clock: Clock,
        on_lost: Callable[[int], None] = lambda _number: None,
    ) -> None:
        self.store = store
        self.rules = QuotaRules(settings)
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._on_lost = on_lost
        self._skip_until = -math.inf
        self._is_out = False
        self._buffer = CountBuffer(self._write_counts, clock, immediate=not store.shared)

    def stored_user_id(self, user_id: str | None) -> str | None:
        """Return a user id as it is stored: plain, or as a keyed hash."""
        if user_id is None or self._settings.usage_user_ids == "plain":
            return user_id
        return self._hash("usage-user", user_id)

    def account_hash(self, api_key: str) -> str:
        """Return what tells API keys apart in the store."""
        return self._hash("account", self._settings.base_url, api_key)

    def reserve(self, request: TokenRequest) -> PendingMint:
        """Return the entry of a mint to come; where a limit must be kept, it is written already.

        Raises:
            MinutesExhausted, TooManySessions: the user's limit is reached.

        """
        draft = self._draft(request)
        limited = self.rules.any and draft.user_id is not None
        granted = self._try(lambda: self._reserve(draft)) if limited else None
        record = granted or draft
        return PendingMint(record, _body(request.body.body, record), is_written=granted is not None)

    def confirm(self, pending: PendingMint, token: SessionToken) -> None:
        """Write down that the mint of an entry has worked."""
        record = pending.record
        facts = (token.id, token.minted_at, token.expires_at)
        if pending.is_written:
            self._try(lambda: self.store.confirm(record.label, *facts), loses=1)
        else:
            self._try(lambda: self.store.add(_minted(record, *facts)), loses=1)

    def cancel(self, pending: PendingMint) -> None:
        """Leave nothing of an entry, since its mint has failed."""
        if pending.is_written:
            self._try(lambda: self.store.cancel(pending.record.label))

    def refused(self, user_id: str, token_id: str) -> None:
        """Note that a token failed to start, so that its reservation is given back."""
        user = str(self.stored_user_id(user_id))
        self._try(lambda: self.store.refuse(user, token_id, self._clock.time()))

    def started(
        self, user_id: str, token_id: str, session_id: str, *, vouched: bool
    ) -> SessionRecord | None:
        """Note the start that a user's browser reports; None when it changes nothing.

        Args:
            user_id: who reports.
            token_id: of the token that was used.
            session_id: Anam's id of the session.
            vouched: whether it is known from elsewhere that this user got the token.

        """
        user, now = str(self.stored_user_id(user_id)), self._clock.time()
        again = self._settings.token_reuse == "until_expiry"

        def note() -> SessionRecord | None:
            record = self.store.start(user, token_id, session_id, now, again=again)
            if record or not vouched or self.store.find(token_id=token_id):
                return record
            # Its mint was written in another process's memory, or lost.
            self.store.add(_unrecorded(user, token_id, now))
            return self.store.start(user, token_id, session_id, now)

        return self._try(note, loses=1)

    def ended(self, user_id: str, session_id: str) -> SessionRecord | None:
        """Note the end that a user's browser reports; None when there is none that runs."""
        if not is_session_id(session_id):
            return None
        user, now = self.stored_user_id(user_id), self._clock.time()
        return self._try(lambda: self.store.end(user, session_id, now), loses=1)

    def stopped(self, record: SessionRecord) -> SessionRecord | None:
        """Note that the session of a record has been stopped; None when it was over before."""
        now, session = self._clock.time(), str(record.session_id)
        whose = {"label": record.label or None}
        return self._try(
            lambda: self.store.end(record.user_id, session, now, "STOPPED", **whose), loses=1
        )

    def find_session(self, session_id: str, user_id: str | None = None) -> list[SessionRecord]:
        """Return the records of a session, or those of one user; ids come from browsers."""
        if not is_session_id(session_id):
            return []
        user = self.stored_user_id(user_id)
        return self._try(lambda: self.store.find(session_id=session_id, user_id=user)) or []

    def running_sessions(self, user_id: str) -> list[SessionRecord]:
        """Return a user's sessions that run as far as is known."""
        user, now = self.stored_user_id(user_id), self._clock.time()
        return self._try(lambda: self.store.running(now, user_id=user)) or []

    def count(self, persona_type: str, outcome: str) -> None:
        """Count what became of a request for a token; written a little later."""
        self._buffer.add(persona_type, outcome)

    def flush(self) -> None:
        """Write the counts that are gathered."""
        self._buffer.flush()

    def close(self) -> None:
        """Write the counts that are gathered, and let go of the store."""
        self._buffer.close()
        self.store.close()

    def orphaned_sessions(self, request: TokenRequest) -> list[SessionRecord]:
        """Return sessions that run, as far as is known, in the tab that now asks for a token.

        A tab has one conversation with a persona: what it has left running is over for the user.
        """
        slot = self._slot(request)
        if slot is None:
            return []
        found = self.running_sessions(str(request.user_id))
        here = (slot, request.persona_type)
        return [one for one in found if one.session_id and (one.slot, one.persona_type) == here]

    def active(self) -> int | None:
        """Return how many sessions run as far as is known; None when the store is down."""
        return self._try(lambda: self.store.count_running(self._clock.time()))

    def _reserve(self, draft: SessionRecord) -> SessionRecord:
        if draft.slot is not None:
            self.store.supersede(draft, draft.minted_at)
        return self.store.reserve(draft, self.rules.at(draft.minted_at))

    def _draft(self, request: TokenRequest) -> SessionRecord:
        """Return the record of a mint to come; it is forgotten soon if nothing comes of it."""
        body, now = request.body.body, self._clock.time()
        longest = body["personaConfig"].get("maxSessionLengthSeconds")
        prefix = str(body.get("clientLabel") or LABEL)
        ours = "." + secrets.token_hex(16)
        return SessionRecord(
            label=prefix[: MAX_LABEL - len(ours)] + ours,
            token_id=None,
            user_id=self.stored_user_id(request.user_id),
            persona_type=request.persona_type,
            account=self.account_hash(request.api_key),
            slot=self._slot(request),
            minted_at=now,
            expires_at=now + self._settings.deadline,
            # A browser may set it where the persona allows that.
            max_seconds=None if longest is None else min(math.ceil(longest), MAX_STORABLE_SECONDS),
        )

    def _slot(self, request: TokenRequest) -> str | None:
        if request.slot is None or request.user_id is None:
            return None
        return self._hash("usage-slot", request.user_id, request.slot)

    def _hash(self, kind: str, *parts: str) -> str:
        return self._keys.digest(kind, *parts)

    def _write_counts(self, counts: Mapping[CountKey, int]) -> bool:
        def write() -> bool:
            self.store.count(counts)
            return True

        return self._try(write) is True

    def _try(self, work: Callable[[], T], *, loses: int = 0) -> T | None:
        if self._clock.monotonic() >= self._skip_until:
            try:
                done = work()
            except AnamError:
                raise
            except Unstorable as no:  # the store itself is well: nobody else should pay for it
                log.error("The usage store does not take a value (%s).", no)
            except Exception as failure:  # noqa: BLE001 - each database has errors of its own
                self._note(failure)
            else:
                self._is_out = False
                return done
        if loses:
            self._on_lost(loses)
        return None

    def _note(self, failure: Exception) -> None:
        """Leave the store alone for a while; say so once per outage."""
        self._skip_until = self._clock.monotonic() + SKIP_FOR
        if not self._is_out:
            log.warning(
                "Usage cannot be recorded (%s); tokens are handed out all the same, without "
                "ANAM_MINUTES_LIMIT and ANAM_CONCURRENT_SESSIONS.",
                type(failure).__name__,
            )
        self._is_out = True


def _body(body: Mapping[str, Any], record: SessionRecord) -> dict[str, Any]:
    """Return the body of a mint with what its record says."""
    made = {**body, "clientLabel": record.label}
    longest = body["personaConfig"].get("maxSessionLengthSeconds")
    if record.max_seconds is not None and (longest is None or record.max_seconds < longest):
        persona = {**body["personaConfig"], "maxSessionLengthSeconds": record.max_seconds}
        made["personaConfig"] = persona
    return made


def _minted(
    record: SessionRecord, token_id: str, minted_at: float, expires_at: float
) -> SessionRecord:
    return replace(record, token_id=token_id, minted_at=minted_at, expires_at=expires_at)


def _unrecorded(user_id: str, token_id: str, now: float) -> SessionRecord:
    return SessionRecord(
        label="",
        token_id=token_id,
        user_id=user_id,
        persona_type=UNKNOWN,
        minted_at=now,
        expires_at=now,
    )
