"""What browsers may send to our own routes."""

from __future__ import annotations

from marshmallow.validate import Length

from flask_anam.core.base_schemas import StrictSchema
from flask_anam.core.fields import Free, Text


class TokenRequestSchema(StrictSchema):
    """A request for a session token."""

    persona_type = Text(data_key="personaType", validate=Length(min=1, max=100))
    slot = Text(validate=Length(min=1, max=64))
    overrides = Free(keys=Text(), load_default=dict)
    refused = Text(validate=Length(equal=16))


class SessionReportSchema(StrictSchema):
    """The report that a conversation has started."""

    token_id = Text(required=True, data_key="tokenId", validate=Length(equal=16))
    session_id = Text(required=True, data_key="sessionId", validate=Length(min=1, max=64))


class ValidateRequestSchema(StrictSchema):
    """A session token to be looked at."""

    session_token = Text(required=True, data_key="sessionToken", validate=Length(max=8192))
