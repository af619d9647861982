"""Avatars, voices, models, personas and tools: lists, pages, searches, single entries."""

import uuid
from collections.abc import Callable

import pytest
import requests

from flask_anam.sandbox.api import catalog

Caller = Callable[..., requests.Response]

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
def test_each_entry_can_be_had_by_its_id(call: Caller, kind: str) -> None:
    """Ids are UUIDs, the same in every run, and none comes twice."""
    entries = _KINDS[kind]
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert str(uuid.UUID(entry["id"])) == entry["id"]
        assert call("GET", f"/v1/{kind}/{entry['id']}").json() == entry


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


def test_the_ids_of_the_vendors_examples_are_there(call: Caller) -> None:
    """Copied examples work, also with strict ids."""
    for path in (
        "avatars/30fa96d0-26c4-4e55-94a0-517025942e18",
        "avatars/071b0286-4cce-4808-bee2-e642f1062de3",
        "voices/6bfbe25a-979d-40f3-a92b-5394170af54b",
        "voices/de23e340-1416-4dd8-977d-065a7ca11697",
        "llms/a7cf662c-2ace-4de1-a21e-ef0fbf144bb7",
        "llms/0934d97d-0c3a-4f33-91b0-5e136a0ef466",
    ):
        assert call("GET", f"/v1/{path}").status_code == 200
    persona = call("GET", "/v1/personas/11111111-2222-4333-8444-555555555555").json()
    assert persona["name"] == "Cara"
    assert persona["avatar"]["id"] == catalog.AVATAR_ID


def test_the_list_shows_a_shorter_form_of_a_persona(call: Caller) -> None:
    """What runs behind it is shown with the single persona only."""
    summary = call("GET", "/v1/personas").json()["data"][0]
    assert summary["languageCode"] == "inherit"
    assert "brain" not in summary


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
