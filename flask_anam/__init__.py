"""Flask-Anam: session tokens for Anam's real-time AI personas, the Flask way."""

from flask_anam.core.minting.issuance import IssuedToken
from flask_anam.core.minting.manager import SessionTokenManager
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.core.schemas.secret import secret
from flask_anam.core.schemas.session_options import SessionOptionsSchema
from flask_anam.core.tokens.token import TokenStatus
from flask_anam.errors import (
    AnamAtCapacity,
    AnamAuthError,
    AnamBadResponse,
    AnamError,
    AnamQuotaError,
    AnamRateLimited,
    AnamRejected,
    AnamTimeout,
    AnamUnavailable,
    Busy,
    ConfigError,
    InvalidRequest,
    PermissionDenied,
    PersonaInvalid,
    PersonaWarning,
    RateLimited,
    RequestError,
    Unauthenticated,
    UnknownPersona,
    UpstreamError,
)
from flask_anam.extension import FlaskAnam
from flask_anam.signals import (
    limit_reached,
    persona_missing,
    session_ended,
    session_started,
    token_failed,
    token_minted,
    token_reused,
)
from flask_anam.web.decorators import permission_required

__all__ = [
    "AnamAtCapacity",
    "AnamAuthError",
    "AnamBadResponse",
    "AnamError",
    "AnamQuotaError",
    "AnamRateLimited",
    "AnamRejected",
    "AnamTimeout",
    "AnamUnavailable",
    "Busy",
    "ConfigError",
    "FlaskAnam",
    "InvalidRequest",
    "IssuedToken",
    "PermissionDenied",
    "PersonaConfigSchema",
    "PersonaInvalid",
    "PersonaWarning",
    "RateLimited",
    "RequestError",
    "SessionOptionsSchema",
    "SessionTokenManager",
    "TokenStatus",
    "Unauthenticated",
    "UnknownPersona",
    "UpstreamError",
    "limit_reached",
    "permission_required",
    "persona_missing",
    "secret",
    "session_ended",
    "session_started",
    "token_failed",
    "token_minted",
    "token_reused",
]
