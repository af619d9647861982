"""The error tree: what is drawn is what exists, and every leaf carries its facts."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterator

import pytest

from flask_anam import errors
from flask_anam.core.minting.error_codec import decode_error, encode_error
from flask_anam.errors import AnamError, RateLimited, UpstreamError

#: Design, section 4: class, status, code, retryable, seconds to wait by default.
TABLE: dict[str, tuple[int, str, bool, int | None]] = {
    "MinutesExhausted": (429, "minutes_exhausted", True, None),
    "TooManySessions": (429, "too_many_sessions", True, 10),
    "ConfigError": (500, "config_error", False, None),
    "PersonaInvalid": (500, "persona_invalid", False, None),
    "MalformedJson": (400, "malformed_json", False, None),
    "Unauthenticated": (401, "unauthenticated", False, None),
    "PermissionDenied": (403, "permission_denied", False, None),
    "CrossSite": (403, "cross_site", False, None),
    "NotFound": (404, "not_found", False, None),
    "UnknownPersona": (404, "unknown_persona", False, None),
    "MethodNotAllowed": (405, "method_not_allowed", False, None),
    "PayloadTooLarge": (413, "payload_too_large", False, None),
    "UnsupportedMediaType": (415, "unsupported_media_type", False, None),
    "InvalidRequest": (422, "invalid_request", False, None),
    "RateLimited": (429, "rate_limited", True, 7),
    "AnamAuthError": (502, "anam_auth", False, None),
    "AnamQuotaError": (502, "anam_quota", False, None),
    "AnamRejected": (502, "anam_rejected", False, None),
    "AnamBadResponse": (502, "anam_bad_response", True, None),
    "AnamRateLimited": (503, "anam_rate_limited", True, 2),
    "AnamUnavailable": (503, "anam_unavailable", True, 2),
    "AnamAtCapacity": (503, "anam_at_capacity", True, 5),
    "Busy": (503, "busy", True, 1),
    "AnamTimeout": (504, "anam_timeout", True, 2),
}


def classes(root: type[AnamError] = AnamError) -> Iterator[type[AnamError]]:
    """Yield a class and all below it that this package defines."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from classes(child)


def made(kind: type[AnamError]) -> AnamError:
    """Return an error of a class with as few arguments as it takes."""
    return RateLimited(limit=10, retry_after=7) if kind is RateLimited else kind()


LEAVES = [kind for kind in classes() if not kind.__subclasses__()]
by_name = pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    """Each class stands in the drawing once, under its parent, and nothing else does."""
    drawn: dict[str, str] = {}
    above = {0: "AnamError"}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│ ├└─]+) (\w+)", line)
        if match:
            level = (len(match[1]) + 1) // 4
            above[level] = match[2]
            drawn[match[2]] = above[level - 1]
    real = {kind.__name__: kind.__mro__[1].__name__ for kind in classes() if kind is not AnamError}
    assert drawn == real


def test_the_drawing_tells_status_and_code() -> None:
    """Where a status and a code are drawn, they are those of the class."""
    drawn = re.findall(r"─ (\w+)\s+(\d{3}) (\w+)", errors.__doc__ or "")
    assert len(drawn) == len(LEAVES)
    for name, status, code in drawn:
        kind = getattr(errors, name)
        assert (kind.status, kind.code) == (int(status), code)


def test_every_leaf_is_in_the_table() -> None:
    """A new error needs a row in the design's table."""
    assert {kind.__name__ for kind in LEAVES} == set(TABLE)


@by_name
def test_a_leaf_has_the_facts_of_the_table(kind: type[AnamError]) -> None:
    """Status, code, retryable and the wait are those the design promises."""
    error = made(kind)
    facts = (error.status, error.code, error.retryable, error.retry_after)
    assert facts == TABLE[kind.__name__]


@by_name
def test_an_error_always_has_a_sentence(kind: type[AnamError]) -> None:
    """The default text is there, and it is what str() shows."""
    error = made(kind)
    assert error.text == str(error) == error.default_text
    assert error.public_text
    assert error.details is None


def test_codes_tell_errors_apart() -> None:
    """No two leaves share a code."""
    assert len({kind.code for kind in LEAVES}) == len(LEAVES)


def test_texts_that_clients_compare_with_are_fixed() -> None:
    """The vendor's page and the design promise these three word for word."""
    assert errors.Unauthenticated().text == "Unauthorized"
    assert errors.PermissionDenied().text == "Insufficient permissions"
    assert made(RateLimited).text == "Rate limit exceeded"


@by_name
def test_again_is_an_equal_error_without_a_traceback(kind: type[AnamError]) -> None:
    """The twin has the same facts and can be raised in another thread."""
    with pytest.raises(kind) as caught:
        raise made(kind) from ValueError("cause")
    error = caught.value
    twin = error.again()
    assert twin is not error
    assert type(twin) is type(error)
    assert (twin.args, vars(twin)) == (error.args, vars(error))
    assert (twin.__traceback__, twin.__cause__, twin.__context__) == (None, None, None)
    assert error.__traceback__ is not None


