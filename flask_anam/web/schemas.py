"""Request schemas: what browsers may send to our own routes. They are stateless and thread-safe."""

from __future__ import annotations

from typing import NamedTuple

from marshmallow.validate import Length

from flask_anam.core.schemas.base import StrictSchema
from flask_anam.core.schemas.fields import FreeObject, StrictString, doc, validator
from flask_anam.core.tokens.token import MAX_SESSION_ID, is_plain_id


def _plain_id(value: str) -> str | None:
    """Refuse what could be more than a name: in a path of Anam's, or in a query of a store."""
    return None if is_plain_id(value) or not value else "Must hold only letters, digits, - and _."


#: Pattern of the ids in messages, for the description of the API.
_ID = "^[A-Za-z0-9_-]+$"


class TokenRequestSchema(StrictSchema):
    """Schema of a request for a session token."""

    persona_type = StrictString(
        data_key="personaType",
        validate=Length(min=1, max=100),
        **doc("Which persona; the default one if left out.", "support"),
    )
    slot = StrictString(
        validate=Length(min=1, max=64),
        **doc("One browser tab; sending it is the promise to report the start.", "tab-1"),
    )
    overrides = FreeObject(
        keys=StrictString(),
        load_default=dict,
        **doc("Persona fields to set, of those that the persona allows.", {}),
    )
    refused = StrictString(
        validate=[Length(equal=16), validator(_plain_id)],
        **doc("Token id of a token that failed to start.", "pZd0zCgdI9VcvcbO", pattern=_ID),
    )


class TextRule(NamedTuple):
    """The rule of a text field: name, shortest and longest in characters, whether it is an id."""

    name: str
    shortest: int
    longest: int
    is_id: bool


def _text_rule(name: str, field: StrictString) -> TextRule:
    length, *more = field.validators
    assert isinstance(length, Length)  # noqa: S101 - each text field above begins with its length
    low, high = (length.min, length.max) if length.equal is None else (length.equal,) * 2
    return TextRule(name, low or 0, high or 0, bool(more))


#: Rules of the text fields of a token request by their name in JSON, derived from the schema.
TOKEN_REQUEST_TEXTS = {
    field.data_key or name: _text_rule(name, field)
    for name, field in TokenRequestSchema().load_fields.items()
    if isinstance(field, StrictString)
}


class SessionReportSchema(StrictSchema):
    """Schema of the report that a conversation has started."""

    token_id = StrictString(
        required=True,
        data_key="tokenId",
        validate=[Length(equal=16), validator(_plain_id)],
        **doc("The token id of the token that it started with.", "pZd0zCgdI9VcvcbO", pattern=_ID),
    )
    session_id = StrictString(
        required=True,
        data_key="sessionId",
        validate=[Length(min=1, max=MAX_SESSION_ID), validator(_plain_id)],
        **doc("Anam's id of the session.", "11111111-2222-4333-8444-555555555555", pattern=_ID),
    )


class ValidateRequestSchema(StrictSchema):
    """Schema of a request to look at a session token."""

    session_token = StrictString(
        required=True,
        data_key="sessionToken",
        validate=Length(max=8192),
        **doc("The session token.", "a.b.c"),
    )
