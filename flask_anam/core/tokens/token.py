"""Session tokens: their record, their id, and what can be read from them without a key.

Anam signs its tokens (HS256) with a secret of its own, so a token can be decoded here but never
verified; the claims are facts for planning, not proof of anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from dataclasses import dataclass, field

#: Lifetime in seconds where a token does not tell (Anam documents one hour).
DEFAULT_LIFETIME = 3600.0
#: Longest lifetime believed, in seconds (two weeks); anything above is cut to it.
LONGEST_LIFETIME = 14 * 86400.0
#: Characters of a session id at most.
MAX_SESSION_ID = 64


def is_plain_id(text: str) -> bool:
    """Whether a text holds nothing but letters, digits, - and _, as token ids and session ids do.

    Ids come from browsers. Others are in no record, would lead a call to Anam elsewhere, and are
    an error to some databases, which would stop the recording of usage for everybody.
    """
    return text.isascii() and text.replace("-", "a").replace("_", "a").isalnum()


def is_session_id(text: str) -> bool:
    """Whether a text can be the id of a session."""
    return len(text) <= MAX_SESSION_ID and is_plain_id(text)


def token_id(session_token: str) -> str:
    """Return the token id: 16 characters of a hash, the only form that may reach a log."""
    digest = hashlib.sha256(session_token.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a session token says about itself; every field may be missing.

    Attributes:
        type: ``ephemeral``, ``stateful`` or ``legacy``, in lower case.
        issued_at: Unix seconds of the issuer's clock.
        expires_at: Unix seconds of the issuer's clock.
        session_id: the session that this token will start.

    """

    type: str | None = None
    issued_at: float | None = None
    expires_at: float | None = None
    session_id: str | None = None

    @property
    def lifetime(self) -> float | None:
        """Seconds from issue to expiry: a difference of one clock, so its skew cancels."""
        if self.expires_at is None or self.issued_at is None:
            return None
        return self.expires_at - self.issued_at


def read_claims(session_token: str) -> Claims | None:
    """Decode the claims of a session token; None when it is not a JSON Web Token.

    Never raises for any string, and checks no signature.
    """
    match = _JWT.fullmatch(session_token)
    if match is None:
        return None
    payload = match[1]
    try:
        padded = payload + "=" * (-len(payload) % 4)
        claims = json.loads(base64.b64decode(padded.translate(_URLSAFE), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(claims, dict):
        return None
    kind, session_id = claims.get("type"), claims.get("sessionId")
    return Claims(
        type=kind.lower() if isinstance(kind, str) else None,
        issued_at=_seconds(claims.get("iat")),
        expires_at=_seconds(claims.get("exp")),
        session_id=session_id if isinstance(session_id, str) else None,
    )


_URLSAFE = str.maketrans("-_", "+/")
_JWT = re.compile(r"[A-Za-z0-9_+/=-]+\.([A-Za-z0-9_+/=-]+)\.[A-Za-z0-9_+/=-]+")


def _seconds(value: object) -> float | None:
    """Return a claim as finite seconds, or None for anything odd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionToken:
    """A minted session token as we keep it; times are Unix seconds of our own clock."""

    value: str = field(repr=False)
    minted_at: float
    expires_at: float
    #: The token id.
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", token_id(self.value))

    @property
    def lifetime(self) -> float:
        """Seconds from mint to expiry."""
        return self.expires_at - self.minted_at

    @classmethod
    def minted(
        cls, value: str, claims: Claims | None, *, asked_at: float, issuer_now: float | None = None
    ) -> SessionToken:
        """Return the record of a token that was asked for at `asked_at`, Unix seconds.

        Expiry is `asked_at` plus the issuer's own ``exp - iat``, so that clock skew cancels. A
        token without ``iat`` counts from `issuer_now` (the ``Date`` of the answer), and one
        without ``exp`` lasts the documented hour.
        """
        claims = claims or Claims()
        lifetime = claims.lifetime
        if lifetime is None and claims.expires_at is not None:
            lifetime = claims.expires_at - (asked_at if issuer_now is None else issuer_now)
        if lifetime is None:
            lifetime = DEFAULT_LIFETIME
        bounded = min(max(lifetime, 0.0), LONGEST_LIFETIME)
        return cls(value=value, minted_at=asked_at, expires_at=asked_at + bounded)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatus:
    """Result of `FlaskAnam.validate_token`; true when the token looks usable. Immutable.

    Attributes:
        reason: ``ok``, ``malformed``, ``expired``, ``legacy``; after a probe also ``refused``
            (Anam would not start a session with it) or ``unreachable`` (Anam did not answer).
        expires_in: seconds until expiry, 0.0 when expired, None when the token has no ``exp``.
        spent: True when a probe has used the token up; get a new one then.

    Example:
        >>> status = anam.validate_token("not a token")
        >>> bool(status), status.reason
        (False, 'malformed')

    """

    reason: str
    expires_in: float | None = None
    spent: bool = False

    def __bool__(self) -> bool:
        return self.reason == "ok"


def check_token(session_token: object, now: float) -> TokenStatus:
    """Judge a session token by its shape, ``exp`` and ``type``; `now` is Unix seconds.

    Opens no session and proves no signature. Never raises.
    """
    claims = read_claims(session_token) if isinstance(session_token, str) else None
    if claims is None:
        return TokenStatus(reason="malformed")
    left = None if claims.expires_at is None else max(0.0, claims.expires_at - now)
    if claims.type == "legacy":
        return TokenStatus(reason="legacy", expires_in=left)
    if left is not None and left <= 0:
        return TokenStatus(reason="expired", expires_in=0.0)
    return TokenStatus(reason="ok", expires_in=left)
