"""From a user and a persona to one session token: reuse what may be reused, mint the rest.

The state of a token: minted, handed to a slot, started, gone. Which stored token may be handed
out again is decided in one place, `SessionTokenManager._place`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from flask_anam.core.client import AnamClient
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.flight import SingleFlight
from flask_anam.core.registry import MintBody
from flask_anam.core.settings import Settings
from flask_anam.core.store import KeyMaker, TokenStore
from flask_anam.core.tokens import SessionToken
from flask_anam.errors import AnamError, AnamRejected

#: A stored token is handed out for at most this share of its life.
USABLE_SHARE = 5 / 6
#: Seconds for which a persona that Anam does not know is not asked for again.
MISSING_FOR = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What is asked for.

    Attributes:
        user_id: who will get the token; None means that it is never stored.
        persona_type: our name for the persona.
        body: what Anam is sent.
        api_key: the key of the account that the token is minted in; secret.
        slot: one browser tab, or None.
        idempotency_key: one start attempt of a caller without a slot, or None.
        refused: token id of a token that failed to start, or None.
        has_fallback: whether another persona is used when Anam does not know this one.
        limit: entered before a mint; raises RateLimited, and gives back when the mint fails.

    """

    user_id: str | None
    persona_type: str
    body: MintBody
    api_key: str = field(repr=False)
    slot: str | None = None
    idempotency_key: str | None = None
    refused: str | None = None
    has_fallback: bool = False
    limit: Callable[[], AbstractContextManager[object]] = nullcontext


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
    """Hears what happens to tokens; must not raise."""

    def token_minted(self, request: TokenRequest, token: SessionToken, seconds: float) -> None:
        """Hear of a new token; `seconds` is how long its mint took."""

    def token_reused(self, request: TokenRequest, token: SessionToken) -> None:
        """Hear that a stored or shared token is handed out."""

    def token_failed(self, request: TokenRequest, error: AnamError) -> None:
        """Hear that no token could be handed out."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the token of a request is kept, and for how many seconds (0: not at all)."""

    key: str
    seconds: float


