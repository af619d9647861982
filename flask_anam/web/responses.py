"""Responses: tokens and errors as JSON, never HTML, never a redirect, on our own paths only."""

from __future__ import annotations

import json
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, jsonify, request

from flask_anam.errors import (
    AnamError,
    ConfigError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PersonaInvalid,
    RateLimited,
    UnsupportedMediaType,
    UpstreamError,
)

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.core.minting.issuance import IssuedToken
    from flask_anam.rate_limits.limiter import Window

log = logging.getLogger("flask_anam")

_BY_STATUS: dict[int, type[AnamError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}
#: A log line names the section of the docs with cause and cure.
_LINE = "%s: %s (docs/errors.md#%s)"
#: Marks a response that has the form our callers expect already.
_OURS = "_flask_anam_answered"
_VARY = ("Cookie", "Authorization", "Origin")
_VARY_TEXT = ", ".join(_VARY)
#: Headers of every response on our paths.
_ALWAYS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", _VARY_TEXT),
]
_as_text = json.JSONEncoder().encode
_EXPOSED = "Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Server-Timing"
_ALLOWED_HEADERS = "Content-Type, Idempotency-Key, X-CSRFToken, X-CSRF-Token, Authorization"


def error_response(error: AnamError) -> Response:
    """Return the JSON response to an error, and log what the owner of the app can mend."""
    _log(error)
    show_all = current_app.debug and isinstance(error, PersonaInvalid)
    body: dict[str, Any] = {
        "error": error.text if show_all else error.public_text,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.retry_after is not None:
        body["retryAfter"] = math.ceil(error.retry_after)
    if error.details:
        body["details"] = error.details
    response = jsonify(body)
    response.status_code = error.status
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, RateLimited):
        response.headers.update(_rate_headers(error.limit, 0, math.ceil(error.retry_after or 1)))
    response.headers["Cache-Control"] = "no-store"
    return keep_as_is(response)


def keep_as_is(response: Response) -> Response:
    """Mark a response so that its error page is not replaced by JSON."""
    vars(response)[_OURS] = True
    return response


def token_response(app: Flask, issued: IssuedToken, window: Window | None) -> Response:
    """Return the JSON response with a token, and the ``RateLimit-`` headers of the token limit."""
    # Formatted by hand, since it is on the hot path; the same bytes as jsonify() makes.
    body = (
        f'{{"expiresAt":{issued.expires_at},"expiresIn":{issued.expires_in},'
        f'"personaType":{_as_text(issued.persona_type)},'
        f'"sessionToken":{_as_text(issued.session_token)},"tokenId":"{issued.token_id}"}}\n'
    )
    headers = [
        ("Content-Type", "application/json"),
        ("Server-Timing", f"mint;dur={issued.mint_seconds * 1000:.1f}"),
    ]
    if window is not None:
        headers += _rate_headers(window.limit, window.remaining, window.reset)
    return app.response_class(body, headers=headers)


def _rate_headers(limit: int, remaining: int, reset: int) -> list[tuple[str, str]]:
    """Return the headers of a limit: hits, hits left, seconds until the window ends."""
    return [
        ("RateLimit-Limit", str(limit)),
        ("RateLimit-Remaining", str(remaining)),
        ("RateLimit-Reset", str(reset)),
    ]


def finalize_response(response: Response, allowed_origins: frozenset[str]) -> Response:
    """Complete a response on one of our paths: JSON errors, no-store, Vary, CORS."""
    if response.status_code >= 400 and _OURS not in vars(response):
        response = _to_json(response)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if "Vary" in response.headers:
        response.vary.update(_VARY)
    else:
        response.headers["Vary"] = _VARY_TEXT
    origin = request.headers.get("Origin") if allowed_origins else None
    if origin is not None and origin in allowed_origins:
        headers = response.headers
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        if request.method == "OPTIONS":
            headers["Access-Control-Allow-Methods"] = headers.get("Allow", "GET, POST")
            headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
            headers["Access-Control-Max-Age"] = "600"
    return response


def _to_json(response: Response) -> Response:
    """Replace an error page of Flask or the host with the JSON that our callers expect."""
    kind = _BY_STATUS.get(response.status_code)
    if kind is not None:
        answer = error_response(kind())
    else:
        number = response.status_code
        code, phrase = _name_of(number)
        answer = jsonify({"error": phrase, "code": code, "retryable": number >= 500})
        answer.status_code = number
    for name in ("Allow", "Retry-After", "Set-Cookie"):
        for value in response.headers.getlist(name):
            answer.headers.add(name, value)
    return answer


def _name_of(status: int) -> tuple[str, str]:
    """Return code and sentence of a status; a host may answer with a status that has no name."""
    try:
        known = HTTPStatus(status)
    except ValueError:
        return f"status_{status}", f"The app refused this request ({status})."
    return known.name.lower(), known.phrase


def _log(error: AnamError) -> None:
    extra = {"anam_event": "error", "anam_code": error.code, "anam_status": error.status}
    if isinstance(error, ConfigError | PersonaInvalid):
        log.error(_LINE, error.code, error.text, error.code, extra=extra)
    elif isinstance(error, UpstreamError):
        log.warning(_LINE, error.code, error.text, error.code, extra=extra)
