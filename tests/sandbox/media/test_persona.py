"""Persona configuration: defaults, stored personas, picture sizes and replies."""

from typing import Any

import pytest

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.persona import Persona, stable_number


def test_missing_fields_get_defaults() -> None:
    """An empty config is a persona of the catalog's first avatar and voice."""
    persona = Persona.from_config({}, None)
    assert (persona.name, persona.avatar, persona.voice) == (
        "Cara",
        catalog.AVATAR_ID,
        catalog.VOICE_ID,
    )
    assert (persona.size, persona.prompt) == ((720, 480), "")
    assert "stand-in" in str(persona.greeting)
    assert persona.greeting_may_be_interrupted


def test_a_stored_persona_is_read_from_the_catalog() -> None:
    """Fields of the config replace the stored ones."""
    stored = {"personaId": catalog.PERSONA_ID}
    persona = Persona.from_config(stored, None)
    assert (persona.size, persona.prompt) == ((1152, 768), "You are a helpful assistant in a test.")
    assert Persona.from_config({**stored, "name": "Zoe"}, None).name == "Zoe"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"videoWidth": 768, "videoHeight": 1152}, (768, 1152)),
        ({"videoWidth": 64, "videoHeight": 2048}, (64, 2048)),
        ({"videoWidth": 62, "videoHeight": 64}, (720, 480)),
        ({"videoWidth": 64, "videoHeight": 2050}, (720, 480)),
        ({"videoWidth": 641, "videoHeight": 480}, (720, 480)),
        ({"videoWidth": 640}, (720, 480)),
        ({"videoWidth": 640.0, "videoHeight": 480}, (720, 480)),
    ],
)
def test_only_a_picture_that_can_be_drawn_has_its_size(
    options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Even sides from 64 to 2048 pixels; otherwise the size of the avatar model."""
    assert Persona.from_config({}, options).size == size


def test_a_reply_quotes_a_part_of_long_texts() -> None:
    """200 characters of the user's, eight words of the prompt."""
    persona = Persona.from_config({"systemPrompt": "one two three four five six seven eight"}, None)
    assert persona.reply("x" * 200).endswith(
        "xx”. My prompt begins: “one two three four five six seven eight”"
    )
    assert f"“{'x' * 199}…”" in persona.reply("x" * 201)
    assert "My prompt" not in Persona.from_config({}, None).reply("x")


def test_a_number_depends_on_the_text_only() -> None:
    """It is part of how a persona looks and sounds, so it must never change."""
    assert stable_number("anam") == 10040273469401334250
    assert stable_number("anam") != stable_number("Anam")
    assert stable_number("\ud800") >= 0
