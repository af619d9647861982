"""Fields: objects whose content is not published must be valid JSON."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import messages
from core.schemas.conftest import in_tool
from hosts import PERSONA
from marshmallow import Schema

from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.web.schemas import TokenRequestSchema

NOT_JSON: list[Any] = [float("nan"), {1, 2}, b"x", object(), "\ud800", {"\ud800": 1}]
NOT_JSON += [{1: 1, "b": 2}, [float("inf")]]
PLACES: list[tuple[str, Schema]] = [
    ("parameters", MintRequestSchema()),
    ("queryParameters", MintRequestSchema()),
    ("unheardOf", MintRequestSchema()),
    ("environment", MintRequestSchema()),
    ("overrides", TokenRequestSchema()),
]
in_places = pytest.mark.parametrize(("place", "schema"), PLACES, ids=[name for name, _ in PLACES])


def put(place: str, value: object) -> dict[str, Any]:
    """Return a body with a value inside an object that is passed on unseen."""
    if place == "overrides":
        return {"overrides": {"x": value}}
    if place == "environment":
        return {"personaConfig": PERSONA, "environment": {"x": value}}
    return in_tool({place: {"x": value}})


@in_places
@pytest.mark.parametrize("value", NOT_JSON, ids=[str(number) for number in range(len(NOT_JSON))])
def test_what_json_cannot_carry_is_refused(place: str, schema: Schema, value: Any) -> None:
    """In every object that is passed on unseen, however deep."""
    for inside in (value, [value], {"deep": [{"er": value}]}):
        errors = messages(put(place, inside), schema)
        assert "['Cannot be written as JSON.']" in str(errors)


@in_places
def test_what_is_nested_without_end_is_refused(place: str, schema: Schema) -> None:
    """A value that holds itself, or one that is deeper than the stack."""
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    for value in (loop, deep):
        assert "Cannot be written as JSON" in str(messages(put(place, value), schema))
