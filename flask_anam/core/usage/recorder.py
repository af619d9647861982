"""Usage recorder: writes each mint, start and end to the session store; keeps the users' limits.

A store that is down never stops a token: what could not be written is counted as lost, and after
a failure the store is not asked for five seconds. Limits are not kept in that time.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask_anam.core.clock import Clock
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.outage import OutageGuard
from flask_anam.core.tokens.reuse_policy import TokenRequest
from flask_anam.core.tokens.token import SessionToken, is_session_id
from flask_anam.core.usage.count_buffer import CountBuffer
from flask_anam.core.usage.quotas import QuotaRules
from flask_anam.core.usage.records import (
    MAX_LABEL,
    MAX_STORABLE_SECONDS,
    SessionRecord,
    Unstorable,
)
from flask_anam.core.usage.store import SessionStore
from flask_anam.errors import AnamError

log = logging.getLogger("flask_anam")
T = TypeVar("T")
D = TypeVar("D")

#: Prefix of client labels where the persona has none of its own.
DEFAULT_LABEL = "flask-anam"
#: The persona type of a session whose mint could not be recorded.
UNKNOWN = "unknown"


class _Failed:
    """Sentinel: the store did not do what it was asked for."""


_FAILED = _Failed()


class StoreGuard(OutageGuard):
    """Outage guard of the session store. Logs once per outage, and each value it does not take."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, _log_outage, ignores=(AnamError, Unstorable))

    def call(self, work: Callable[[], T], default: D) -> T | D:
        """Return what `work` returns, or `default` when it fails or the store is paused.

        Raises:
            AnamError: `work` raised it: a limit is reached.

        """
        try:
            return super().call(work, default)
        except Unstorable as exc:  # the store itself works: other requests must not pay for it
            log.error("The usage store does not take a value (%s).", exc)
            return default


@dataclass(frozen=True, slots=True)
class PendingMint:
    """Reservation: a mint under way.

    Attributes:
        request: what is asked for.
        label: the client label that Anam gets.
        max_seconds: upper limit of the session, or None.
        body: the request body for Anam: with the label and `max_seconds`.
        is_stored: whether the store has a record of it already.

    """

    request: TokenRequest
    label: str
    max_seconds: int | None
    body: Mapping[str, Any] = field(repr=False)
    is_stored: bool


