"""Issuance: the records of a token being issued, and what the core needs of its surroundings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from flask_anam.core.tokens.reuse_policy import TokenRequest
from flask_anam.core.tokens.store import DeferredLookup
from flask_anam.core.tokens.token import SessionToken
from flask_anam.errors import AnamError


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """Session token as it is returned. Immutable.

    Attributes:
        session_token: Anam's token; secret.
        token_id: 16 characters, the only form of the token that may be logged.
        persona_type: the persona it was made for.
        expires_at: Unix seconds.
        expires_in: seconds from now.
        reused: whether it is a stored token.
        mint_seconds: how long the mint took; 0.0 for a stored token.

    Example:
        >>> issued = anam.create_token("support", user_id="7")
        >>> len(issued.token_id), issued.expires_in
        (16, 3600)

    """

    session_token: str = field(repr=False)
    token_id: str
    persona_type: str
    expires_at: int
    expires_in: int
    reused: bool
    mint_seconds: float


@dataclass(frozen=True, slots=True)
class Issuance:
    """A token about to be returned, and whether it is new, reused, replayed or stale.

    Attributes:
        token: the token.
        source: ``minted`` (new), ``reused`` (stored), ``replayed`` (the answer to an equal call)
            or ``stale`` (stored and past its time, while no new token can be minted).
        mint_seconds: how long the mint took; 0.0 unless ``minted``.
        attempts: calls that the mint took; 0 unless ``minted``.

    """

    token: SessionToken
    source: Literal["minted", "reused", "replayed", "stale"]
    mint_seconds: float = 0.0
    attempts: int = 0


class Quota(Protocol):
    """The request limit and the token limit of one user, for one request."""

    def admit(self, lookup: DeferredLookup | None) -> None:
        """Count the request, once; may resolve the lookup in the same round trip.

        Raises:
            RateLimited: the request limit is reached.

        """

    def charge(self, is_final: Callable[[BaseException], bool]) -> AbstractContextManager[object]:
        """Return a context that counts one mint.

        The count is given back when the mint fails, unless `is_final` is true of the error.

        Raises:
            RateLimited: the token limit is reached; raised on entry.

        """


class EventSink(Protocol):
    """Receives the outcome of each request for a token; must not raise."""

    def token_issued(self, request: TokenRequest, issuance: Issuance, seconds: float) -> None:
        """Receive a token about to be returned, `seconds` after it was asked for."""

    def token_failed(self, request: TokenRequest, error: AnamError, seconds: float) -> None:
        """Receive the error that a request ended with, after `seconds`."""

    def persona_missing(self, request: TokenRequest, fallback: str) -> None:
        """Receive that Anam does not know the persona, so that a fallback is used."""
