"""Exception hierarchy: every error of Flask-Anam, with the facts that a caller needs to act on it.

::

    AnamError                      code, status, retryable, retry_after, details
    ├── ConfigError            500 config_error            start-up, or a missing Flask-Login
    ├── PersonaInvalid         500 persona_invalid         our own persona config is wrong
    ├── RequestError                                       the caller can put it right
    │   ├── MalformedJson      400 malformed_json
    │   ├── Unauthenticated    401 unauthenticated
    │   ├── PermissionDenied   403 permission_denied
    │   ├── CrossSite          403 cross_site
    │   ├── NotFound           404 not_found
    │   ├── UnknownPersona     404 unknown_persona
    │   ├── MethodNotAllowed   405 method_not_allowed
    │   ├── PayloadTooLarge    413 payload_too_large
    │   ├── UnsupportedMediaType 415 unsupported_media_type
    │   ├── InvalidRequest     422 invalid_request         with details
    │   ├── RateLimited        429 rate_limited            this user's own limit
    │   ├── MinutesExhausted   429 minutes_exhausted       this user's minutes are used up
    │   └── TooManySessions    429 too_many_sessions       this user's sessions at once
    └── UpstreamError                                      Anam, or the way to it
        ├── AnamAuthError      502 anam_auth               our API key was refused
        ├── AnamQuotaError     502 anam_quota              plan, spend cap, usage
        ├── AnamRejected       502 anam_rejected           our request was refused
        ├── AnamBadResponse    502 anam_bad_response       the answer made no sense
        ├── AnamRateLimited    503 anam_rate_limited
        ├── AnamUnavailable    503 anam_unavailable
        ├── AnamAtCapacity     503 anam_at_capacity        all sessions of the account are taken
        ├── Busy               503 busy                    our own queue is full
        └── AnamTimeout        504 anam_timeout

The text of an error never holds an API key, a session token or a prompt. This package imports
nothing else of ours; import its names from here, as the submodules may change.
"""

from flask_anam.errors.base import AnamError, ConfigError, Details, PersonaInvalid, PersonaWarning
from flask_anam.errors.base import _rebuild as _rebuild
from flask_anam.errors.request import (
    CrossSite,
    InvalidRequest,
    MalformedJson,
    MethodNotAllowed,
    MinutesExhausted,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    RequestError,
    TooManySessions,
    Unauthenticated,
    UnknownPersona,
    UnsupportedMediaType,
)
from flask_anam.errors.upstream import (
    AnamAtCapacity,
    AnamAuthError,
    AnamBadResponse,
    AnamQuotaError,
    AnamRateLimited,
    AnamRejected,
    AnamTimeout,
    AnamUnavailable,
    Busy,
    UpstreamError,
)

__all__ = [  # noqa: RUF022 - the order of the tree, and of the docs
    "AnamError",
    "ConfigError",
    "PersonaInvalid",
    "RequestError",
    "MalformedJson",
    "Unauthenticated",
    "PermissionDenied",
    "CrossSite",
    "NotFound",
    "UnknownPersona",
    "MethodNotAllowed",
    "PayloadTooLarge",
    "UnsupportedMediaType",
    "InvalidRequest",
    "RateLimited",
    "MinutesExhausted",
    "TooManySessions",
    "UpstreamError",
    "AnamAuthError",
    "AnamQuotaError",
    "AnamRejected",
    "AnamBadResponse",
    "AnamRateLimited",
    "AnamUnavailable",
    "AnamAtCapacity",
    "Busy",
    "AnamTimeout",
    "PersonaWarning",
    "Details",
]
