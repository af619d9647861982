"""The persona's picture and sound as tracks of a WebRTC connection, and an ear for the user's."""

import asyncio
import fractions
import time
from collections.abc import Callable

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.video.plane import VideoPlane

from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.face import Face
from flask_anam.sandbox.media.speech import FRAME, RATE

_VIDEO_CLOCK = 90_000
#: A track that is later than this, in seconds, leaves out what it missed.
_LATEST = 0.2
#: Frames of sound that are left out at once; after a sleep the persona goes on where it was.
_MOST_MISSED = 100
#: The user speaks when this many frames of 20 ms in a row are louder than this amplitude.
_LOUD, _FRAMES_TO_START, _FRAMES_TO_END = 1_500, 5, 30


class PersonaAudio(MediaStreamTrack):
    """What the actor says: 48 kHz, mono, 20 ms a frame, silence when it says nothing."""

    kind = "audio"

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self._actor = actor
        self._due: float | None = None
        self._position = 0

    async def recv(self) -> av.AudioFrame:
        """Return the next frame when it is due."""
        now = time.monotonic()
        if self._due is None:
            self._due = now
        self._due += FRAME / RATE
        if now - self._due > _LATEST:
            missed = int((now - self._due) * RATE) // FRAME
            self._position += missed * FRAME
            self._due += missed * FRAME / RATE
            for _ in range(min(missed, _MOST_MISSED)):
                self._actor.next_frame()  # or a busy machine would speak ever more slowly
        await asyncio.sleep(max(0.0, self._due - now))
        if self.readyState != "live":
            raise MediaStreamError
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(self._actor.next_frame())
        frame.sample_rate = RATE
        frame.time_base = fractions.Fraction(1, RATE)
        frame.pts = self._position
        self._position += FRAME
        return frame


class PersonaVideo(MediaStreamTrack):
    """How the actor looks: pictures in yuv420p, as many a second as `rate` says now."""

    kind = "video"

    def __init__(self, actor: Actor, face: Face, rate: Callable[[], float]) -> None:
        super().__init__()
        self._actor = actor
        self._face = face
        self._rate = rate
        self._begun = time.monotonic()
        self._due = self._begun
        # Begins while the connection is still being made.
        self._drawing: asyncio.Future[None] = asyncio.ensure_future(asyncio.to_thread(face.prepare))
        self._prepared = False

    async def recv(self) -> av.VideoFrame:
        """Return the next picture when it is due; the first at once."""
        if not self._prepared:
            await asyncio.shield(self._drawing)
            self._prepared = True
        # A late picture moves all that follow: a busy machine shows fewer, never a jam.
        await asyncio.sleep(self._due - time.monotonic())
        now = time.monotonic()
        if self.readyState != "live":
            raise MediaStreamError
        width, height = self._face.size
        self._due = max(self._due + 1 / self._rate(), now)
        frame = av.VideoFrame(width, height, "yuv420p")
        picture = self._face.picture(
            now - self._begun,
            self._actor.shape,
            self._actor.opening,
            speaking=self._actor.speaking,
        )
        if self._face.incomplete and self._drawing.done():
            self._drawing = asyncio.ensure_future(asyncio.to_thread(self._face.draw_missing))
        for plane, data in zip(frame.planes, picture, strict=True):
            _fill(plane, data)
        frame.pts = int((now - self._begun) * _VIDEO_CLOCK)
        frame.time_base = fractions.Fraction(1, _VIDEO_CLOCK)
        return frame


def _fill(plane: VideoPlane, data: bytearray) -> None:
    width, line = plane.width, plane.line_size
    if width == line:
        plane.update(bytes(data))
        return
    padding = bytes(line - width)  # libav aligns its lines
    view = memoryview(data)
    rows = (view[start : start + width] for start in range(0, len(data), width))
    plane.update(padding.join(rows) + padding)


class Ear:
    """Listens to the user's sound only for whether there is any, and throws it away."""

    def __init__(self, heard: Callable[[bool], None]) -> None:
        self._heard = heard
        self._speaking = False
        self._run = 0

    async def listen(self, track: MediaStreamTrack) -> None:
        """Take frames until the track ends; a track that nobody reads would fill the memory."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.AudioFrame) and frame.format.name == "s16":
                self._note(frame)

    def _note(self, frame: av.AudioFrame) -> None:
        samples = memoryview(frame.planes[0]).cast("B").cast("h")[::24]
        loud = any(abs(sample) > _LOUD for sample in samples)
        self._run = self._run + 1 if loud != self._speaking else 0
        if self._run >= (_FRAMES_TO_END if self._speaking else _FRAMES_TO_START):
            self._run = 0
            self._speaking = loud
            self._heard(loud)
