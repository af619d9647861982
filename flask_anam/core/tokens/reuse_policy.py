"""Which stored token may be handed out again: to whom, told apart by what, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.personas.mint_body import MintBody
from flask_anam.core.tokens.token import SessionToken

#: A stored token is handed out for at most this share of its life.
USABLE_SHARE = 5 / 6
#: Seconds that a token must still have to be handed out when a new one cannot be had.
STALE_MARGIN = 120.0
#: Places, and keys of users, personas and accounts, that are remembered instead of hashed again.
REMEMBERED = 2048


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


class CacheEntryPolicy(NamedTuple):
    """Where the token of a request is kept.

    Attributes:
        key: of the token in the store.
        seconds: how long it may be handed out again; 0 when it is not kept.
        outlives: whether an older one may be handed out while no new one can be had.
        marks: keys whose renewal makes it a miss.
        replays: whether it is only kept for calls that are repeated.

    """

    key: str
    seconds: float
    outlives: bool
    marks: tuple[str, ...]
    replays: bool = False

    def is_fresh(self, token: SessionToken, now: float) -> bool:
        """Whether a kept token may be handed out."""
        return now - token.minted_at < min(self.seconds, token.lifetime * USABLE_SHARE)

    def is_stale(self, token: SessionToken, now: float) -> bool:
        """Whether a kept token is good enough while no new one can be had."""
        return self.outlives and now < token.expires_at - STALE_MARGIN

    def keep_for(self, token: SessionToken) -> float:
        """Return the seconds that a new token is kept."""
        fresh = min(self.seconds, token.lifetime * USABLE_SHARE)
        return max(fresh, token.lifetime - STALE_MARGIN) if self.outlives else fresh


class ReusePolicy:
    """The reuse rules of one app. Thread-safe.

    =============== ============================== ============================
    ANAM_TOKEN_REUSE  told apart by                handed out again for
    =============== ============================== ============================
    until_expiry    user, config                   the cache timeout
    until_used      user, config, slot             the cache timeout
    until_used      user, config, idempotency key  the idempotency window
    until_used      user, config                   the replay window
    never           user, config, slot, key        not; only shared in flight
    =============== ============================== ============================
    """

    def __init__(self, settings: Settings, keys: KeyHasher) -> None:
        self._settings = settings
        self._keys = keys
        # The same few parts come with every request, and hashing them is most of the work.
        self._part = lru_cache(REMEMBERED)(keys)
        self._place = lru_cache(REMEMBERED)(self._make_place)

    def place_of(self, request: TokenRequest) -> CacheEntryPolicy | None:
        """Return where a request's token is kept, or None when nothing may be shared."""
        if request.user_id is None:
            return None
        return self._place(
            (request.user_id, request.persona_type, request.body.digest),
            request.api_key,
            request.slot,
            request.idempotency_key,
            request.body.holds_secrets,
        )

    def _make_place(
        self,
        who: tuple[str, str, str],
        api_key: str,
        slot: str | None,
        idempotency_key: str | None,
        holds_secrets: bool,
    ) -> CacheEntryPolicy:
        start, seconds = self._start(slot, idempotency_key)
        lasts = seconds == self._settings.token_cache_timeout
        if holds_secrets:
            seconds, lasts = 0.0, False
        account = self._account(api_key)
        return CacheEntryPolicy(
            key=self._keys("token", self._settings.token_reuse, who, account, start),
            seconds=seconds,
            outlives=lasts,
            replays=start[:1] in (["replay"], ["key"]),
            marks=self.marks(who[1], who[0]),
        )

    def account(self, request: TokenRequest) -> str:
        """Return what tells accounts apart: a new API key means new tokens."""
        return self._account(request.api_key)

    def _account(self, api_key: str) -> str:
        return self._part("account", self._settings.base_url, api_key)

    def marks(self, persona_type: str | None, user_id: str | None) -> tuple[str, ...]:
        """Return the marks of everything, a persona and a user."""
        parts = (("persona", persona_type), ("user", user_id))
        return (self._part("all"), *[self._part(kind, part) for kind, part in parts if part])

    def _start(
        self, slot: str | None, idempotency_key: str | None
    ) -> tuple[list[str | None], float]:
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