def test_again_keeps_what_was_given() -> None:
    """Text, wait and other facts of the one error are on the twin too."""
    error = errors.AnamUnavailable("Down.", hinted_wait=9.0)
    assert (error.again().text, error.again().retry_after) == ("Down.", 9.0)
    limited = RateLimited(limit=10, retry_after=7).again()
    assert (limited.limit, limited.retry_after) == (10, 7)


@by_name
@pytest.mark.parametrize("how", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
def test_errors_can_be_copied_and_sent_to_another_process(
    kind: type[AnamError], how: object
) -> None:
    """Task queues and thread pools copy exceptions."""
    error = made(kind)
    twin = how(error)  # type: ignore[operator]
    assert (type(twin), twin.args, vars(twin)) == (type(error), error.args, vars(error))


@by_name
def test_a_pickle_names_the_public_module(kind: type[AnamError]) -> None:
    """Another release can load it, whatever submodules either has."""
    modules = set(re.findall(rb"^c?(flask_anam\S*)$", pickle.dumps(made(kind), 0), re.MULTILINE))
    assert modules == {b"flask_anam.errors"}


def test_a_hint_of_anams_is_at_least_a_second() -> None:
    """Retry-After has whole seconds from 1 on; what Anam sent is kept beside it."""
    error = errors.AnamRateLimited(hinted_wait=0.2)
    assert (error.retry_after, error.hinted_wait) == (1.0, 0.2)
    assert errors.AnamRateLimited().hinted_wait is None


def test_whether_to_retry_can_be_said_for_one_error() -> None:
    """A redirect is a bad response that no retry will cure."""
    assert errors.AnamBadResponse(retryable=False).retryable is False
    assert errors.AnamBadResponse.retryable is True


def test_a_persona_error_says_nothing_of_the_config_to_browsers() -> None:
    """Its own text is for the log only."""
    error = errors.PersonaInvalid("Persona 'x' is not valid: avatarId: Not a UUID.")
    assert "avatarId" in error.text
    assert error.public_text == "This persona is not set up correctly."


def test_a_refusal_remembers_what_was_needed() -> None:
    """PermissionDenied carries the names for the log and for handlers."""
    assert errors.PermissionDenied(needed=frozenset({"a"})).needed == {"a"}


def test_every_503_tells_when_to_come_back() -> None:
    """The design promises Retry-After on each of them."""
    waits = [made(kind).retry_after for kind in LEAVES if kind.status == 503]
    assert waits
    assert all(wait is not None and 1 <= wait <= 300 for wait in waits)


def test_upstream_errors_are_never_the_browsers_own() -> None:
    """An upstream 401 is a 502 here: every such error is a 5xx."""
    assert all(kind.status >= 500 for kind in classes(UpstreamError))


UPSTREAM = [kind for kind in classes(UpstreamError) if not kind.__subclasses__()]


@pytest.mark.parametrize("kind", UPSTREAM, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("wait", [None, 0.5, 30.0])
def test_an_upstream_error_can_be_told_to_another_process(
    kind: type[UpstreamError], wait: float | None
) -> None:
    """As facts that JSON carries: kind, text and times come back equal."""
    error = kind("What happened.", hinted_wait=wait)
    decoded = decode_error(json.loads(json.dumps(encode_error(error))))
    assert (type(decoded), decoded.text) == (kind, "What happened.")
    assert (decoded.hinted_wait, decoded.retry_after) == (error.hinted_wait, error.retry_after)
    assert decoded.retryable is error.retryable


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_persona_is_told_to_another_process(missing: bool) -> None:
    """So that the fallback works there as well."""
    error = errors.AnamRejected()
    error.persona_missing = missing
    decoded = decode_error(encode_error(error))
    assert isinstance(decoded, errors.AnamRejected)
    assert decoded.persona_missing is missing


@pytest.mark.parametrize(
    "facts", [{}, {"code": None}, {"code": "unauthenticated"}, {"code": "rate_limited"}], ids=str
)
def test_facts_of_no_upstream_error_are_refused(facts: dict[str, object]) -> None:
    """What another process says cannot make a browser's error of it."""
    with pytest.raises(KeyError):
        decode_error(facts)


@pytest.mark.parametrize("wait", ["5", None, [5]], ids=repr)
def test_odd_facts_fall_back_to_the_defaults(wait: object) -> None:
    """Text and wait of the class, where none or nonsense is told."""
    decoded = decode_error({"code": "anam_timeout", "wait": wait, "missing": 1})
    assert (decoded.text, decoded.hinted_wait) == (errors.AnamTimeout.default_text, None)
    assert decoded.retry_after == 2
