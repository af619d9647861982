"""Request errors: the caller can correct the request. HTTP status 4xx."""

from __future__ import annotations

from flask_anam.errors.base import AnamError


class RequestError(AnamError):
    """Base class of the errors that the caller can correct.

    Example:
        >>> issubclass(UnknownPersona, RequestError), issubclass(AnamTimeout, RequestError)
        (True, False)

    """

    code = "invalid_request"
    status = 400


class MalformedJson(RequestError):
    """The body is not JSON."""

    code = "malformed_json"
    default_text = (
        'The request body is not valid JSON. Send an object such as {"personaType": "x"}.'
    )


class Unauthenticated(RequestError):
    """Nobody is logged in.

    Example:
        >>> app.test_client().post("/api/session-token", json={}).status_code
        401

    """

    code = "unauthenticated"
    status = 401
    default_text = "Unauthorized"


class PermissionDenied(RequestError):
    """The user lacks a permission.

    Attributes:
        needed: the missing permissions (frozenset of str).

    Example:
        >>> PermissionDenied(needed=frozenset({"reports:read"})).status
        403

    """

    code = "permission_denied"
    status = 403
    default_text = "Insufficient permissions"

    def __init__(self, text: str | None = None, *, needed: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.needed = needed


class CrossSite(RequestError):
    """The request came from another site."""

    code = "cross_site"
    status = 403
    default_text = (
        "This request came from another site. Call it from a page of this site, "
        "or list the page's origin in ANAM_ALLOWED_ORIGINS."
    )


class NotFound(RequestError):
    """There is no such route or record."""

    code = "not_found"
    status = 404
    default_text = "Not found"


class UnknownPersona(RequestError):
    """There is no persona of that name.

    Example:
        >>> anam.create_token("nobody")
        Traceback (most recent call last):
            ...
        flask_anam.errors.UnknownPersona: There is no such persona.

    """

    code = "unknown_persona"
    status = 404
    default_text = "There is no such persona."


class MethodNotAllowed(RequestError):
    """The route does not answer this HTTP method."""

    code = "method_not_allowed"
    status = 405
    default_text = "Method not allowed"


class PayloadTooLarge(RequestError):
    """The request body is over its limit."""

    code = "payload_too_large"
    status = 413
    default_text = "The request body is too large: at most 16 KiB are accepted."


class UnsupportedMediaType(RequestError):
    """The request body is not declared as JSON."""

    code = "unsupported_media_type"
    status = 415
    default_text = "Send the request body as JSON with the header Content-Type: application/json."


class InvalidRequest(RequestError):
    """The body is JSON but not a valid request; `details` names the fields and the reasons.

    Example:
        >>> try:
        ...     anam.create_token("support", overrides={"name": "Eve"})
        ... except InvalidRequest as error:
        ...     error.details
        {'overrides': {'name': ['Not a field that may be set for this persona (allowed: none).']}}

    """

    code = "invalid_request"
    status = 422
    default_text = "The request is not valid."


class RateLimited(RequestError):
    """The user's own rate limit is used up; a limit of Anam's raises `AnamRateLimited`.

    Attributes:
        limit: hits allowed in the window that is full.

    Example:
        >>> error = RateLimited(limit=10, retry_after=120)
        >>> error.limit, error.retry_after
        (10, 120)

    """

    code = "rate_limited"
    status = 429
    retryable = True
    default_text = "Rate limit exceeded"

    def __init__(self, text: str | None = None, *, limit: int, retry_after: float) -> None:
        super().__init__(text, retry_after=retry_after)
        self.limit = limit


class MinutesExhausted(RequestError):
    """The user's minutes of conversation are used up (``ANAM_MINUTES_LIMIT``)."""

    code = "minutes_exhausted"
    status = 429
    retryable = True
    default_text = "Your minutes of conversation are used up."


class TooManySessions(RequestError):
    """The user's limit of concurrent sessions is reached (``ANAM_CONCURRENT_SESSIONS``)."""

    code = "too_many_sessions"
    status = 429
    retryable = True
    default_text = "You have as many conversations open as are allowed. End one of them first."
    default_retry_after = 10
