"""Every error Flask-Anam raises, with the facts a caller needs to act on it.

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

The text of an error never holds an API key, a session token or a prompt. This module imports
nothing of the package.
"""

from __future__ import annotations

from typing import ClassVar, Self, TypeVar


class PersonaWarning(UserWarning):
    """A persona config that Anam accepts but that may not do what it says."""


#: Field name to messages, nested where the field is an object; safe to show to a browser.
Details = dict[str, object]


class AnamError(Exception):
    """Base of all errors of this package.

    Attributes:
        code: stable machine-readable name, also the ``code`` of the JSON answer.
        status: HTTP status of the answer our own endpoint gives.
        retryable: whether the same call may succeed later without a change by the caller.
        retry_after: seconds (1 to 300) to wait before a retry, or None. Always set on a 503.
        details: field name to list of messages, or None.

    """

    code: ClassVar[str] = "anam_error"
    status: ClassVar[int] = 500
    retryable: bool = False
    default_text: ClassVar[str] = "Something went wrong."
    default_retry_after: ClassVar[int | None] = None

    def __init__(
        self,
        text: str | None = None,
        *,
        retry_after: float | None = None,
        retryable: bool | None = None,
        details: Details | None = None,
    ) -> None:
        super().__init__(text or self.default_text)
        if retryable is not None:
            self.retryable = retryable
        self.retry_after = self.default_retry_after if retry_after is None else retry_after
        self.details = details

    @property
    def text(self) -> str:
        """The sentence for people; holds no secret."""
        return str(self.args[0])

    @property
    def public_text(self) -> str:
        """The sentence a browser may read; the same as `text` unless that is for the log only."""
        return self.text

    def again(self) -> Self:
        """Return an equal error without a traceback, to be raised in another thread."""
        return _rebuild(type(self), self.args, vars(self))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, vars(self))


E = TypeVar("E", bound=AnamError)


def _rebuild(kind: type[E], args: tuple[object, ...], facts: dict[str, object]) -> E:
    """Make an error from its parts: what copy, pickle and `AnamError.again` need."""
    twin = kind.__new__(kind)
    twin.args = args
    vars(twin).update(facts)
    return twin


class ConfigError(AnamError):
    """The set-up of the app is wrong; the text names the key and the cure."""

    code = "config_error"
    default_text = "Flask-Anam is not set up correctly."


class PersonaInvalid(AnamError):
    """A persona config of this app is wrong, or its callable raised; details go to the log."""

    code = "persona_invalid"
    default_text = "This persona is not set up correctly."

    @property
    def public_text(self) -> str:
        """Say nothing of the config: it is ours, not the caller's."""
        return self.default_text


class RequestError(AnamError):
    """The caller's request cannot be served as it is."""

    code = "invalid_request"
    status = 400


class MalformedJson(RequestError):
    """The body is not JSON."""

    code = "malformed_json"
    default_text = (
        'The request body is not valid JSON. Send an object such as {"personaType": "x"}.'
    )


class Unauthenticated(RequestError):
    """Nobody is logged in."""

    code = "unauthenticated"
    status = 401
    default_text = "Unauthorized"


class PermissionDenied(RequestError):
    """The user lacks a permission.

    Attributes:
        needed: names of the permissions that were asked for.

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
    """No persona of that name exists."""

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
    """The body is JSON but not a valid request; `details` says which field and why."""

    code = "invalid_request"
    status = 422
    default_text = "The request is not valid."


class RateLimited(RequestError):
    """The user's own limit is used up; never raised for a limit of Anam's.

    Attributes:
        limit: hits allowed in the window that is full.

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
    """The user has as many sessions as are allowed at once (``ANAM_CONCURRENT_SESSIONS``)."""

    code = "too_many_sessions"
    status = 429
    retryable = True
    default_text = "You have as many conversations open as are allowed. End one of them first."
    default_retry_after = 10


class UpstreamError(AnamError):
    """Anam refused, failed or could not be reached.

    Attributes:
        hinted_wait: seconds that Anam itself asked to wait, or None.

    """

    status = 502
    code = "anam_rejected"

    def __init__(
        self,
        text: str | None = None,
        *,
        hinted_wait: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        hinted = None if hinted_wait is None else max(1.0, hinted_wait)
        super().__init__(text, retry_after=hinted, retryable=retryable)
        self.hinted_wait = hinted_wait


class AnamAuthError(UpstreamError):
    """Anam refused our API key (401) or what it may do (403)."""

    code = "anam_auth"
    default_text = "Anam refused this server's API key. Check ANAM_API_KEY."


class AnamQuotaError(UpstreamError):
    """Anam refused for our plan: no plan (402), spend cap, usage or session limit."""

    code = "anam_quota"
    default_text = "Anam refused: the plan, spend cap or usage limit of the account is reached."


class AnamRejected(UpstreamError):
    """Anam refused our request (400, 404, 422): most often a wrong id in a persona config.

    Attributes:
        persona_missing: whether Anam said that it does not know the persona.

    """

    persona_missing = False

    code = "anam_rejected"
    default_text = "Anam refused the request for this persona. Run `flask anam check`."


class AnamBadResponse(UpstreamError):
    """Anam's answer made no sense: not JSON, cut, too large, a redirect, no token in it."""

    code = "anam_bad_response"
    retryable = True
    default_text = "Anam's answer made no sense."


class AnamRateLimited(UpstreamError):
    """Anam limits how often this server may call."""

    code = "anam_rate_limited"
    status = 503
    retryable = True
    default_text = "Anam is limiting requests. Try again in a moment."
    default_retry_after = 2


class AnamUnavailable(UpstreamError):
    """Anam could not be reached or answered with a server error."""

    code = "anam_unavailable"
    status = 503
    retryable = True
    default_text = "Anam is not available. Try again in a moment."
    default_retry_after = 2


class AnamAtCapacity(UpstreamError):
    """As many sessions run as the account may have; told before a mint, if wished."""

    code = "anam_at_capacity"
    status = 503
    retryable = True
    default_text = "All places are taken. Try again in a moment."
    default_retry_after = 5


class Busy(UpstreamError):
    """Too many calls to Anam are already under way in this process."""

    code = "busy"
    status = 503
    retryable = True
    default_text = "The server is busy. Try again in a moment."
    default_retry_after = 1


class AnamTimeout(UpstreamError):
    """Anam did not answer in time."""

    code = "anam_timeout"
    status = 504
    retryable = True
    default_text = "Anam did not answer in time. Try again in a moment."
    default_retry_after = 2
