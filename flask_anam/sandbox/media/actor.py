"""Dialogue engine: greeting, replies, talk streams and interruptions, as speech and messages."""

import re
import uuid
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flask_anam.sandbox.media.persona import Persona
from flask_anam.sandbox.media.speech import FRAME, RATE, Sound, Voice

#: Utterances that may wait; more are dropped.
_MAX_WAITING = 20
#: Characters of an utterance; more are cut off.
_MAX_TEXT = 20_000
#: Interrupted talk streams of which late pieces are ignored.
_MAX_INTERRUPTED = 50
_WORD = re.compile(r"\s*\S+")
_SILENCE = bytes(2 * FRAME)

SendData = Callable[[str, Mapping[str, Any]], None]
SendSignal = Callable[[str, object], None]


@dataclass
class _Utterance:
    """Message of the persona.

    `text` is what has not been spoken yet; `open` means that a talk stream may still add to it;
    `wait` is the silence before it, in samples; `index` counts the chunks of its transcript.
    """

    correlation_id: str
    text: str = ""
    open: bool = False
    from_stream: bool = False
    may_be_interrupted: bool = True
    wait: int = 0
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    index: int = 0

    def next_word(self) -> str | None:
        """Remove and return the next word, with the space before it; None if none is complete."""
        match = _WORD.match(self.text)
        if match is None or (self.open and match.end() == len(self.text)):
            return None
        self.text = self.text[match.end() :]
        return match[0]


