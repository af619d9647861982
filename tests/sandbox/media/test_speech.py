"""Formant synthesis: any text is audible, and voices differ."""

from __future__ import annotations

import pytest

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.speech import SHAPES, Voice


@pytest.mark.parametrize("text", ["", "…", "42", "你好", "e", "rhythm", "ÀÉ", "--"])
def test_any_text_can_be_spoken(text: str) -> None:
    """Numbers, other scripts and mere signs are some sound, or a short silence."""
    for voice in catalog.VOICES:
        sounds = list(Voice(voice["id"]).word(text))
        assert all(sound.shape in SHAPES and 0 <= sound.opening <= 1 for sound in sounds)
        assert 0 < sum(len(sound.samples) for sound in sounds) < 48_000 * 2


def test_voices_differ() -> None:
    """A man's voice is lower than a woman's, so that its periods are longer."""
    low, high = (
        next(v["id"] for v in catalog.VOICES if v["gender"] == g) for g in ("MALE", "FEMALE")
    )
    assert Voice(low)._pitch < 130 < 175 < Voice(high)._pitch


def test_the_melody_falls_and_begins_again_with_a_sentence() -> None:
    """A comma lifts it by four syllables; lower means longer periods."""
    voice = Voice(catalog.VOICE_ID)

    def period(text: str) -> int:
        return len(next(iter(list(voice.word(text)))).samples)

    falling = [period("a") for _ in range(10)]
    assert falling == sorted(falling)
    assert falling[0] < falling[-1]
    period("a,")
    assert falling[0] < period("a") < falling[-1]
    period("a!")
    assert period("a") == falling[0]
