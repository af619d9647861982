"""Schema of a mint request: the rules between its parts, and deferred values."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import messages
from core.schemas.conftest import in_tool
from hosts import PERSONA

from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.errors import PersonaWarning

TO_DAILY = {"mode": "daily", "daily": {"roomUrl": "https://x.daily.co/r"}}
BODIES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {"egress": TO_DAILY}, False),
    ({"enableAudioPassthrough": False}, {"egress": TO_DAILY}, False),
    ({"enableAudioPassthrough": True}, {"egress": TO_DAILY}, True),
    ({}, {"videoWidth": 720, "videoHeight": 480}, True),
    ({}, {"videoWidth": 721, "videoHeight": 480}, False),
    ({"avatarModel": "cara-3"}, {"videoWidth": 1152, "videoHeight": 768}, False),
    ({"avatarModel": "cara-4"}, {"videoWidth": 1152, "videoHeight": 768}, True),
    ({"avatarModel": "cara-4"}, {"videoWidth": 720, "videoHeight": 480}, False),
]


@pytest.mark.parametrize(("more", "options", "good"), BODIES, ids=str)
def test_config_and_options_must_go_together(
    more: dict[str, Any], options: dict[str, Any], good: bool
) -> None:
    """Egress needs the audio passed through; a size must be one of the model's."""
    body = {"personaConfig": {**PERSONA, **more}, "sessionOptions": options}
    if good:
        assert MintRequestSchema().load(body) == body
    else:
        assert list(messages(body, MintRequestSchema())) == ["sessionOptions"]


def test_director_notes_on_an_older_model_are_warned_of() -> None:
    """Anam takes and ignores them."""
    config = {**PERSONA, "avatarModel": "cara-3", "directorNotes": {"expressivity": 1}}
    with pytest.warns(PersonaWarning, match="directorNotes are ignored"):
        MintRequestSchema().load({"personaConfig": config})


def test_late_values_pass_unchecked() -> None:
    """A callable stands for a value that is known, and checked, when a token is minted."""

    def late() -> str:
        return "known later"

    for place in ("parameters", "unheardOf", "headers"):
        body = in_tool({place: {"x": late}})
        assert MintRequestSchema().load(body) == body
    for field in PERSONA:
        assert PersonaConfigSchema().load({**PERSONA, field: late})[field] is late
    for part in ("personaConfig", "sessionOptions", "environment", "clientLabel"):
        body = {"personaConfig": PERSONA, part: late}
        assert MintRequestSchema().load(body) == body
    sized = {"personaConfig": PERSONA, "sessionOptions": {"videoWidth": late, "videoHeight": 480}}
    assert MintRequestSchema().load(sized) == sized
