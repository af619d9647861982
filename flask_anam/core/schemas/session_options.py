"""Schema of the session options, sent beside the persona config.

Source of names, types and lists: Anam's OpenAPI (July 2026); ``sdk`` marks what only its SDKs
send.
"""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, validates_schema

from flask_anam.core.schemas.base import VendorSchema
from flask_anam.core.schemas.fields import (
    Choice,
    NestedObject,
    StrictBoolean,
    StrictNumber,
    StrictString,
    doc,
    validator,
)
from flask_anam.core.schemas.persona_options import not_blank, url


class SessionReplaySchema(VendorSchema):
    """Schema of the session replay: whether Anam records the session."""

    enable_session_replay = StrictBoolean(
        **doc("Whether the session is recorded.", default=True, example=False)
    )


class DailySchema(VendorSchema):
    """Schema of the Daily room that the avatar joins."""

    room_url = StrictString(
        required=True,
        validate=validator(url),
        **doc("The room.", "https://team.daily.co/room", form="URL"),
    )
    token = StrictString(**doc("The meeting token of a private room.", {"secret": "DAILY_TOKEN"}))
    user_name = StrictString(
        **doc("The name that the avatar joins under.", "Alex", default="anam-avatar")
    )


class EgressSchema(VendorSchema):
    """Schema of the egress: where audio and video go instead of the browser."""

    mode = Choice(
        ("daily",),
        required=True,
        **doc("The kind of destination; each mode has options of its own.", "daily"),
    )
    daily = NestedObject(DailySchema, **doc("The room; the mode daily needs it.", None))

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_complete(self, data: Any, original: Any, **_kwargs: Any) -> None:
        if data.get("mode") == "daily" and "daily" not in self.given(original):
            raise ValidationError({"daily": ["Missing: the mode daily needs it."]})


class SessionOptionsSchema(VendorSchema):
    """Schema of the session options, sent beside the persona config.

    ``load()`` takes a mapping with names in camelCase or snake_case and returns a dict in
    camelCase, as ``dump()`` does. It raises `marshmallow.ValidationError`. Thread-safe.

    Example:
        >>> SessionOptionsSchema().load({"video_quality": "auto"})
        {'videoQuality': 'auto'}

    """

    session_replay = NestedObject(SessionReplaySchema, **doc("Recording.", None))
    video_quality = Choice(
        ("high", "auto"),
        **doc("high keeps the best bit rate, auto follows the connection.", "auto"),
    )
    video_width = StrictNumber(
        1,
        whole=True,
        **doc("Width of the picture in pixels, together with videoHeight.", 1152),
    )
    video_height = StrictNumber(1, whole=True, **doc("Height of the picture in pixels.", 768))
    egress = NestedObject(EgressSchema, **doc("Sends audio and video elsewhere.", None))
    region = StrictString(
        validate=validator(not_blank), **doc("Where the session runs.", "eu-west-1", sdk=True)
    )
    region_policy = Choice(
        ("preferred", "strict"),
        **doc("Whether another region will do; strict needs region.", "preferred", sdk=True),
    )
    show_ai_avatar_disclosure = StrictBoolean(
        data_key="showAIAvatarDisclosure",
        **doc("Whether the user is informed that the avatar is an AI.", True, sdk=True),
    )

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_pairs(self, data: Any, original: Any, **_kwargs: Any) -> None:
        given = self.given(original)
        if ("videoWidth" in given) != ("videoHeight" in given):
            missing = "videoHeight" if "videoWidth" in given else "videoWidth"
            raise ValidationError({missing: ["Give videoWidth and videoHeight together."]})
        if data.get("regionPolicy") == "strict" and "region" not in given:
            raise ValidationError({"region": ["Missing: the region policy strict needs it."]})
