"""Cache policy of session tokens: which stored token may be returned again, to whom, how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.personas.mint_body import MintBody
from flask_anam.core.tokens.token import SessionToken
from flask_anam.errors import AnamAuthError, AnamRejected

#: A stored token is returned for at most this share of its life.
USABLE_SHARE = 5 / 6
#: Seconds that a token must have left to be returned when no new one can be minted.
STALE_MARGIN = 120.0
#: Cache entries, and hashes of users, personas and accounts, that are remembered per process.
MAX_REMEMBERED = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A request for a session token, checked and complete.

    Attributes:
        user_id: who will get the token; None means that it is never stored.
        persona_type: our name for the persona.
        body: what Anam is sent.
        api_key: the key of the account that the token is minted in; secret.
        account: keyed hash of that account, see `ReusePolicy.account_of`.
        slot: one browser tab, or None.
        idempotency_key: one start attempt of a caller without a slot, or None.
        refused: token id of a token that failed to start, or None.
        has_fallback: whether another persona is used when Anam does not know this one.
        has_overrides: whether the caller has chosen a part of the body.

    """

    user_id: str | None
    persona_type: str
    body: MintBody
    api_key: str = field(repr=False)
    account: str
    slot: str | None = None
    idempotency_key: str | None = None
    refused: str | None = None
    has_fallback: bool = False
    has_overrides: bool = False

    def blames_caller(self, error: BaseException) -> bool:
        """Whether the caller's own choice may be why Anam refused the mint."""
        return self.has_overrides and (
            isinstance(error, AnamRejected)
            or (isinstance(error, AnamAuthError) and error.of_request)
        )


class CacheEntryPolicy(NamedTuple):
    """The cache entry of one request: its key and how long it is good for.

    Attributes:
        key: of the token in the store.
        seconds: how long a token may be returned again; 0 when it is not stored.
        serve_stale: whether an older token may be returned while no new one can be minted.
        invalidation_keys: keys whose next generation makes the entry a miss.
        replay_only: whether the entry only answers repeated calls.

    """

    key: str
    seconds: float
    serve_stale: bool
    invalidation_keys: tuple[str, ...]
    replay_only: bool = False

    def is_fresh(self, token: SessionToken, now: float) -> bool:
        """Whether a stored token may be returned."""
        lifetime = token.expires_at - token.minted_at
        return now - token.minted_at < min(self.seconds, lifetime * USABLE_SHARE)

    def is_stale(self, token: SessionToken, now: float) -> bool:
        """Whether a stored token is good enough while no new one can be minted."""
        return self.serve_stale and now < token.expires_at - STALE_MARGIN

    def ttl_for(self, token: SessionToken) -> float:
        """Return the seconds for which a new token is stored."""
        lifetime = token.expires_at - token.minted_at
        fresh = min(self.seconds, lifetime * USABLE_SHARE)
        return max(fresh, lifetime - STALE_MARGIN) if self.serve_stale else fresh


class ReusePolicy:
    """Cache policy of one app, by ``ANAM_TOKEN_REUSE``. Thread-safe.

    =============== ============================== =================================
    ANAM_TOKEN_REUSE  cache key                    a stored token is returned for
    =============== ============================== =================================
    until_expiry    user, config                   the cache timeout
    until_used      user, config, slot             the cache timeout
    until_used      user, config, idempotency key  the idempotency window
    until_used      user, config                   the replay window
    never           user, config, slot, key        no time; only callers in flight share
    =============== ============================== =================================
    """

    def __init__(self, settings: Settings, keys: KeyHasher) -> None:
        self._settings = settings
        self._keys = keys
        # The same few parts come with every request, and hashing them is most of the work.
        self._part = lru_cache(MAX_REMEMBERED)(keys)
        self._entry = lru_cache(MAX_REMEMBERED)(self._make_entry)
        self._account = lru_cache(MAX_REMEMBERED)(keys.digest)

    def entry_for(self, request: TokenRequest) -> CacheEntryPolicy | None:
        """Return the cache entry of a request, or None when its token may not be shared."""
        if request.user_id is None:
            return None
        return self._entry(
            (request.user_id, request.persona_type, request.body.digest),
            request.account,
            request.slot,
            request.idempotency_key,
            request.body.holds_secrets,
        )

    def account_of(self, api_key: str) -> str:
        """Return the keyed hash of an account: a new API key means new tokens."""
        return self._account("account", self._settings.base_url, api_key)

    def invalidation_keys(self, persona_type: str | None, user_id: str | None) -> tuple[str, ...]:
        """Return the keys that invalidate all tokens, and those of a persona and of a user."""
        keys = [self._part("all")]
        if persona_type:
            keys.append(self._part("persona", persona_type))
        if user_id:
            keys.append(self._part("user", user_id))
        return tuple(keys)

    def _make_entry(
        self,
        who: tuple[str, str, str],
        account: str,
        slot: str | None,
        idempotency_key: str | None,
        holds_secrets: bool,
    ) -> CacheEntryPolicy:
        start, seconds = self._start(slot, idempotency_key)
        serve_stale = seconds == self._settings.token_cache_timeout
        if holds_secrets:
            seconds, serve_stale = 0.0, False
        return CacheEntryPolicy(
            key=self._keys("token", self._settings.token_reuse, who, account, start),
            seconds=seconds,
            serve_stale=serve_stale,
            replay_only=start[:1] in (["replay"], ["key"]),
            invalidation_keys=self.invalidation_keys(who[1], who[0]),
        )

    def _start(
        self, slot: str | None, idempotency_key: str | None
    ) -> tuple[list[str | None], float]:
        """Return what tells one start of a conversation from another, and the seconds of reuse."""
        settings = self._settings
        if settings.token_reuse == "until_expiry":
            return [], settings.token_cache_timeout
        if settings.token_reuse == "never":
            return [slot, idempotency_key], 0.0
        if slot is not None:
            return ["slot", slot], settings.token_cache_timeout
        if idempotency_key is not None:
            return ["key", idempotency_key], settings.idempotency_window
        return ["replay"], settings.replay_window
