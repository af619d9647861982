"""JSON Web Tokens (JWT), signed with HS256: the session tokens that the Anam SDKs decode."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

_HEADER = {"alg": "HS256", "typ": "JWT"}


class InvalidTokenError(ValueError):
    """Invalid token: the text is not a JWT signed with this secret."""


def token_id(token: str) -> str:
    """Return the id of a token: 16 characters of its SHA-256, from which it cannot be recovered."""
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    return _to_base64url(digest)[:16]


def derive_secret(token_secret: str | None, api_key: str) -> bytes:
    """Return the 32-byte signing key of an account; a random one when `token_secret` is None.

    The same pair of texts always gives the same key, so that two sandboxes can share an account.
    """
    if token_secret is None:
        return secrets.token_bytes(32)
    return hmac.digest(token_secret.encode(), b"anam-sandbox:" + api_key.encode(), "sha256")


def encode(claims: Mapping[str, Any], secret: bytes) -> str:
    """Return `claims` as a signed JWT."""
    signed = f"{_encode_part(_HEADER)}.{_encode_part(claims)}"
    return f"{signed}.{_signature(signed, secret)}"


def decode(token: str, secret: bytes) -> dict[str, Any]:
    """Return the claims of `token`, after checking its signature but not its expiry.

    Raises:
        InvalidTokenError: The token has not three parts, is not HS256, has another signature, or
            its claims are not a JSON object.

    """
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(
        signature.encode("utf-8", "surrogateescape"), _signature(signed, secret).encode()
    ):
        raise InvalidTokenError("The signature does not match.")
    try:
        header, claims = (json.loads(_from_base64url(part)) for part in signed.split("."))
    except ValueError as exc:
        raise InvalidTokenError("The token is not three parts of base64url JSON.") from exc
    if not isinstance(header, dict) or header.get("alg") != "HS256" or not isinstance(claims, dict):
        raise InvalidTokenError("The token is not an HS256 token with an object of claims.")
    return claims


def _encode_part(value: Mapping[str, Any]) -> str:
    return _to_base64url(json.dumps(value, separators=(",", ":")).encode())


def _signature(signed: str, secret: bytes) -> str:
    return _to_base64url(hmac.digest(secret, signed.encode("utf-8", "surrogateescape"), "sha256"))


def _to_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
