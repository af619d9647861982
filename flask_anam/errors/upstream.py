"""Upstream errors: Anam refused, failed or could not be reached. HTTP status 502 to 504."""

from __future__ import annotations

from flask_anam.errors.base import AnamError


class UpstreamError(AnamError):
    """Base class of the errors of Anam's API and of the way to it.

    Attributes:
        hinted_wait: seconds that Anam itself asked to wait, or None.

    Example:
        >>> sandbox.fail_next(503, times=3)
        >>> try:
        ...     anam.create_token("support")
        ... except UpstreamError as error:
        ...     print(error.code, error.retryable)
        anam_unavailable True

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
    """Anam refused our API key (401), or what was asked for with it (403).

    Attributes:
        of_request: whether only this request body is refused (403), as far as is known, and not
            the key: a plan may not permit an option of one persona.

    Example:
        >>> AnamAuthError.code, AnamAuthError.status, AnamAuthError.retryable
        ('anam_auth', 502, False)

    """

    of_request = False

    code = "anam_auth"
    default_text = "Anam refused this server's API key. Check ANAM_API_KEY."


class AnamQuotaError(UpstreamError):
    """Anam refused because of the account's plan (402), spend cap, usage or session limit.

    Example:
        >>> AnamQuotaError.code, AnamQuotaError.status, AnamQuotaError.retryable
        ('anam_quota', 502, False)

    """

    code = "anam_quota"
    default_text = "Anam refused: the plan, spend cap or usage limit of the account is reached."


class AnamRejected(UpstreamError):
    """Anam refused our request (400, 404, 422): most often a wrong id in a persona config.

    Attributes:
        persona_missing: whether Anam answered that it does not know the persona.

    Example:
        >>> AnamRejected.code, AnamRejected.status, AnamRejected.retryable
        ('anam_rejected', 502, False)

    """

    persona_missing = False

    code = "anam_rejected"
    default_text = "Anam refused the request for this persona. Run `flask anam check`."


class AnamBadResponse(UpstreamError):
    """Anam's answer was invalid: not JSON, truncated, too large, a redirect, or without a token.

    Example:
        >>> AnamBadResponse.code, AnamBadResponse.status, AnamBadResponse.retryable
        ('anam_bad_response', 502, True)

    """

    code = "anam_bad_response"
    retryable = True
    default_text = "Anam's answer made no sense."


class AnamRateLimited(UpstreamError):
    """Anam's own rate limit for this server is used up.

    Example:
        >>> AnamRateLimited(hinted_wait=9).retry_after
        9

    """

    code = "anam_rate_limited"
    status = 503
    retryable = True
    default_text = "Anam is limiting requests. Try again in a moment."
    default_retry_after = 2


class AnamUnavailable(UpstreamError):
    """Anam could not be reached or answered with a server error.

    Example:
        >>> AnamUnavailable().status, AnamUnavailable().retry_after
        (503, 2)

    """

    code = "anam_unavailable"
    status = 503
    retryable = True
    default_text = "Anam is not available. Try again in a moment."
    default_retry_after = 2


class AnamAtCapacity(UpstreamError):
    """The account's session limit is reached.

    Raised before minting when ``ANAM_CONCURRENCY_PRECHECK`` is on.

    Example:
        >>> AnamAtCapacity().status, AnamAtCapacity().retry_after
        (503, 5)

    """

    code = "anam_at_capacity"
    status = 503
    retryable = True
    default_text = "All places are taken. Try again in a moment."
    default_retry_after = 5


class Busy(UpstreamError):
    """Too many calls to Anam are in flight (``ANAM_MAX_IN_FLIGHT``), or a needed store is down.

    Example:
        >>> Busy().status, Busy().retry_after
        (503, 1)

    """

    code = "busy"
    status = 503
    retryable = True
    default_text = "The server is busy. Try again in a moment."
    default_retry_after = 1


class AnamTimeout(UpstreamError):
    """Anam did not answer within ``ANAM_READ_TIMEOUT``, or the request's deadline passed.

    Example:
        >>> AnamTimeout().status, AnamTimeout().retry_after
        (504, 2)

    """

    code = "anam_timeout"
    status = 504
    retryable = True
    default_text = "Anam did not answer in time. Try again in a moment."
    default_retry_after = 2
