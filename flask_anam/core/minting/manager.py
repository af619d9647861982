"""From a user and a persona to one session token: reuse what may be reused, mint the rest.

The state of a token: minted, handed to a slot, started, gone. `reuse` decides which stored token
may be handed out; here is how many callers at once come to one mint, and what happens when it
fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.minting.cooldowns import CoolDowns
from flask_anam.core.minting.error_codec import is_missing_persona
from flask_anam.core.minting.mint_lock import MintLock
from flask_anam.core.single_flight import SingleFlight
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy, ReusePolicy, TokenRequest
from flask_anam.core.tokens.store import DeferredLookup, Lookup, TokenStore
from flask_anam.core.tokens.token import SessionToken
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.usage.recorder import PendingMint, UsageRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A session token as it is handed out.

    Attributes:
        session_token: Anam's token; secret.
        token_id: the only form of it that may be logged.
        persona_type: the persona it was made for.
        expires_at: Unix seconds.
        expires_in: seconds from now.
        reused: whether it is a stored one.
        mint_seconds: how long the mint took; 0.0 for a stored one.

    """

    session_token: str = field(repr=False)
    token_id: str
    persona_type: str
    expires_at: int
    expires_in: int
    reused: bool
    mint_seconds: float


class Observer(Protocol):
    """Hears what happens to tokens, and after which time; must not raise."""

    def token_minted(self, request: TokenRequest, got: Issuance, seconds: float) -> None:
        """Hear of a new token."""

    def token_reused(self, request: TokenRequest, got: Issuance, seconds: float) -> None:
        """Hear that a stored or shared token is handed out."""

    def token_failed(self, request: TokenRequest, error: errors.AnamError, seconds: float) -> None:
        """Hear that no token could be handed out."""


class Caretaker(Protocol):
    """Looks after the sessions of a user; raises nothing."""

    def stop_orphans(self, request: TokenRequest, deadline: Deadline) -> None:
        """Stop what the tab that now asks has left running."""

    def check_user(self, request: TokenRequest, deadline: Deadline) -> bool:
        """Look up a user's open sessions; return whether that changed what is known."""


class FirstLook(NamedTuple):
    """Where the token of a request is kept, and a lookup there that may be made already."""

    place: CacheEntryPolicy
    glance: DeferredLookup


@dataclass(frozen=True, slots=True)
class Issuance:
    """A token that is handed out, and how it was come by.

    Attributes:
        token: the token.
        how: new (``minted``), stored (``reused``), the answer to an equal call (``replayed``), or
            stored and past its time, for want of a new one (``stale``).
        mint_seconds: how long the mint took; 0.0 unless ``minted``.
        attempts: calls that the mint took; 0 unless ``minted``.

    """

    token: SessionToken
    how: Literal["minted", "reused", "replayed", "stale"]
    mint_seconds: float = 0.0
    attempts: int = 0


