"""Session tokens: ids, claims, lifetimes and local judgement."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from core.conftest import jwt
from hypothesis import given
from hypothesis import strategies as st

from flask_anam.core.tokens.token import (
    DEFAULT_LIFETIME,
    LONGEST_LIFETIME,
    Claims,
    SessionToken,
    TokenStatus,
    check_token,
    read_claims,
    token_id,
)

NOW = 1_800_000_000.0


def raw_jwt(payload: bytes) -> str:
    """Return a token with this payload, url-safe and without padding."""
    return f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


def test_the_token_id_is_sixteen_characters_of_a_hash() -> None:
    """It is base64url(sha256(token))[:16], as the design defines it."""
    digest = hashlib.sha256(b"a.b.c").digest()
    assert token_id("a.b.c") == base64.urlsafe_b64encode(digest).decode()[:16]
    assert token_id("a.b.c") != token_id("a.b.d")


def test_claims_are_read_from_a_token() -> None:
    """Type, times and session id are found; the type comes in lower case."""
    claims = read_claims(jwt(type="Ephemeral", iat=NOW, exp=NOW + 60, sessionId="s-1"))
    assert claims == Claims(type="ephemeral", issued_at=NOW, expires_at=NOW + 60, session_id="s-1")
    assert claims.lifetime == 60.0


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_padding_may_be_left_out(length: int) -> None:
    """Each length of payload, with each count of missing signs, is decoded."""
    claims = read_claims(raw_jwt(json.dumps({"sessionId": "x" * length}).encode()))
    assert claims == Claims(session_id="x" * length)


def test_the_url_safe_alphabet_is_decoded() -> None:
    """A payload whose base64 needs "-" and "_" reads like any other."""
    token = raw_jwt('{"sessionId":"~~~???ÿ"}'.encode())
    assert "-" in token or "_" in token
    assert read_claims(token) == Claims(session_id="~~~???ÿ")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("abc", id="one part"),
        pytest.param("a.b", id="two parts"),
        pytest.param("a.e30.c.d", id="four parts"),
        pytest.param(".e30.c", id="empty header"),
        pytest.param("a..c", id="empty payload"),
        pytest.param("a.e30.", id="empty signature"),
        pytest.param("a.!!!.c", id="no base64"),
        pytest.param("a.é30.c", id="not ASCII"),
        pytest.param("a\r\nX: y.e30.c", id="line break in the header part"),
        pytest.param("a.e30.ü", id="signature that no header line carries"),
        pytest.param("a.e30 .c", id="space"),
        pytest.param("a.e.c", id="impossible length"),
        pytest.param(raw_jwt(b"\xff\xfe"), id="no UTF-8"),
        pytest.param(raw_jwt(b"{"), id="cut JSON"),
        pytest.param(raw_jwt(b"[1]"), id="an array"),
        pytest.param(raw_jwt(b"null"), id="null"),
        pytest.param(raw_jwt(b"[" * 200_000), id="nested too deep"),
        pytest.param(raw_jwt(b'{"exp":' + b"9" * 5000 + b"}"), id="a number of 5000 digits"),
    ],
)
def test_what_is_no_json_web_token_has_no_claims(token: str) -> None:
    """Junk of every kind is None, never an exception."""
    assert read_claims(token) is None
    assert check_token(token, NOW) == TokenStatus(reason="malformed")


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("NaN", id="NaN"),
        pytest.param("Infinity", id="infinity"),
        pytest.param("1e999", id="overflow"),
        pytest.param("9" * 400, id="huge integer"),
        pytest.param("true", id="boolean"),
        pytest.param('"1800000000"', id="text"),
        pytest.param("null", id="null"),
        pytest.param("[1]", id="array"),
    ],
)
def test_an_odd_time_claim_counts_as_missing(written: str) -> None:
    """Only finite numbers are believed."""
    token = raw_jwt(f'{{"exp": {written}, "iat": 5}}'.encode())
    assert read_claims(token) == Claims(issued_at=5.0)


def test_odd_types_of_the_other_claims_count_as_missing() -> None:
    """A type or session id that is no text is not believed."""
    assert read_claims(jwt(type=3, sessionId=["x"])) == Claims()


@given(st.text() | st.text(alphabet='abcXYZ019-_=.{}[]:"', max_size=40))
def test_reading_claims_never_raises(text: str) -> None:
    """Any text at all gives claims or None, and a judgement."""
    read_claims(text)
    assert check_token(text, NOW).reason in {"ok", "malformed", "expired", "legacy"}


@given(st.binary())
def test_any_payload_is_read_without_an_exception(payload: bytes) -> None:
    """A well-formed envelope around any bytes gives claims or None."""
    claims = read_claims(raw_jwt(payload)) if payload else None
    assert claims is None or isinstance(claims, Claims)


@pytest.mark.parametrize("skew", [-600.0, 0.0, 600.0, 1e6])
def test_the_skew_of_the_issuers_clock_cancels(skew: float) -> None:
    """The lifetime is exp - iat, counted from when the token was asked for."""
    claims = Claims(issued_at=NOW + skew, expires_at=NOW + skew + 900)
    token = SessionToken.minted("t", claims, asked_at=NOW)
    assert (token.minted_at, token.expires_at, token.lifetime) == (NOW, NOW + 900, 900)


def test_without_iat_the_issuers_date_counts() -> None:
    """A token without iat is measured against the Date of the answer, else our clock."""
    claims = Claims(expires_at=NOW + 4000)
    with_date = SessionToken.minted("t", claims, asked_at=NOW, issuer_now=NOW + 3900)
    assert with_date.lifetime == 100
    assert SessionToken.minted("t", claims, asked_at=NOW).lifetime == 4000


@pytest.mark.parametrize("claims", [None, Claims(), Claims(issued_at=NOW)])
def test_without_exp_a_token_lasts_the_documented_hour(claims: Claims | None) -> None:
    """Anam documents one hour."""
    assert DEFAULT_LIFETIME == 3600
    assert SessionToken.minted("t", claims, asked_at=NOW).expires_at == NOW + 3600


@pytest.mark.parametrize(
    ("expires_at", "lifetime"),
    [
        pytest.param(NOW - 5, 0.0, id="over before it began"),
        pytest.param(NOW + 1e12, LONGEST_LIFETIME, id="for ever"),
        pytest.param(1e308, LONGEST_LIFETIME, id="beyond all numbers"),
    ],
)
def test_lifetimes_are_bounded(expires_at: float, lifetime: float) -> None:
    """Nothing below zero or above two weeks is believed."""
    claims = Claims(issued_at=NOW, expires_at=expires_at)
    assert SessionToken.minted("t", claims, asked_at=NOW).lifetime == lifetime


def test_the_repr_of_a_token_shows_no_token() -> None:
    """Logs and tracebacks may print the record."""
    token = SessionToken.minted("SENTINEL.token.value", None, asked_at=NOW)
    assert "SENTINEL" not in repr(token)
    assert token.id == token_id("SENTINEL.token.value")


@pytest.mark.parametrize(
    ("claims", "reason", "left"),
    [
        pytest.param({"exp": NOW + 60}, "ok", 60.0, id="good"),
        pytest.param({}, "ok", None, id="does not tell its end"),
        pytest.param({"exp": NOW}, "expired", 0.0, id="just over"),
        pytest.param({"exp": NOW - 60}, "expired", 0.0, id="over"),
        pytest.param({"exp": NOW + 60, "type": "LEGACY"}, "legacy", 60.0, id="legacy"),
        pytest.param({"exp": NOW - 60, "type": "legacy"}, "legacy", 0.0, id="old legacy"),
    ],
)
def test_a_token_is_judged_by_exp_and_type(
    claims: dict[str, object], reason: str, left: float | None
) -> None:
    """Only "ok" is truthy; the seconds left never go below zero."""
    status = check_token(jwt(**claims), NOW)
    assert (status.reason, status.expires_in, status.spent) == (reason, left, False)
    assert bool(status) is (reason == "ok")


@pytest.mark.parametrize("value", [None, 7, b"a.e30.c", ["a.e30.c"]])
def test_what_is_no_text_is_malformed(value: object) -> None:
    """check_token never raises for any object."""
    assert check_token(value, NOW).reason == "malformed"