class UsageRecorder:
    """Usage recorder: session records and limits of one app. Thread-safe.

    Only limits and errors of Flask-Anam are raised, never an exception of the store's library.

    Args:
        store: where records are kept.
        settings: the settings of the app.
        keys: makes the keyed hashes of users, tabs and accounts.
        clock: time.
        on_lost: called with the number of records that could not be written.

    Attributes:
        store: as given.
        rules: the limits.
        counts: counts outcomes of token requests; they are written a little later.

    """

    def __init__(
        self,
        store: SessionStore,
        *,
        settings: Settings,
        keys: KeyHasher,
        clock: Clock,
        on_lost: Callable[[int], None],
    ) -> None:
        self.store = store
        self.rules = QuotaRules(settings)
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._on_lost = on_lost
        self._guard = StoreGuard(clock)
        self.counts = CountBuffer(store, self._guard, clock)

    def stored_user_id(self, user_id: str | None) -> str | None:
        """Return a user id as it is stored: plain, or as a keyed hash."""
        if user_id is None or self._settings.usage_user_ids == "plain":
            return user_id
        return self._keys.digest("usage-user", user_id)

    def account_hash(self, api_key: str) -> str:
        """Return the keyed hash that tells API keys apart in the store."""
        return self._keys.digest("account", self._settings.base_url, api_key)

    def reserve(self, request: TokenRequest) -> PendingMint:
        """Begin to record a mint. Where a limit must be kept, the record is stored already.

        Raises:
            MinutesExhausted, TooManySessions: the user's limit is reached.

        """
        body = request.body.body
        label, max_seconds, granted = _new_label(body), _max_seconds(body), None
        if self.rules.any and request.user_id is not None:
            # It counts as open only for as long as the mint may take, should nothing come of it.
            now = self._clock.time()
            lasts = (now, now + self._settings.deadline)
            draft = self._record(request, label, max_seconds, None, *lasts)
            granted = self._guard.call(lambda: self._reserve(draft), None)
        if granted is not None:
            max_seconds = granted.max_seconds
        body = _body(body, label, max_seconds)
        return PendingMint(request, label, max_seconds, body, is_stored=granted is not None)

    def confirm(self, pending: PendingMint, token: SessionToken) -> None:
        """Record that the mint has worked."""
        facts = (token.id, token.minted_at, token.expires_at)
        if pending.is_stored:
            self._write(lambda: self.store.confirm(pending.label, *facts))
        else:
            record = self._record(pending.request, pending.label, pending.max_seconds, *facts)
            self._write(lambda: self.store.add(record))

    def cancel(self, pending: PendingMint) -> None:
        """Delete what is stored of a mint, since it has failed."""
        if pending.is_stored:
            self._guard.call(lambda: self.store.cancel(pending.label), None)

    def refused(self, user_id: str, token_id: str) -> None:
        """Record that a token failed to start, so that its reservation is given back."""
        user = str(self.stored_user_id(user_id))
        self._guard.call(lambda: self.store.refuse(user, token_id, self._clock.time()), None)

    def started(
        self, user_id: str, token_id: str, session_id: str, *, vouched: bool
    ) -> SessionRecord | None:
        """Record the start that a user's browser reports; None when it changes nothing.

        Args:
            user_id: who reports.
            token_id: of the token that was used.
            session_id: Anam's id of the session.
            vouched: whether it is known from elsewhere that this user got the token.

        """
        user, now = str(self.stored_user_id(user_id)), self._clock.time()
        again = self._settings.token_reuse == "until_expiry"

        def start() -> SessionRecord | None:
            record = self.store.start(user, token_id, session_id, now, again=again)
            if record or not vouched or self.store.find(token_id=token_id):
                return record
            # Its mint was recorded in another process's memory, or lost.
            self.store.add(_unrecorded(user, token_id, now))
            return self.store.start(user, token_id, session_id, now)

        return self._write(start)

    def ended(self, user_id: str, session_id: str) -> SessionRecord | None:
        """Record the end that a user's browser reports; None when there is none that runs."""
        if not is_session_id(session_id):
            return None
        user, now = self.stored_user_id(user_id), self._clock.time()
        return self._write(lambda: self.store.end(user, session_id, now))

    def stopped(self, record: SessionRecord) -> SessionRecord | None:
        """Record that the session of a record was stopped; None when it was over before."""
        now, session = self._clock.time(), str(record.session_id)
        label = record.label or None
        return self._write(
            lambda: self.store.end(record.user_id, session, now, "STOPPED", label=label)
        )

    def find_session(self, session_id: str, user_id: str | None = None) -> list[SessionRecord]:
        """Return the records of a session, or those of one user; ids come from browsers."""
        if not is_session_id(session_id):
            return []
        user = self.stored_user_id(user_id)
        return self._guard.call(lambda: self.store.find(session_id=session_id, user_id=user), [])

    def running_sessions(self, user_id: str) -> list[SessionRecord]:
        """Return a user's sessions that run as far as is known."""
        user, now = self.stored_user_id(user_id), self._clock.time()
        return self._guard.call(lambda: self.store.running(now, user_id=user), [])

    def orphaned_sessions(self, request: TokenRequest) -> list[SessionRecord]:
        """Return sessions that run, as far as is known, in the tab that now asks for a token.

        A tab has one conversation with a persona: what it has left running is over for the user.
        """
        slot = self._slot_hash(request)
        if slot is None:
            return []
        here = (slot, request.persona_type)
        running = self.running_sessions(str(request.user_id))
        return [r for r in running if r.session_id and (r.slot, r.persona_type) == here]

    def active(self) -> int | None:
        """Return how many sessions run as far as is known; None when the store is down."""
        return self._guard.call(lambda: self.store.count_running(self._clock.time()), None)

    def flush(self) -> None:
        """Write the buffered counts."""
        self.counts.flush()

    def close(self) -> None:
        """Write the buffered counts, and close the store."""
        self.counts.close()
        self.store.close()

    def _reserve(self, draft: SessionRecord) -> SessionRecord:
        if draft.slot is not None:
            self.store.supersede(draft, draft.minted_at)
        return self.store.reserve(draft, self.rules.at(draft.minted_at))

    def _record(
        self,
        request: TokenRequest,
        label: str,
        max_seconds: int | None,
        token_id: str | None,
        minted_at: float,
        expires_at: float,
    ) -> SessionRecord:
        return SessionRecord(
            label=label,
            token_id=token_id,
            user_id=self.stored_user_id(request.user_id),
            persona_type=request.persona_type,
            account=request.account,
            slot=self._slot_hash(request),
            minted_at=minted_at,
            expires_at=expires_at,
            max_seconds=max_seconds,
        )

    def _slot_hash(self, request: TokenRequest) -> str | None:
        if request.slot is None or request.user_id is None:
            return None
        return self._keys.digest("usage-slot", request.user_id, request.slot)

    def _write(self, work: Callable[[], T]) -> T | None:
        """Write one record; count it as lost when that fails."""
        result = self._guard.call(work, _FAILED)
        if isinstance(result, _Failed):
            self._on_lost(1)
            return None
        return result


def _log_outage(error: Exception, is_new: bool) -> None:
    if is_new:
        log.warning(
            "Usage cannot be recorded (%s); tokens are handed out all the same, without "
            "ANAM_MINUTES_LIMIT and ANAM_CONCURRENT_SESSIONS.",
            type(error).__name__,
        )


def _new_label(body: Mapping[str, Any]) -> str:
    """Return a client label that no other mint has: a prefix, a dot and 32 random characters."""
    suffix = "." + secrets.token_hex(16)
    return str(body.get("clientLabel") or DEFAULT_LABEL)[: MAX_LABEL - len(suffix)] + suffix


def _max_seconds(body: Mapping[str, Any]) -> int | None:
    """Return the upper limit of a session in whole seconds; a browser may have chosen it."""
    longest = body["personaConfig"].get("maxSessionLengthSeconds")
    return None if longest is None else min(math.ceil(longest), MAX_STORABLE_SECONDS)


def _body(body: Mapping[str, Any], label: str, max_seconds: int | None) -> dict[str, Any]:
    """Return the body of a mint with its label, and with `max_seconds` where that is less."""
    persona = body["personaConfig"]
    longest = persona.get("maxSessionLengthSeconds")
    if max_seconds is not None and (longest is None or max_seconds < longest):
        persona = {**persona, "maxSessionLengthSeconds": max_seconds}
    return {**body, "clientLabel": label, "personaConfig": persona}


def _unrecorded(user_id: str, token_id: str, now: float) -> SessionRecord:
    return SessionRecord(
        label="",
        token_id=token_id,
        user_id=user_id,
        persona_type=UNKNOWN,
        minted_at=now,
        expires_at=now,
    )
