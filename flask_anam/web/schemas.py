"""What browsers may send to our own routes."""

from __future__ import annotations

from typing import Any

from marshmallow.validate import Length

from flask_anam.core.schemas.base import StrictSchema
from flask_anam.core.schemas.fields import FreeObject, StrictString, doc, validator
from flask_anam.core.tokens.token import MAX_SESSION_ID, is_plain_id


def _plain_id(value: str) -> str | None:
    """Refuse what could be more than a name: in a path of Anam's, or in a question to a store."""
    return None if is_plain_id(value) or not value else "Must hold only letters, digits, - and _."


#: How the ids in messages look, for the description of the API.
_ID = "^[A-Za-z0-9_-]+$"


class TokenRequestSchema(StrictSchema):
    """A request for a session token."""

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

    def load(self, data: Any, **how: Any) -> Any:
        """Return the checked request; the common kind needs no schema to see that it is right."""
        return (None if how else _plain(data)) or super().load(data, **how)


#: Fields that hold a plain text: name here, shortest and longest.
_PLAIN = {
    "personaType": ("persona_type", 1, 100),
    "slot": ("slot", 1, 64),
    "refused": ("refused", 16, 16),
}


def _plain(data: object) -> dict[str, Any] | None:
    """Return what the schema would, for a request of nothing but right ASCII texts, else None."""
    if type(data) is not dict:
        return None
    loaded: dict[str, Any] = {"overrides": {}}
    for name, value in data.items():
        rule = _PLAIN.get(name)
        if rule is None or type(value) is not str or not value.isascii():
            return None
        known_as, shortest, longest = rule
        if not shortest <= len(value) <= longest or (name == "refused" and not is_plain_id(value)):
            return None
        loaded[known_as] = value
    return loaded


class SessionReportSchema(StrictSchema):
    """The report that a conversation has started."""

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
    """A session token to be looked at."""

    session_token = StrictString(
        required=True,
        data_key="sessionToken",
        validate=Length(max=8192),
        **doc("The session token.", "a.b.c"),
    )
