"""Nested options of a persona: inline tools."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import messages
from core.schemas.conftest import in_tool
from hosts import PERSONA

from flask_anam.core.schemas.mint_request import MintRequestSchema


@pytest.mark.parametrize("missing", ["type", "name"])
def test_a_tool_needs_type_and_name(missing: str) -> None:
    """Whatever else it has."""
    tool = {"type": "client", "name": "t", "description": "x"}
    del tool[missing]
    errors = messages({**PERSONA, "tools": [tool]})
    assert list(errors["tools"][0]) == [missing]


@pytest.mark.parametrize(
    "headers",
    [[], "x", {"X": 1}, {1: "x"}, {"\ud800": "x"}, {"X": "\ud800"}, {"X": None}],
    ids=ascii,
)
def test_headers_of_a_tool_are_text(headers: Any) -> None:
    """Names and values."""
    errors = messages(in_tool({"headers": headers}), MintRequestSchema())
    assert list(errors["personaConfig"]["tools"][0]) == ["headers"]


def test_the_schema_of_a_tool_has_a_size() -> None:
    """10,000 bytes of UTF-8, as Anam says; not characters."""
    fits = {"x": "é" * 4990}
    assert MintRequestSchema().load(in_tool({"parameters": fits}))
    errors = messages(in_tool({"parameters": {"x": "é" * 5000}}), MintRequestSchema())
    assert "at most 10000 are allowed" in str(errors)