class SessionTokenManager:
    """Creates, stores, reuses and forgets session tokens. Thread-safe.

    Args:
        client: the Anam API.
        store: where tokens are kept.
        keys: makes the keys of the store.
        settings: the settings of the app.
        clock: time.
        observer: hears what happens.

    """

    def __init__(
        self,
        *,
        client: AnamClient,
        store: TokenStore,
        keys: KeyMaker,
        settings: Settings,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._client = client
        self._store = store
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._flights: SingleFlight[tuple[SessionToken, float]] = SingleFlight()

    def create_token(self, request: TokenRequest) -> IssuedToken:
        """Hand out a stored token where the reuse rules allow it, else mint one.

        Concurrent equal requests in this process share one mint, and its error.

        Raises:
            RateLimited: the user's token limit is used up.
            UpstreamError: the mint failed.

        """
        deadline = Deadline.after(self._clock, self._settings.deadline)
        try:
            token, minted_in = self._token_for(request, deadline)
        except AnamError as error:
            if not (request.has_fallback and is_missing_persona(error)):
                self._observer.token_failed(request, error)
            raise
        if minted_in is None:
            self._observer.token_reused(request, token)
        else:
            self._observer.token_minted(request, token, minted_in)
        left = max(0.0, token.expires_at - self._clock.time())
        return IssuedToken(
            session_token=token.value,
            token_id=token.id,
            persona_type=request.persona_type,
            expires_at=int(token.expires_at),
            expires_in=int(left),
            reused=minted_in is None,
            mint_seconds=minted_in or 0.0,
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
        if persona_type is None and user_id is None:
            self._store.renew(self._keys("all"))
        if persona_type is not None:
            self._store.renew(self._keys("persona", persona_type))
        if user_id is not None:
            self._store.renew(self._keys("user", user_id))

    def _token_for(
        self, request: TokenRequest, deadline: Deadline
    ) -> tuple[SessionToken, float | None]:
        """Return a token, and the seconds its mint took (None for a stored or shared one)."""
        place = self._place(request)
        if place is None:
            return self._mint(request, deadline)
        if request.refused:
            self._store.evict(place.key, request.refused)
        marks = self._marks(request)
        found = self._store.lookup(place.key, marks) if place.seconds else None
        if found and found.token and self._usable(found.token):
            return found.token, None

        def fly() -> tuple[SessionToken, float]:
            # Another flight may have landed between the look above and this one taking off.
            again = self._store.lookup(place.key, marks) if place.seconds else None
            if again and again.token and self._usable(again.token):
                return again.token, -1.0
            token, seconds = self._mint(request, deadline)
            self._keep(request, place, token, again.generation if again else None)
            return token, seconds

        (token, seconds), led = self._flights.run(place.key, fly, deadline)
        return token, seconds if led and seconds >= 0 else None

    def _mint(self, request: TokenRequest, deadline: Deadline) -> tuple[SessionToken, float]:
        missing = self._keys("missing", request.body.digest, *self._account(request))
        if request.has_fallback and self._store.noted(missing):
            raise _missing_persona()
        with request.limit():
            before = self._clock.monotonic()
            try:
                minted = self._client.mint(request.body.body, request.api_key, deadline)
            except AnamRejected as error:
                if request.has_fallback and is_missing_persona(error):
                    self._store.note(missing, "missing", MISSING_FOR)
                raise
            return minted.token, self._clock.monotonic() - before

    def _account(self, request: TokenRequest) -> list[str]:
        """Return what tells accounts apart: a new key means new tokens."""
        return [self._settings.base_url, request.api_key]

    def _place(self, request: TokenRequest) -> _Place | None:
        """Return where this request's token is kept, or None when nothing may be shared.

        =============== ============================== ===============================
        reuse           told apart by                  kept for
        =============== ============================== ===============================
        until_expiry    user, config                   the cache timeout
        until_used      user, config, slot             the cache timeout
        until_used      user, config, idempotency key  the idempotency window
        until_used      user, config                   the replay window
        never           user, config, slot, key        not kept, only shared in flight
        =============== ============================== ===============================
        """
        if request.user_id is None:
            return None
        settings = self._settings
        reuse, start, seconds = settings.token_reuse, [], settings.token_cache_timeout
        if reuse == "never":
            start, seconds = [request.slot, request.idempotency_key], 0.0
        elif reuse == "until_used":
            if request.slot is not None:
                start = ["slot", request.slot]
            elif request.idempotency_key is not None:
                start, seconds = ["key", request.idempotency_key], settings.idempotency_window
            else:
                start, seconds = ["replay"], settings.replay_window
        if request.body.holds_secrets:
            seconds = 0.0
        who = [request.user_id, request.persona_type, request.body.digest]
        return _Place(self._keys("token", reuse, who, self._account(request), start), seconds)

    def _marks(self, request: TokenRequest) -> tuple[str, str, str]:
        return (
            self._keys("all"),
            self._keys("persona", request.persona_type),
            self._keys("user", request.user_id),
        )

    def _usable(self, token: SessionToken) -> bool:
        age = self._clock.time() - token.minted_at
        return age < min(self._settings.token_cache_timeout, token.lifetime * USABLE_SHARE)

    def _keep(
        self, request: TokenRequest, place: _Place, token: SessionToken, generation: str | None
    ) -> None:
        if generation is not None:
            seconds = min(place.seconds, token.lifetime * USABLE_SHARE)
            self._store.put(place.key, token, seconds, generation)
        # Who got it, for the report of its start; that may come when it is no longer kept.
        self._store.note(self._keys("id", request.user_id, token.id), place.key, token.lifetime)


def is_missing_persona(error: AnamError) -> bool:
    """Whether Anam said that it does not know the persona."""
    return isinstance(error, AnamRejected) and error.persona_missing


def _missing_persona() -> AnamRejected:
    error = AnamRejected("Anam does not know this persona. Run `flask anam check`.")
    error.persona_missing = True
    return error