class Actor:
    """Dialogue engine of one session; not thread-safe.

    `send_data` sends a message type and its data over the data channel, `send_signal` an action and
    its payload over signalling. `reply_delay` is in seconds.
    :meth:`next_frame`, to be called 50 times a second, gives the speech; :attr:`shape` and
    :attr:`opening` (0 to 1) are the mouth that belongs to the last frame.
    """

    def __init__(
        self,
        persona: Persona,
        session_id: str,
        send_data: SendData,
        send_signal: SendSignal,
        *,
        reply_delay: float,
    ) -> None:
        self._persona = persona
        self._session_id = session_id
        self._send_data = send_data
        self._send_signal = send_signal
        self._reply_delay = round(reply_delay * RATE)
        self._voice = Voice(persona.voice)
        self._greeted = False
        self._waiting: deque[_Utterance] = deque()
        self._current: _Utterance | None = None
        self._sounds: Iterator[Sound] = iter(())
        self._samples = array("h")
        self._interrupted: deque[str] = deque(maxlen=_MAX_INTERRUPTED)
        self.shape = "closed"
        self.opening = 0.0

    @property
    def speaking(self) -> bool:
        """Whether something is being spoken, or waits to be."""
        return self._current is not None or bool(self._waiting)

    def greet(self) -> None:
        """Speak the greeting, once."""
        if self._greeted:
            return
        self._greeted = True
        if self._persona.greeting:
            self._queue(
                _Utterance(
                    str(uuid.uuid4()),
                    self._persona.greeting[:_MAX_TEXT],
                    may_be_interrupted=self._persona.greeting_may_be_interrupted,
                )
            )

    def receive(self, message: Mapping[str, Any]) -> None:
        """Handle a message from the data channel; unknown ones are ignored."""
        kind, content = message.get("message_type"), message.get("content")
        if kind == "speech" and isinstance(content, str) and content.strip():
            self._reply(content[:_MAX_TEXT])
        elif kind == "interrupt":
            self.interrupt()
        elif kind == "director_note_cue":
            self._apply_cue(message.get("cue"))

    def say(self, text: str) -> None:
        """Speak `text`, after what waits already."""
        self._queue(_Utterance(str(uuid.uuid4()), text[:_MAX_TEXT]))

    def stream(self, payload: Mapping[str, Any]) -> None:
        """Add a piece to a talk stream."""
        content, key = payload.get("content"), payload.get("correlationId")
        if not isinstance(content, str) or not isinstance(key, str) or key in self._interrupted:
            return
        utterance = self._open_stream(key)
        if utterance is None:
            if payload.get("endOfSpeech") is True and not content:
                return
            utterance = _Utterance(key, open=True, from_stream=True)
            self._queue(utterance)
        utterance.text = (utterance.text + content)[:_MAX_TEXT]
        if payload.get("endOfSpeech") is True:
            utterance.open = False

    def interrupt(self) -> None:
        """Drop all utterances except an uninterruptible greeting."""
        utterances = self._all()
        if self._current is not None and self._current.may_be_interrupted:
            self._sounds, self._samples, self._current = iter(()), array("h"), None
        self._waiting = deque(u for u in self._waiting if not u.may_be_interrupted)
        for utterance in utterances:
            if utterance.may_be_interrupted:
                self._finish(utterance, interrupted=True)

    def user_speech(self, *, started: bool) -> None:
        """Report that the user has started or stopped speaking."""
        name = "userSpeechStarted" if started else "userSpeechEnded"
        self._send_data(name, {"user_action_correlation_id": str(uuid.uuid4())})

    def next_frame(self) -> bytes:
        """Return the next 20 ms of sound, 16-bit mono."""
        while len(self._samples) < FRAME and self._advance():
            pass
        if not self._samples:
            self.shape, self.opening = "closed", 0.0
            return _SILENCE
        frame, self._samples = self._samples[:FRAME], self._samples[FRAME:]
        return frame.tobytes().ljust(2 * FRAME, b"\0")

    def _advance(self) -> bool:
        """Append the next sound; return False when there is nothing to speak now."""
        sound = next(self._sounds, None)
        if sound is not None:
            self._samples.extend(sound.samples)
            self.shape, self.opening = sound.shape, sound.opening
            return True
        if self._current is None:
            if not self._waiting:
                return False
            self._current = self._waiting.popleft()
        utterance = self._current
        if utterance.wait > 0:
            utterance.wait -= FRAME
            self._samples.extend([0] * FRAME)
            return True
        word = utterance.next_word()
        if word is not None:
            self._send_speech(utterance, word)
            self._sounds = self._voice.word(word)
            return True
        if utterance.open:
            return False
        self._current = None
        self._finish(utterance, interrupted=False)
        return True

    def _reply(self, text: str) -> None:
        self.interrupt()
        key = str(uuid.uuid4())
        self._send_speech(_Utterance(key), text, role="user", end=True)
        self._queue(_Utterance(key, self._persona.reply(text), wait=self._reply_delay))

    def _apply_cue(self, cue: object) -> None:
        tag = cue.get("tag") if isinstance(cue, dict) else None
        if isinstance(tag, str):
            self._send_data(
                "directorNoteCueApplied",
                {
                    "session_id": self._session_id,
                    "user_action_correlation_id": str(uuid.uuid4()),
                    "timestamp_user_action": datetime.now(UTC).isoformat(),
                    "cue_tag": tag,
                },
            )

    def _all(self) -> list[_Utterance]:
        return [*([self._current] if self._current else []), *self._waiting]

    def _open_stream(self, key: str) -> _Utterance | None:
        streams = (u for u in self._all() if u.from_stream and u.correlation_id == key)
        return next((u for u in streams if u.open), None)

    def _queue(self, utterance: _Utterance) -> None:
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(utterance)

    def _finish(self, utterance: _Utterance, *, interrupted: bool) -> None:
        if utterance.index or not interrupted:
            self._send_speech(utterance, "", end=True, interrupted=interrupted)
        if interrupted and utterance.from_stream:
            self._interrupted.append(utterance.correlation_id)
            self._send_signal(
                "talkinputstreaminterrupted", {"correlationId": utterance.correlation_id}
            )

    def _send_speech(
        self,
        utterance: _Utterance,
        content: str,
        *,
        role: str = "persona",
        end: bool = False,
        interrupted: bool = False,
    ) -> None:
        self._send_data(
            "speechText",
            {
                "message_id": utterance.message_id,
                "content_index": utterance.index,
                "content": content,
                "role": role,
                "end_of_speech": end,
                "interrupted": interrupted,
                "user_action_correlation_id": utterance.correlation_id,
            },
        )
        utterance.index += 1
