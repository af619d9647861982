"""Token issuance: from a user and a persona to one session token, read from top to bottom.

`TokenIssuer` builds the request and applies the persona's fallback. `SessionTokenManager` returns
a stored token where the reuse policy allows it and mints otherwise; concurrent equal requests
share one mint.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.config.api_keys import KeyRing
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.minting.cooldowns import CoolDowns
from flask_anam.core.minting.error_codec import is_missing_persona
from flask_anam.core.minting.issuance import EventSink, Issuance, IssuedToken, Quota
from flask_anam.core.minting.mint_lock import MintLock
from flask_anam.core.personas.persona import Persona
from flask_anam.core.personas.registry import PersonaRegistry
from flask_anam.core.single_flight import SingleFlight
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy, ReusePolicy, TokenRequest
from flask_anam.core.tokens.store import DeferredLookup, Lookup, TokenStore
from flask_anam.core.tokens.token import SessionToken
from flask_anam.core.upstream.circuit_breaker import Origin
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.concurrency import ConcurrencyMonitor
from flask_anam.core.upstream.key_check import KeyCheck
from flask_anam.core.usage.reconciler import Reconciler
from flask_anam.core.usage.recorder import PendingMint, UsageRecorder


class TokenIssuer:
    """Builds the request for a token, and applies the fallback of a persona. Thread-safe.

    Args:
        registry: the personas of the app.
        app_keys: the API key of the app.
        manager: reuses and mints.
        events: receives that a fallback is used.
        one_key: whether personas' own API keys are ignored, as on a sandbox under test.

    """

    def __init__(
        self,
        *,
        registry: PersonaRegistry,
        app_keys: KeyRing,
        manager: SessionTokenManager,
        events: EventSink,
        one_key: bool,
    ) -> None:
        self._registry = registry
        self._app_keys = app_keys
        self._manager = manager
        self._events = events
        self._one_key = one_key

    def issue(
        self,
        persona: Persona,
        *,
        user: object,
        user_id: str | None,
        overrides: Mapping[str, Any],
        quota: Quota | None,
        slot: str | None = None,
        idempotency_key: str | None = None,
        refused: str | None = None,
    ) -> IssuedToken:
        """Return a token for a persona, or for its fallback while Anam does not know it.

        The request is counted against the quota before a callable of the host runs; without one,
        along with the cache lookup.

        Raises:
            InvalidRequest: an override is not allowed or not valid.
            PersonaInvalid: the config of the persona is wrong.
            AnamError: see `SessionTokenManager.create_token`.

        """
        facts = {
            "user_id": user_id,
            "slot": slot,
            "idempotency_key": idempotency_key,
            "refused": refused,
        }
        if quota and not self._is_static(persona):
            quota.admit(None)  # the host's own code runs for requests within the limit only
        request = self._request(persona, user, overrides, facts)
        try:
            return self._manager.create_token(request, quota)
        except errors.AnamRejected as error:
            fallback = self._registry.fallback_of(persona) if error.persona_missing else None
            if fallback is None:
                raise
        self._events.persona_missing(request, fallback.name)
        # The browser chose its overrides for the other persona: this one allows some of them.
        allowed = {name: value for name, value in overrides.items() if fallback.allows(name, value)}
        return self._manager.create_token(self._request(fallback, user, allowed, facts), quota)

    def _request(
        self,
        persona: Persona,
        user: object,
        overrides: Mapping[str, Any],
        facts: Mapping[str, str | None],
    ) -> TokenRequest:
        """Return the complete request; the API key is a local of no frame that may raise."""
        body = self._registry.body_for(persona, user, overrides)
        api_key = self.api_key(persona, user)
        return TokenRequest(
            persona_type=persona.name,
            body=body,
            api_key=api_key,
            account=self._manager.account_of(api_key),
            has_fallback=persona.fallback is not None,
            has_overrides=bool(overrides),
            **facts,
        )

    def _is_static(self, persona: Persona) -> bool:
        """Whether neither config nor API key of a persona come from the host's code."""
        return not callable(persona.source) and self.key_ring(persona).constant is not None

    def key_ring(self, persona: Persona | None = None) -> KeyRing:
        """Return what finds the API key of a persona's account; of the app for None."""
        own = persona.keys if persona and not self._one_key else None
        return own or self._app_keys

    def api_key(self, persona: Persona | None = None, user: object = None) -> str:
        """Return the API key for a persona and user, or that of the app.

        Raises:
            AnamAuthError: it comes from a callable that raised or returned no key.

        """
        ring = self.key_ring(persona)
        return ring.constant or ring.key_for(persona.name if persona else None, user)


