"""HTTP messages: credentials, error responses, and what counts as JSON."""

import json

import pytest

from flask_anam.sandbox.http.messages import (
    ApiError,
    Request,
    default_error,
    is_bodiless,
    parse_json,
    parse_object,
    reason_phrase,
)


@pytest.mark.parametrize(
    ("header", "credential"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer  ", None),
        ("Basic abc", None),
        ("", None),
    ],
)
def test_the_bearer_credential_is_read_from_the_header(header: str, credential: str | None) -> None:
    """The scheme is compared without case, spaces around the credential are removed."""
    assert Request("GET", "/", {}, {"authorization": header}, b"", True).bearer == credential
    assert Request("GET", "/", {}, {}, b"", True).bearer is None


def test_an_api_error_becomes_json_in_the_vendors_format() -> None:
    """The message repeats the error by default; details and headers are sent where given."""
    plain = ApiError(402).response()
    assert (plain.status, json.loads(plain.body)) == (
        402,
        {"error": "No plan found", "message": "No plan found"},
    )
    full = ApiError(400, "E", "m", details={"a": {}}, headers=(("Allow", "GET"),)).response()
    assert json.loads(full.body) == {"error": "E", "message": "m", "details": {"a": {}}}
    assert full.headers == (("Content-Type", "application/json"), ("Allow", "GET"))


def test_each_status_has_a_text() -> None:
    """The vendor's first, then HTTP's, and a plain one for an unknown status."""
    assert default_error(503) == "No engines available"
    assert default_error(418) == "I'm a Teapot"
    assert default_error(799) == "Status 799"
    assert (reason_phrase(200, "?"), reason_phrase(799, "?")) == ("OK", "?")


def test_some_statuses_forbid_a_body() -> None:
    """All of 1xx, 204 and 304."""
    assert [status for status in range(100, 600) if is_bodiless(status) and status >= 200] == [
        204,
        304,
    ]
    assert is_bodiless(101)


def test_an_empty_body_is_no_value() -> None:
    """Also one of blanks."""
    assert parse_json(b"") is parse_json(b" \r\n") is None
    assert parse_json(b'{"a": 1.5}') == {"a": 1.5}


@pytest.mark.parametrize("raw", [b"{", b"NaN", b"[-Infinity]", b"1e999", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_a_value_error(raw: bytes) -> None:
    """Constants of JavaScript, numbers out of range and endless nesting included."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(raw)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", "[" * 100_000])
def test_a_message_that_is_no_object_is_none(text: str) -> None:
    """Signalling and data channel ignore it."""
    assert parse_object(text) is None
    assert parse_object('{"a": 1}') == {"a": 1}
