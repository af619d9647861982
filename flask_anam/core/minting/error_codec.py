"""Serialisation of upstream errors, so that processes can share them through the cache."""

from __future__ import annotations

from flask_anam.errors import AnamAuthError, AnamError, AnamRejected, UpstreamError


def is_missing_persona(error: AnamError) -> bool:
    """Whether Anam answered that it does not know the persona."""
    return isinstance(error, AnamRejected) and error.persona_missing


def encode_error(error: UpstreamError) -> dict[str, object]:
    """Return an upstream error as a JSON-ready mapping; none of it is secret."""
    return {
        "code": error.code,
        "text": error.text,
        "wait": error.hinted_wait,
        "retryable": error.retryable,
        "missing": is_missing_persona(error),
        "of_request": isinstance(error, AnamAuthError) and error.of_request,
    }


def decode_error(facts: object) -> UpstreamError:
    """Return the upstream error that `encode_error` made a mapping of.

    Raises:
        KeyError: the code is of no upstream error.

    """
    kinds = {kind.code: kind for kind in UpstreamError.__subclasses__()}
    if not isinstance(facts, dict):
        raise KeyError("code")
    wait = facts.get("wait")
    error = kinds[str(facts["code"])](
        str(facts.get("text", "")) or None,
        hinted_wait=float(wait) if isinstance(wait, int | float) else None,
        retryable=facts.get("retryable") is True,
    )
    if isinstance(error, AnamRejected):
        error.persona_missing = facts.get("missing") is True
    if isinstance(error, AnamAuthError):
        error.of_request = facts.get("of_request") is True
    return error
