"""Session options: spellings, values and options that need each other."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import messages

from flask_anam.core.schemas.session_options import SessionOptionsSchema

OPTIONS = {
    "sessionReplay": ("session_replay", {"enableSessionReplay": False}),
    "videoQuality": ("video_quality", "high"),
    "videoWidth": ("video_width", 1152),
    "videoHeight": ("video_height", 768),
    "egress": ("egress", {"mode": "daily", "daily": {"roomUrl": "https://x.daily.co/r"}}),
    "region": ("region", "eu"),
    "regionPolicy": ("region_policy", "preferred"),
    "showAIAvatarDisclosure": ("show_ai_avatar_disclosure", True),
}


@pytest.mark.parametrize("camel", OPTIONS)
def test_each_session_option_is_known_in_both_spellings(camel: str) -> None:
    """Either spelling comes out as the SDKs send it."""
    snake, value = OPTIONS[camel]
    other = {"videoWidth": {"videoHeight": 768}, "videoHeight": {"videoWidth": 1152}}.get(camel, {})
    assert SessionOptionsSchema().load({camel: value, **other}) == {camel: value, **other}
    assert SessionOptionsSchema().load({snake: value, **other}) == {camel: value, **other}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("videoWidth", 0),
        ("videoWidth", "720"),
        ("videoHeight", 7.5),
        ("videoQuality", None),
        ("sessionReplay", True),
        ("egress", {"x": float("nan")}),
        ("egress", {"mode": "daily"}),
        ("egress", {"mode": "sip", "daily": {"roomUrl": "https://x.daily.co/r"}}),
        ("egress", {"mode": "daily", "daily": {}}),
        ("egress", {"mode": "daily", "daily": {"roomUrl": "room"}}),
        ("region", " "),
        ("regionPolicy", "always"),
        ("videoQuality", "low"),
        ("showAIAvatarDisclosure", "yes"),
        ("unheardOf", 1),
    ],
)
def test_a_wrong_session_option_is_refused(option: str, value: Any) -> None:
    """The same strictness as for persona configs."""
    rest = {"videoWidth": {"videoHeight": 1}, "videoHeight": {"videoWidth": 1}}.get(option, {})
    assert list(messages({**rest, option: value}, SessionOptionsSchema())) == [option]


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"videoWidth": 1152}, "videoHeight"),
        ({"videoHeight": 768}, "videoWidth"),
        ({"regionPolicy": "strict"}, "region"),
    ],
    ids=str,
)
def test_some_session_options_need_another_one(options: dict[str, Any], missing: str) -> None:
    """Width and height, and the region of a strict policy."""
    assert list(messages(options, SessionOptionsSchema())) == [missing]
