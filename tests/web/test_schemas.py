"""Request schemas: what a browser may send to our own routes."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import messages
from hosts import PROMPT
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from flask_anam.web.schemas import SessionReportSchema, TokenRequestSchema, ValidateRequestSchema

BROWSER: list[tuple[Schema, dict[str, Any], str]] = [
    (TokenRequestSchema(), {"personaType": ""}, "personaType"),
    (TokenRequestSchema(), {"personaType": "x" * 101}, "personaType"),
    (TokenRequestSchema(), {"personaType": None}, "personaType"),
    (TokenRequestSchema(), {"persona_type": "x"}, "persona_type"),
    (TokenRequestSchema(), {"slot": ""}, "slot"),
    (TokenRequestSchema(), {"slot": "x" * 65}, "slot"),
    (TokenRequestSchema(), {"slot": 5}, "slot"),
    (TokenRequestSchema(), {"overrides": []}, "overrides"),
    (TokenRequestSchema(), {"overrides": None}, "overrides"),
    (TokenRequestSchema(), {"refused": "x" * 15}, "refused"),
    (TokenRequestSchema(), {"refused": "x" * 17}, "refused"),
    (TokenRequestSchema(), {"systemPrompt": PROMPT}, "systemPrompt"),
    (SessionReportSchema(), {"tokenId": "x" * 16}, "sessionId"),
    (SessionReportSchema(), {"sessionId": "s"}, "tokenId"),
    (SessionReportSchema(), {"tokenId": "x" * 16, "sessionId": "s" * 65}, "sessionId"),
    (SessionReportSchema(), {"tokenId": "x", "sessionId": "s"}, "tokenId"),
    (ValidateRequestSchema(), {}, "sessionToken"),
    (ValidateRequestSchema(), {"sessionToken": "x" * 8193}, "sessionToken"),
]


@pytest.mark.parametrize(
    ("schema", "data", "field"), BROWSER, ids=[f"{f} {str(d)[:40]}" for _, d, f in BROWSER]
)
def test_what_a_browser_may_not_send_is_refused(
    schema: Schema, data: dict[str, Any], field: str
) -> None:
    """Unknown fields and bad lengths: the answer names the field and no value."""
    errors = messages(data, schema)
    assert list(errors) == [field]
    assert "SENTINEL" not in str(errors)


def test_what_a_browser_may_send_is_loaded() -> None:
    """All fields are optional; overrides default to none."""
    assert TokenRequestSchema().load({}) == {"overrides": {}}
    given = {"personaType": "a", "slot": "s", "overrides": {"x": 1}, "refused": "r" * 16}
    assert TokenRequestSchema().load(given) == {
        "persona_type": "a",
        "slot": "s",
        "overrides": {"x": 1},
        "refused": "r" * 16,
    }
    report = {"tokenId": "t" * 16, "sessionId": "s"}
    assert SessionReportSchema().load(report) == {"token_id": "t" * 16, "session_id": "s"}


TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=3),
    st.sampled_from(["x" * size for size in (0, 1, 15, 16, 17, 64, 65, 100, 101)]),
    st.sampled_from(["é" * 16, "\ud800" * 16, "\0" * 16, " " * 16]),
)
VALUES = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.lists(TEXTS), st.just({}))
NAMES = st.sampled_from(["personaType", "slot", "refused", "overrides", "persona_type", "Slot", ""])
BODIES = st.one_of(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, TEXTS), VALUES)


class WithoutShortCut(TokenRequestSchema):
    """The same rules, with nothing but the schema to judge."""

    def load(self, data: Any, **how: Any) -> Any:
        """Ask the schema."""
        return Schema.load(self, data, **how)


def judged(schema: Schema, data: Any) -> object:
    """Return what a schema makes of some data: the request, or its messages."""
    try:
        return schema.load(data)
    except ValidationError as exc:
        return exc.messages


@given(BODIES)
def test_the_short_cut_for_common_requests_changes_no_verdict(data: object) -> None:
    """Whatever a browser sends, the answer is the one that the schema alone would give."""
    assert judged(TokenRequestSchema(), data) == judged(WithoutShortCut(), data)