class SessionTokenManager:
    """Creates, stores, reuses and forgets session tokens. Thread-safe and safe after fork.

    Args:
        client: the Anam API.
        store: where tokens are stored.
        keys: makes the keys of the store.
        settings: the settings of the app.
        clock: time.
        events: receives the outcome of each request.
        recorder: records each mint, and keeps the limits of minutes and sessions.
        reconciler: looks up a user's sessions at Anam before the user is refused, and stops what
            a tab has left running; None leaves both out.
        concurrency: refuses a mint while the account is full; None leaves that to Anam.

    Example:
        >>> app.extensions["anam"].manager.clear(persona_type="support")

    """

    def __init__(
        self,
        *,
        client: AnamClient,
        store: TokenStore,
        keys: KeyHasher,
        settings: Settings,
        clock: Clock,
        events: EventSink,
        recorder: UsageRecorder,
        reconciler: Reconciler | None,
        concurrency: ConcurrencyMonitor | None,
    ) -> None:
        self._client = client
        self._store = store
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self._events = events
        self._recorder = recorder
        self._reconciler = reconciler
        self._concurrency = concurrency
        self._policy = ReusePolicy(settings, keys)
        self._cool_downs = CoolDowns(store, clock)
        self._key_check = KeyCheck(client, clock)
        self._flights: SingleFlight[Issuance] = SingleFlight()
        self.account_of = self._policy.account_of

    def create_token(self, request: TokenRequest, quota: Quota | None) -> IssuedToken:
        """Return a stored token where the reuse policy allows it, else mint one.

        Concurrent equal requests share one mint, and its error: in this process always, among
        processes where the store can lock. A request takes at most ``ANAM_DEADLINE`` seconds.

        Args:
            request: what is asked for.
            quota: limits of the user; None when the token is for no user.

        Raises:
            RateLimited: the request limit or the token limit of the user is used up.
            MinutesExhausted, TooManySessions: another limit of the user is.
            UpstreamError: the mint failed.

        Example:
            >>> from flask_anam.core.personas.mint_body import MintBody
            >>> from flask_anam.core.tokens.reuse_policy import TokenRequest
            >>> config = {"personaId": "071b0286-4cce-4808-bee2-e642f1062de3"}
            >>> request = TokenRequest(
            ...     user_id="7",
            ...     persona_type="host",
            ...     body=MintBody.of({"personaConfig": config}),
            ...     api_key=sandbox.api_key,
            ...     account=manager.account_of(sandbox.api_key),
            ... )
            >>> manager.create_token(request, quota=None).reused
            False

        """
        entry = self._policy.entry_for(request)
        lookup = None
        if entry and entry.seconds and not request.refused:
            lookup = DeferredLookup(self._store, entry.key, entry.invalidation_keys)
        if quota:
            quota.admit(lookup)
        began = self._clock.monotonic()
        try:
            issuance = self._reused(entry, lookup) or self._shared(request, quota, entry, began)
        except errors.AnamError as error:
            if not (request.has_fallback and is_missing_persona(error)):
                self._events.token_failed(request, error, self._clock.monotonic() - began)
            raise
        self._events.token_issued(request, issuance, self._clock.monotonic() - began)
        token = issuance.token
        return IssuedToken(
            session_token=token.value,
            token_id=token.id,
            persona_type=request.persona_type,
            expires_at=int(token.expires_at),
            expires_in=int(max(0.0, token.expires_at - self._clock.time())),
            reused=issuance.source != "minted",
            mint_seconds=issuance.mint_seconds,
        )

    def report_started(self, user_id: str, token_id: str) -> bool:
        """Record that this user's conversation has started, which uses the token up.

        Returns False, and changes nothing, for a token that this user did not get, or that was
        reported before (unless ``ANAM_TOKEN_REUSE`` is ``until_expiry``).

        Example:
            >>> issued = anam.create_token("support", user_id="7", slot="tab-1")
            >>> manager.report_started("7", issued.token_id)
            True

        """
        owner_key = self._keys("id", user_id, token_id)
        entry_key = self._store.get_text(owner_key)
        if entry_key is None:
            return False
        if self._settings.token_reuse != "until_expiry":
            self._store.evict(entry_key, token_id)
            self._store.delete(owner_key)
        return True

    def clear(self, *, persona_type: str | None = None, user_id: str | None = None) -> None:
        """Invalidate this app's stored tokens: all, or those of a persona or of a user.

        It needs no list of the tokens and never flushes the cache, which may be shared.

        Example:
            >>> manager.clear(user_id="7")

        """
        everything, *narrower = self._policy.invalidation_keys(persona_type, user_id)
        for invalidation_key in narrower or [everything]:
            self._store.bump_generation(invalidation_key)

    def _reused(
        self, entry: CacheEntryPolicy | None, lookup: DeferredLookup | None
    ) -> Issuance | None:
        """Return the stored token if it may be returned."""
        token = lookup.result().token if lookup else None
        if entry and token and entry.is_fresh(token, self._clock.time()):
            return Issuance(token, "replayed" if entry.replay_only else "reused")
        return None

    def _shared(
        self,
        request: TokenRequest,
        quota: Quota | None,
        entry: CacheEntryPolicy | None,
        began: float,
    ) -> Issuance:
        """Return a token that concurrent callers of this process share, where they may."""
        deadline = Deadline(self._clock, began + self._settings.deadline)
        if entry is None:
            return self._mint(request, quota, deadline)
        if request.refused:
            self._store.evict(entry.key, request.refused)
            self._recorder.refused(str(request.user_id), request.refused)
        issuance, is_leader = self._flights.run(
            entry.key, lambda: self._elected(request, quota, entry, deadline), deadline
        )
        if is_leader:
            return issuance
        return Issuance(issuance.token, "stale" if issuance.source == "stale" else "replayed")

    def _elected(
        self,
        request: TokenRequest,
        quota: Quota | None,
        entry: CacheEntryPolicy,
        deadline: Deadline,
    ) -> Issuance:
        """Mint if this process holds the mint lock, else return what the holder has stored."""
        lock = MintLock(self._store, entry, self._clock, deadline)
        try:
            while True:
                is_ours = lock.try_acquire()
                # After try_acquire(): the token may have been stored just before.
                lookup = Lookup(None, None)
                if entry.seconds:
                    lookup = self._store.lookup(entry.key, entry.invalidation_keys)
                token, now = lookup.token, self._clock.time()
                if token and entry.is_fresh(token, now):
                    return Issuance(token, "replayed" if entry.replay_only else "reused")
                stale = token if token and entry.is_stale(token, now) else None
                if stale and (not is_ours or lock.refresh_failed_recently()):
                    return Issuance(stale, "stale")
                if is_ours:
                    break
                lock.wait()
            try:
                issuance = self._mint(request, quota, deadline)
            except errors.UpstreamError as error:
                lock.publish_error(error)
                if stale is None or not error.retryable:
                    raise
                return Issuance(stale, "stale")
            self._put(request, entry, issuance.token, lookup.generation)
            return issuance
        finally:
            lock.release()

    def _mint(self, request: TokenRequest, quota: Quota | None, deadline: Deadline) -> Issuance:
        """Ask Anam for a new token, once no cool-down and no limit speaks against it."""
        account = self._keys.key_of("account", request.account)
        body = self._keys("body", request.account, request.body.digest)
        self._cool_downs.raise_if_cooling(account, body)
        if self._concurrency:
            self._concurrency.raise_if_full(request.api_key, deadline)
        with quota.charge(request.blames_caller) if quota else nullcontext():
            pending = self._reserve(request, deadline)
            origin = Origin(request.body.digest, request.user_id)
            began = self._clock.monotonic()
            try:
                token, attempts = self._client.mint(pending.body, request.api_key, deadline, origin)
            except BaseException as error:
                self._recorder.cancel(pending)
                if isinstance(error, errors.UpstreamError):
                    self._key_check.attribute(error, request.account, request.api_key, deadline)
                    self._cool_downs.record(error, account, body, has_fallback=request.has_fallback)
                raise
        self._recorder.confirm(pending, token)
        self._cool_downs.clear(account, body)
        self._key_check.record_success(request.account)
        seconds = self._clock.monotonic() - began
        return Issuance(token, "minted", mint_seconds=seconds, attempts=attempts)

    def _reserve(self, request: TokenRequest, deadline: Deadline) -> PendingMint:
        """Reserve a session within the user's limits; look at Anam before the user is refused."""
        if self._reconciler and self._settings.stop_orphans:
            self._reconciler.stop_orphans(request, deadline)
        try:
            return self._recorder.reserve(request)
        except (errors.MinutesExhausted, errors.TooManySessions):
            if not (self._reconciler and self._reconciler.check_user(request, deadline)):
                raise
        return self._recorder.reserve(request)

    def _put(
        self,
        request: TokenRequest,
        entry: CacheEntryPolicy,
        token: SessionToken,
        generation: str | None,
    ) -> None:
        """Store a new token, and whose it is, for the report of its start."""
        if generation is not None:
            self._store.put(entry.key, token, entry.ttl_for(token), generation)
        # The report may come when the token itself is no longer stored.
        owner_key = self._keys("id", request.user_id, token.id)
        self._store.put_text(owner_key, entry.key, token.expires_at - token.minted_at)
