"""Response mapping: which error each answer of Anam means, and which bodies count as a success.

Statuses and error texts are those of Anam's OpenAPI (July 2026) and of its SDKs.
"""

from __future__ import annotations

from typing import Any

from flask_anam import errors
from flask_anam.core.upstream.retries import wait_hint
from flask_anam.core.upstream.transport import Answer

#: Upper bound of the length of a session token, in characters; a longer one is a bad response.
MAX_TOKEN_LENGTH = 8192


def error_for(answer: Answer) -> errors.UpstreamError:
    """Return the error for an answer whose status is not 2xx.

    Anam's own text decides between the kinds of 429 and whether the persona is missing. It is
    never passed on, since it may quote the request.
    """
    status = answer.status
    if 300 <= status < 400:
        text = (
            f"Anam answered with a redirect ({status}), which is not followed. Check ANAM_BASE_URL."
        )
        return errors.AnamBadResponse(text, retryable=False)
    if status == 401:
        return errors.AnamAuthError("Anam refused this server's API key (401).")
    if status == 403:
        forbidden = errors.AnamAuthError(
            "Anam refused this request (403): the plan of the account does not permit this persona "
            "or one of its options, or the API key lacks a permission. Run `flask anam check`."
        )
        forbidden.of_request = True
        return forbidden
    if status == 402:
        return errors.AnamQuotaError("Anam refused: the account has no plan for this (402).")
    hint = wait_hint(answer.headers)
    if status == 429:
        kind = _kind_of_429(answer)
        if kind:
            return errors.AnamQuotaError(f"Anam refused: {kind} (429).")
        return errors.AnamRateLimited(hinted_wait=hint)
    if status in {408, 425} or status >= 500:
        return errors.AnamUnavailable(
            f"Anam is not available ({status}). Try again in a moment.", hinted_wait=hint
        )
    rejected = errors.AnamRejected(
        f"Anam refused the request for this persona ({status}). Run `flask anam check`."
    )
    rejected.persona_missing = status == 404 or "persona not found" in _error_text(answer)
    return rejected


def is_json(document: Any) -> bool:
    """Whether a body was JSON."""
    return document is not None


def is_object(document: Any) -> bool:
    """Whether a body was a JSON object."""
    return isinstance(document, dict)


def has_session_id(document: Any) -> bool:
    """Whether a body names a session that was started."""
    session_id = document.get("sessionId") if isinstance(document, dict) else None
    return isinstance(session_id, str) and bool(session_id)


def has_session_token(document: Any) -> bool:
    """Whether a body holds a session token: ASCII, of at most 8192 characters."""
    value = document.get("sessionToken") if isinstance(document, dict) else None
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN_LENGTH and value.isascii()


def _kind_of_429(answer: Answer) -> str | None:
    """Return which limit of the account is reached, or None for the rate of our calls.

    The texts are those that Anam's SDKs compare with.
    """
    text = _error_text(answer)
    for words in ("concurrent session limit", "spend cap", "usage limit"):
        if words in text:
            return f"{words} reached"
    return None


def _error_text(answer: Answer) -> str:
    """Return Anam's own text in lower case: to be compared, never to be passed on."""
    document = answer.json()
    if not isinstance(document, dict):
        return ""
    return f"{document.get('error', '')} {document.get('message', '')}".lower()
