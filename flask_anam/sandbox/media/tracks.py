"""Media tracks of a WebRTC connection: the persona's audio and video, and the user's audio."""

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

#: Clock rate of video in RTP, in Hz.
_VIDEO_CLOCK = 90_000
#: Seconds that a track may be late before it skips what it missed.
_MAX_DELAY = 0.2
#: Frames of speech that are skipped at most; after a suspend the persona goes on where it was.
_MAX_SKIPPED = 100
#: Amplitude, of 32,767, above which a frame counts as loud.
_LOUD = 1_500
#: Loud frames of 20 ms in a row after which the user speaks.
_FRAMES_TO_START = 5
#: Quiet frames of 20 ms in a row after which the user no longer speaks.
_FRAMES_TO_END = 30


class PersonaAudio(MediaStreamTrack):
    """Audio track of the actor's speech: 48 kHz, mono, 20 ms a frame."""

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
        if now - self._due > _MAX_DELAY:
            missed = int((now - self._due) * RATE) // FRAME
            self._position += missed * FRAME
            self._due += missed * FRAME / RATE
            for _ in range(min(missed, _MAX_SKIPPED)):
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
    """Video track of the actor's face, in yuv420p; `frame_rate` gives the pictures a second."""

    kind = "video"

    def __init__(self, actor: Actor, face: Face, frame_rate: Callable[[], float]) -> None:
        super().__init__()
        self._actor = actor
        self._face = face
        self._frame_rate = frame_rate
        self._start = time.monotonic()
        self._due = self._start
        # Begins while the connection is still being established.
        self._drawing: asyncio.Future[None] = asyncio.ensure_future(asyncio.to_thread(face.prepare))
        self._prepared = False

    async def recv(self) -> av.VideoFrame:
        """Return the next picture when it is due; the first at once."""
        if not self._prepared:
            await asyncio.shield(self._drawing)
            self._prepared = True
        # A late picture delays all that follow: a busy machine shows fewer, without a backlog.
        await asyncio.sleep(self._due - time.monotonic())
        now = time.monotonic()
        if self.readyState != "live":
            raise MediaStreamError
        width, height = self._face.size
        self._due = max(self._due + 1 / self._frame_rate(), now)
        frame = av.VideoFrame(width, height, "yuv420p")
        picture = self._face.picture(
            now - self._start, self._actor.shape, self._actor.opening, speaking=self._actor.speaking
        )
        if self._face.incomplete and self._drawing.done():
            self._drawing = asyncio.ensure_future(asyncio.to_thread(self._face.draw_missing))
        for plane, data in zip(frame.planes, picture, strict=True):
            _fill(plane, data)
        frame.pts = int((now - self._start) * _VIDEO_CLOCK)
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


class VoiceActivityDetector:
    """Voice activity detection: calls `on_change` when the user starts or stops speaking.

    The sound is not used otherwise, nor stored.
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._speaking = False
        self._run = 0

    async def consume(self, track: MediaStreamTrack) -> None:
        """Read frames until the track ends; a track that is not read would fill the memory."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.AudioFrame) and frame.format.name == "s16":
                self._process(frame)

    def _process(self, frame: av.AudioFrame) -> None:
        samples = memoryview(frame.planes[0]).cast("B").cast("h")[::24]
        loud = any(abs(sample) > _LOUD for sample in samples)
        self._run = self._run + 1 if loud != self._speaking else 0
        if self._run >= (_FRAMES_TO_END if self._speaking else _FRAMES_TO_START):
            self._run = 0
            self._speaking = loud
            self._on_change(loud)