class SessionTokenManager:
    """Creates, stores, reuses and forgets session tokens. Thread-safe and safe after fork.

    Args:
        client: the Anam API.
        store: where tokens are kept.
        keys: makes the keys of the store.
        settings: the settings of the app.
        clock: time.
        observer: hears what happens.
        recorder: where each mint is written down, and the users' limits are kept.
        caretaker: looks after a user's sessions before another one is begun.
        precheck: called with API key and deadline before a mint is charged and begun; raises
            AnamAtCapacity to prevent it.

    """

    def __init__(
        self,
        *,
        client: AnamClient,
        store: TokenStore,
        keys: KeyHasher,
        settings: Settings,
        clock: Clock,
        observer: Observer,
        recorder: UsageRecorder,
        caretaker: Caretaker | None = None,
        precheck: Callable[[str, Deadline], None] | None = None,
    ) -> None:
        self._client = client
        self._caretaker = caretaker
        self._recorder = recorder
        self._store = store
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._precheck = precheck
        self._rules = ReusePolicy(settings, keys)
        self._setbacks = CoolDowns(store, clock)
        self._flights: SingleFlight[Issuance] = SingleFlight()

    def first_look(self, request: TokenRequest) -> FirstLook | None:
        """Return where a stored token is looked for first, if anywhere, before that is done."""
        place = self._rules.place_of(request)
        return place and FirstLook(place, self._store.glance(place.key, place.marks))

    def create_token(self, request: TokenRequest, first: FirstLook | None = None) -> IssuedToken:
        """Hand out a stored token where the reuse rules allow it, else mint one.

        Concurrent equal requests share one mint, and its error: in this process always, among
        processes where the store can lease. A request takes at most the deadline in all.

        Args:
            request: what is asked for.
            first: its `first_look`, which may have been made along with another question.

        Raises:
            RateLimited: the user's token limit is used up.
            MinutesExhausted, TooManySessions: another limit of the user is.
            UpstreamError: the mint failed.

        """
        deadline = Deadline.after(self._clock, self._settings.deadline)
        began = self._clock.monotonic()
        try:
            got = self._get(request, first or self.first_look(request), deadline)
        except errors.AnamError as error:
            if not (request.has_fallback and is_missing_persona(error)):
                self._observer.token_failed(request, error, self._clock.monotonic() - began)
            raise
        minted = got.how == "minted"
        hear = self._observer.token_minted if minted else self._observer.token_reused
        hear(request, got, self._clock.monotonic() - began)
        left = max(0.0, got.token.expires_at - self._clock.time())
        return IssuedToken(
            session_token=got.token.value,
            token_id=got.token.id,
            persona_type=request.persona_type,
            expires_at=int(got.token.expires_at),
            expires_in=int(left),
            reused=not minted,
            mint_seconds=got.mint_seconds,
        )

    def report_started(self, user_id: str, token_id: str) -> bool:
        """Note that this user's conversation has started, which uses the token up.

        Returns False, and changes nothing, for a token that this user did not get, or that was
        reported before (unless tokens may be used more than once).
        """
        note = self._keys("id", user_id, token_id)
        place = self._store.noted(note)
        if place is None:
            return False
        if self._settings.token_reuse != "until_expiry":
            self._store.evict(place, token_id)
            self._store.forget(note)
        return True

    def clear(self, *, persona_type: str | None = None, user_id: str | None = None) -> None:
        """Forget this app's stored tokens: all, or those of a persona or of a user.

        Works without knowing the tokens and never flushes the cache, which may be shared.
        """
        everything, *narrower = self._rules.marks(persona_type, user_id)
        for mark in narrower or [everything]:
            self._store.invalidate(mark)

    def _get(self, request: TokenRequest, first: FirstLook | None, deadline: Deadline) -> Issuance:
        if first is None:
            return self._mint(request, deadline)
        place = first.place
        if request.refused:
            self._store.evict(place.key, request.refused)
            self._recorder.refused(str(request.user_id), request.refused)
        afresh = request.refused or not place.seconds
        kept = self._look(place) if afresh else first.glance.result()
        if kept.token and place.is_fresh(kept.token, self._clock.time()):
            return _kept(place, kept.token)
        got, led = self._flights.run(
            place.key, lambda: self._lead(request, place, deadline), deadline
        )
        return got if led else Issuance(got.token, "stale" if got.how == "stale" else "replayed")

    def _look(self, place: CacheEntryPolicy) -> Lookup:
        return self._store.lookup(place.key, place.marks) if place.seconds else Lookup(None, None)

    def _lead(self, request: TokenRequest, place: CacheEntryPolicy, deadline: Deadline) -> Issuance:
        """Get the token that all callers of this process wait for."""
        turn = MintLock(self._store, place, self._clock, deadline)
        try:
            while True:
                mine = turn.take()
                kept = self._look(place)  # after take(): it may have been stored just before
                now = self._clock.time()
                if kept.token and place.is_fresh(kept.token, now):
                    return _kept(place, kept.token)
                stale = kept.token if kept.token and place.is_stale(kept.token, now) else None
                if stale and (not mine or turn.was_tried_lately()):
                    return Issuance(stale, "stale")
                if mine:
                    break
                turn.wait()
            try:
                got = self._mint(request, deadline)
            except errors.UpstreamError as error:
                turn.tell(error)
                if stale is None or not error.retryable:
                    raise
                return Issuance(stale, "stale")
            self._keep(request, place, got.token, kept.generation)
            return got
        finally:
            turn.give_back()

    def _mint(self, request: TokenRequest, deadline: Deadline) -> Issuance:
        account = self._rules.account(request)
        body = self._keys("body", account, request.body.digest)
        self._setbacks.check(account, body)
        if self._precheck:
            self._precheck(request.api_key, deadline)
        with request.limit():
            pending = self._open(request, deadline)
            began = self._clock.monotonic()
            try:
                minted = self._client.mint(pending.body, request.api_key, deadline)
            except BaseException as error:
                self._recorder.cancel(pending)
                if isinstance(error, errors.UpstreamError):
                    self._setbacks.note(error, account, body, fallback=request.has_fallback)
                raise
        self._recorder.confirm(pending, minted.token)
        self._setbacks.forget(account)
        took = self._clock.monotonic() - began
        return Issuance(minted.token, "minted", mint_seconds=took, attempts=minted.attempts)

    def _open(self, request: TokenRequest, deadline: Deadline) -> PendingMint:
        """Begin to record a mint; before a user is refused, what is known is looked up."""
        if self._caretaker and self._settings.stop_orphans:
            self._caretaker.stop_orphans(request, deadline)
        try:
            return self._recorder.reserve(request)
        except (errors.MinutesExhausted, errors.TooManySessions):
            if not (self._caretaker and self._caretaker.check_user(request, deadline)):
                raise
        return self._recorder.reserve(request)

    def _keep(
        self,
        request: TokenRequest,
        place: CacheEntryPolicy,
        token: SessionToken,
        generation: str | None,
    ) -> None:
        if generation is not None:
            self._store.put(place.key, token, place.keep_for(token), generation)
        # Who got it, for the report of its start; that may come when it is no longer kept.
        self._store.note(self._keys("id", request.user_id, token.id), place.key, token.lifetime)


def _kept(place: CacheEntryPolicy, token: SessionToken) -> Issuance:
    return Issuance(token, "replayed" if place.replays else "reused")
