"""Catalog: every entry by its id, and the ids of the vendor's examples."""

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
def test_each_entry_can_be_had_by_its_id(call: Caller, kind: str) -> None:
    """Ids are UUIDs, the same in every run, and none comes twice."""
    entries = _KINDS[kind]
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert str(uuid.UUID(entry["id"])) == entry["id"]
        assert call("GET", f"/v1/{kind}/{entry['id']}").json() == entry


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
