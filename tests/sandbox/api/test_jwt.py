"""Session tokens: made, read back, and refused when they are not what they should be."""

import base64
import hashlib
import hmac

import pytest

from flask_anam.sandbox.api import jwt

_SECRET = b"s" * 32


def _part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _signed(head: str, claims: str) -> str:
    signed = f"{head}.{claims}"
    digest = hmac.digest(_SECRET, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_a_token_can_be_read_back() -> None:
    """The claims come out as they went in."""
    claims = {"type": "ephemeral", "exp": 1, "name": "\u00e9"}
    assert jwt.decode(jwt.encode(claims, _SECRET), _SECRET) == claims


def test_a_token_of_another_secret_is_refused() -> None:
    """The signature is checked before anything is read."""
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(jwt.encode({}, _SECRET), b"other")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "..",
        "no-dots",
        _signed("e30", "e30"),
        _signed(_part('{"alg": "none"}'), "e30"),
        _signed(_part('{"alg": "HS256"}'), _part("[]")),
        _signed(_part('{"alg": "HS256"}'), _part("{")),
        _signed(_part('{"alg": "HS256"}'), "e30.e30"),
        _signed(_part('{"alg": "HS256"}'), "e"),
        _signed("_w", "e30"),
    ],
)
def test_what_is_no_hs256_token_is_refused(token: str) -> None:
    """Well signed or not, the form must be right."""
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(token, _SECRET)


def test_a_token_id_is_the_start_of_the_digest() -> None:
    """Sixteen characters of base64url(sha256(token))."""
    digest = hashlib.sha256(b"a.b.c").digest()
    assert jwt.token_id("a.b.c") == base64.urlsafe_b64encode(digest).decode()[:16]


def test_the_secret_depends_on_both_texts() -> None:
    """The same pair gives the same key, and no secret a random one."""
    assert jwt.derive_secret("s", "k") == jwt.derive_secret("s", "k")
    keys = {jwt.derive_secret(secret, key) for secret in ("s", "t", None) for key in ("k", "l")}
    assert len(keys) == 6
