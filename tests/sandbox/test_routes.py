"""URL routing: unknown paths and methods, HEAD, lists with pages, searches and filters."""

import uuid
from collections.abc import Callable

import pytest
import requests

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog

Caller = Callable[..., requests.Response]


def test_an_unknown_address_is_not_found(call: Caller) -> None:
    """404 in JSON, whatever the method."""
    for method in ("GET", "POST", "DELETE"):
        answer = call(method, "/v1/nowhere")
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/auth/session-token", "OPTIONS, POST"),
        ("DELETE", "/v1/engine/session", "OPTIONS, POST"),
        ("POST", "/v1/sessions/concurrency", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/sessions/x/stop", "OPTIONS, POST"),
        ("PUT", "/v1/voices/x", "GET, HEAD, OPTIONS"),
        ("BREW", "/", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    call: Caller, method: str, path: str, allowed: str
) -> None:
    """405 in JSON, with Allow."""
    answer = call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["error"] == "Method Not Allowed"


def test_head_is_get_without_the_body(call: Caller) -> None:
    """The length is that of the body which is not sent."""
    answer = call("HEAD", "/v1/voices")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(call("GET", "/v1/voices").content)


@pytest.mark.parametrize("body", [b"", b"not json", b'{"name": "client_session_attempt"}'])
def test_metrics_are_swallowed(sandbox: Sandbox, http: requests.Session, body: bytes) -> None:
    """The JS SDK reports without a credential and ignores the answer."""
    answer = http.post(f"{sandbox.url}/v1/metrics/client", data=body, timeout=10)
    assert (answer.status_code, answer.content) == (204, b"")


_KINDS = {
    "avatars": catalog.AVATARS,
    "voices": catalog.VOICES,
    "llms": catalog.LLMS,
    "personas": catalog.PERSONAS,
    "tools": catalog.TOOLS,
}


@pytest.mark.parametrize("kind", _KINDS)
def test_each_list_has_data_and_page_numbers(call: Caller, kind: str) -> None:
    """The first page holds ten entries at most."""
    answer = call("GET", f"/v1/{kind}")
    total = len(_KINDS[kind])
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == min(total, 10)
    assert answer.json()["meta"] == {
        "total": total,
        "lastPage": 2 if total > 10 else 1,
        "currentPage": 1,
        "perPage": 10,
        "prev": None,
        "next": 2 if total > 10 else None,
    }


@pytest.mark.parametrize("kind", _KINDS)
def test_an_unknown_entry_is_not_found(call: Caller, kind: str) -> None:
    """Ids that must be UUIDs are a 400 otherwise; models and personas have no such rule."""
    assert call("GET", f"/v1/{kind}/{uuid.uuid4()}").status_code == 404
    expected = 404 if kind in ("llms", "personas") else 400
    assert call("GET", f"/v1/{kind}/nonsense").status_code == expected


@pytest.mark.parametrize("kind", _KINDS)
def test_the_catalog_needs_the_api_key(call: Caller, kind: str) -> None:
    """Lists and entries are for the account only."""
    assert call("GET", f"/v1/{kind}", token="wrong").status_code == 401
    assert call("GET", f"/v1/{kind}/{_KINDS[kind][0]['id']}", token="wrong").status_code == 401


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("avatars?search=PIXEL", 1),
        ("avatars?search=made-up", 4),
        ("avatars?renderStyle=realistic", 2),
        ("avatars?renderStyle=all", 4),
        ("avatars?tags=home,desk", 2),
        ("avatars?tags=nothing", 0),
        ("avatars?onlyOneShot=true", 0),
        ("voices?search=luc", 1),
        ("llms?search=small", 1),
        ("llms?includeDefaults=false", 1),
        ("llms?includeDefaults=true", 3),
        ("personas?search=cara", 1),
        ("personas?search=nobody", 0),
        ("tools?search=calendar", 1),
        (f"tools?search={catalog.TOOL_ID}", 1),
    ],
)
def test_lists_can_be_searched_and_filtered(call: Caller, query: str, total: int) -> None:
    """By the published parameters, in any case of letters."""
    assert call("GET", f"/v1/{query}").json()["meta"]["total"] == total


def test_a_page_beyond_the_last_is_empty(call: Caller) -> None:
    """It is not an error."""
    answer = call("GET", "/v1/voices?page=9")
    assert (answer.status_code, answer.json()["data"]) == (200, [])


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=-1", "perPage=0", "perPage=101"])
def test_page_numbers_out_of_range_are_refused(call: Caller, query: str) -> None:
    """400, in the usual shape."""
    answer = call("GET", f"/v1/voices?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid query parameters")
