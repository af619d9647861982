"""What the persona says and does: greeting, answers, talk streams, interruptions."""

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

#: Utterances that may wait, and characters that one may have; more is left out.
_MOST_WAITING = 20
_LONGEST = 20_000
_WORD = re.compile(r"\s*\S+")
_SILENCE = bytes(2 * FRAME)

Tell = Callable[[str, Mapping[str, Any]], None]
Signal = Callable[[str, object], None]


@dataclass
class _Utterance:
    """One message of the persona. `text` is what has not been said yet."""

    correlation_id: str
    text: str = ""
    open: bool = False
    from_stream: bool = False
    may_be_interrupted: bool = True
    wait: int = 0
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    index: int = 0

    def next_word(self) -> str | None:
        """Take the next word, with the space before it; None when none is complete."""
        found = _WORD.match(self.text)
        if found is None or (self.open and found.end() == len(self.text)):
            return None
        self.text = self.text[found.end() :]
        return found[0]


class Actor:
    """Performs one persona in one session; belongs to one thread.

    `tell` sends a kind of message and its data over the data channel, `signal` an action and
    payload over signalling.
    Whoever calls :meth:`next_frame` 50 times a second hears it speak, and sees its mouth move in
    :attr:`shape` and :attr:`opening`.
    """

    def __init__(
        self, persona: Persona, session_id: str, tell: Tell, signal: Signal, *, reply_delay: float
    ) -> None:
        self._persona = persona
        self._session_id = session_id
        self._tell = tell
        self._signal = signal
        self._delay = round(reply_delay * RATE)
        self._voice = Voice(persona.voice)
        self._greeted = False
        self._waiting: deque[_Utterance] = deque()
        self._current: _Utterance | None = None
        self._sounds: Iterator[Sound] = iter(())
        self._samples = array("h")
        #: Talk streams that were cut off: what still comes of them is left out.
        self._dead: deque[str] = deque(maxlen=50)
        self.shape = "closed"
        self.opening = 0.0

    @property
    def speaking(self) -> bool:
        """Whether something is being said, or about to be."""
        return self._current is not None or bool(self._waiting)

    def greet(self) -> None:
        """Say hello, once."""
        if self._greeted:
            return
        self._greeted = True
        if self._persona.greeting:
            self._queue(
                _Utterance(
                    str(uuid.uuid4()),
                    self._persona.greeting[:_LONGEST],
                    may_be_interrupted=self._persona.greeting_may_be_interrupted,
                )
            )

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message from the data channel; what it does not know, it ignores."""
        kind, content = message.get("message_type"), message.get("content")
        if kind == "speech" and isinstance(content, str) and content.strip():
            self._answer(content[:_LONGEST])
        elif kind == "interrupt":
            self.interrupt()
        elif kind == "director_note_cue":
            self._apply_cue(message.get("cue"))

    def say(self, text: str) -> None:
        """Say `text` after what is being said."""
        self._queue(_Utterance(str(uuid.uuid4()), text[:_LONGEST]))

    def stream(self, payload: Mapping[str, Any]) -> None:
        """Take a piece of a talk stream."""
        content, key = payload.get("content"), payload.get("correlationId")
        if not isinstance(content, str) or not isinstance(key, str) or key in self._dead:
            return
        utterance = self._stream_of(key)
        if utterance is None:
            if payload.get("endOfSpeech") is True and not content:
                return
            utterance = _Utterance(key, open=True, from_stream=True)
            self._queue(utterance)
        utterance.text = (utterance.text + content)[:_LONGEST]
        if payload.get("endOfSpeech") is True:
            utterance.open = False

    def interrupt(self) -> None:
        """Fall silent, unless this is a greeting that must be heard."""
        kept = [u for u in self._all() if not u.may_be_interrupted]
        for utterance in [u for u in self._all() if u.may_be_interrupted]:
            if utterance is self._current:
                self._sounds, self._samples, self._current = iter(()), array("h"), None
            self._finish(utterance, interrupted=True)
        self._waiting = deque(u for u in kept if u is not self._current)

    def user_speech(self, *, started: bool) -> None:
        """Report that the user's microphone has become loud, or quiet again."""
        name = "userSpeechStarted" if started else "userSpeechEnded"
        self._tell(name, {"user_action_correlation_id": str(uuid.uuid4())})

    def next_frame(self) -> bytes:
        """Return 20 ms of sound, 16-bit mono, and move on."""
        while len(self._samples) < FRAME and self._advance():
            pass
        if not self._samples:
            self.shape, self.opening = "closed", 0.0
            return _SILENCE
        frame, self._samples = self._samples[:FRAME], self._samples[FRAME:]
        return frame.tobytes().ljust(2 * FRAME, b"\0")

    def _advance(self) -> bool:
        """Add the next sound; False when there is nothing to say now."""
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
            self._speech(utterance, word)
            self._sounds = self._voice.word(word)
            return True
        if utterance.open:
            return False
        self._current = None
        self._finish(utterance, interrupted=False)
        return True

    def _answer(self, said: str) -> None:
        self.interrupt()
        key = str(uuid.uuid4())
        heard = _Utterance(key)
        self._speech(heard, said, role="user", end=True)
        self._queue(_Utterance(key, self._persona.reply(said), wait=self._delay))

    def _apply_cue(self, cue: object) -> None:
        tag = cue.get("tag") if isinstance(cue, dict) else None
        if isinstance(tag, str):
            self._tell(
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

    def _stream_of(self, key: str) -> _Utterance | None:
        mine = (u for u in self._all() if u.from_stream and u.correlation_id == key)
        return next((u for u in mine if u.open), None)

    def _queue(self, utterance: _Utterance) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(utterance)

    def _finish(self, utterance: _Utterance, *, interrupted: bool) -> None:
        if utterance.index or not interrupted:
            self._speech(utterance, "", end=True, interrupted=interrupted)
        if interrupted and utterance.from_stream:
            self._dead.append(utterance.correlation_id)
            self._signal("talkinputstreaminterrupted", {"correlationId": utterance.correlation_id})

    def _speech(
        self,
        utterance: _Utterance,
        content: str,
        *,
        role: str = "persona",
        end: bool = False,
        interrupted: bool = False,
    ) -> None:
        self._tell(
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
