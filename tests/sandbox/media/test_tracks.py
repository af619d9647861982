"""The tracks: what they do when the machine is late."""

from __future__ import annotations

from media.conftest import run

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.persona import Persona
from flask_anam.sandbox.media.speech import FRAME, RATE
from flask_anam.sandbox.media.tracks import _MAX_SKIPPED, PersonaAudio


def _frames_taken(late: float) -> tuple[int, int]:
    """Let a track be so many seconds late; the frames it left out, and those the actor played."""
    actor = Actor(
        Persona.from_config(catalog.EXAMPLE_PERSONA, None),
        "s",
        lambda *_: None,
        lambda *_: None,
        reply_delay=0,
    )
    played = 0
    real = actor.next_frame

    def next_frame() -> bytes:
        nonlocal played
        played += 1
        return real()

    actor.next_frame = next_frame  # type: ignore[method-assign]

    async def work() -> int:
        track = PersonaAudio(actor)
        first = await track.recv()
        assert track._due is not None
        track._due -= late
        second = await track.recv()
        assert first.pts is not None
        assert second.pts is not None
        return (second.pts - first.pts) // FRAME - 1

    return run(work()), played - 2


def test_speech_keeps_its_pace_when_the_sound_is_late() -> None:
    """Frames that come too late are left out of the sound and of the speech alike."""
    left_out, played = _frames_taken(1.0)
    assert left_out >= RATE // FRAME - 1
    assert played == min(left_out, _MAX_SKIPPED)


def test_after_a_sleep_the_speech_goes_on_where_it_was() -> None:
    """An hour is left out of the sound, not of the speech."""
    left_out, played = _frames_taken(3600.0)
    assert played == _MAX_SKIPPED < left_out
