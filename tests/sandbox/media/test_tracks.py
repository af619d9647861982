"""Media tracks: what they do when the machine is late, and voice activity detection."""

from __future__ import annotations

import time
from typing import cast

import av
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from media.conftest import run

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.face import Face
from flask_anam.sandbox.media.persona import Persona
from flask_anam.sandbox.media.speech import FRAME, RATE
from flask_anam.sandbox.media.tracks import (
    _MAX_SKIPPED,
    PersonaAudio,
    PersonaVideo,
    VoiceActivityDetector,
)


def _actor() -> Actor:
    return Actor(
        Persona.from_config(catalog.EXAMPLE_PERSONA, None),
        "s",
        lambda *_: None,
        lambda *_: None,
        reply_delay=0,
    )


def _frames_taken(late: float) -> tuple[int, int]:
    """Let a track be so many seconds late; the frames it left out, and those the actor played."""
    actor = _actor()
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


def test_a_late_picture_delays_the_others() -> None:
    """What a busy machine missed is not shown afterwards in a rush."""

    async def work() -> tuple[float, float]:
        track = PersonaVideo(_actor(), Face(catalog.AVATAR_ID, (64, 64)), lambda: 25.0)
        await track.recv()
        track._due -= 100
        before = time.monotonic()
        await track.recv()
        track.stop()
        return before, track._due

    before, due = run(work())
    assert due >= before


class Microphone:
    """A track with so many frames of each amplitude, one after the other."""

    def __init__(self, *parts: tuple[int, int]) -> None:
        self._amplitudes = [amplitude for amplitude, count in parts for _ in range(count)]

    async def recv(self) -> av.AudioFrame:
        if not self._amplitudes:
            raise MediaStreamError
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(self._amplitudes.pop(0).to_bytes(2, "little", signed=True) * FRAME)
        return frame


@pytest.mark.parametrize(
    ("parts", "changes"),
    [
        ([(0, 100)], []),
        ([(1_500, 100)], []),
        ([(9_000, 4), (0, 1), (9_000, 4)], []),
        ([(9_000, 5)], [True]),
        ([(-9_000, 5)], [True]),
        ([(9_000, 5), (0, 29), (9_000, 1), (0, 29)], [True]),
        ([(9_000, 5), (0, 30), (9_000, 5)], [True, False, True]),
    ],
)
def test_speech_is_told_from_noise(parts: list[tuple[int, int]], changes: list[bool]) -> None:
    """100 ms of loud sound begin it, 600 ms of quiet end it, each without a break."""
    reported: list[bool] = []
    detector = VoiceActivityDetector(reported.append)
    run(detector.consume(cast("MediaStreamTrack", Microphone(*parts))))
    assert reported == changes
