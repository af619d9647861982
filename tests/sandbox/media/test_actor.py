"""Dialogue engine: speech, transcript, interruptions and talk streams."""

from __future__ import annotations

from typing import Any

import pytest

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.actor import Actor
from flask_anam.sandbox.media.persona import Persona
from flask_anam.sandbox.media.speech import FRAME, PEAK, SHAPES

_SILENCE = bytes(2 * FRAME)


class Stage:
    """An actor, and what it sent."""

    def __init__(self, config: dict[str, Any] | None = None, reply_delay: float = 0.0) -> None:
        self.sent: list[dict[str, Any]] = []
        self.signals: list[tuple[str, object]] = []
        self.actor = Actor(
            Persona.from_config({**catalog.EXAMPLE_PERSONA, **(config or {})}, None),
            "session-1",
            lambda kind, data: self.sent.append({"messageType": kind, "data": data}),
            lambda action, payload: self.signals.append((action, payload)),
            reply_delay=reply_delay,
        )

    def play(self, frames: int = 2_000) -> list[bytes]:
        """Return the sound until the actor is silent, at most so many frames."""
        sound: list[bytes] = []
        while self.actor.speaking and len(sound) < frames:
            sound.append(self.actor.next_frame())
        return sound

    def speech(self, role: str = "persona") -> list[dict[str, Any]]:
        """Return the transcript's chunks."""
        chunks = [m["data"] for m in self.sent if m["messageType"] == "speechText"]
        return [chunk for chunk in chunks if chunk["role"] == role]

    def text(self, role: str = "persona") -> str:
        """Return the transcript."""
        return "".join(chunk["content"] for chunk in self.speech(role))


def _loudest(frames: list[bytes]) -> int:
    return max((abs(s) for frame in frames for s in memoryview(frame).cast("h")), default=0)


def test_it_is_silent_until_it_speaks_and_after() -> None:
    """Frames of 20 ms, audible while there is something to say, and nothing but zeros else."""
    stage = Stage()
    assert [stage.actor.next_frame() for _ in range(50)] == [_SILENCE] * 50
    stage.actor.greet()
    frames = stage.play()
    assert {len(frame) for frame in frames} == {2 * FRAME}
    assert PEAK * 0.5 < _loudest(frames) <= PEAK
    assert 3 < len(frames) / 50 < 10
    assert stage.actor.next_frame() == _SILENCE
    assert (stage.actor.shape, stage.actor.opening) == ("closed", 0.0)


def test_mouth_and_sound_are_in_step() -> None:
    """The mouth is closed in silence and open in vowels; all its shapes occur."""
    stage = Stage()
    stage.actor.say("We see two apples, all of them good.")
    shapes = set()
    while stage.actor.speaking:
        frame = stage.actor.next_frame()
        shapes.add(stage.actor.shape)
        if stage.actor.opening > 0.8:
            assert _loudest([frame]) > PEAK * 0.1
        if frame == _SILENCE:
            assert stage.actor.opening == 0.0
    assert shapes == set(SHAPES)


def test_the_greeting_is_the_initial_message_or_names_the_persona() -> None:
    """Once, word by word, whole in the end; none with skipGreeting."""
    for config, text in (
        ({"initialMessage": "Good  day, Ada!"}, "Good  day, Ada!"),
        ({"name": "Zoe"}, "I am Zoe"),
        ({"skipGreeting": True, "initialMessage": "Never"}, ""),
    ):
        stage = Stage(config)
        stage.actor.greet()
        stage.actor.greet()
        stage.play()
        assert text in stage.text()
        assert bool(stage.text()) == bool(text)
    assert Stage({"initialMessage": None}).actor._persona.greeting


def test_what_the_user_writes_is_echoed_and_answered() -> None:
    """The user's words come back whole, the reply quotes them and the prompt, and is labelled."""
    stage = Stage({"systemPrompt": "You are one two three four five six seven eight."})
    stage.actor.receive({"message_type": "speech", "content": "How  are you?"})
    (question,) = stage.speech("user")
    assert (question["content"], question["end_of_speech"]) == ("How  are you?", True)
    stage.play()
    chunks = stage.speech()
    assert stage.text() == (
        "Sandbox: I am Cara, and you said: “How are you?”. "
        "My prompt begins: “You are one two three four five six…”"
    )
    assert [chunk["content_index"] for chunk in chunks] == list(range(len(chunks)))
    assert [chunk["end_of_speech"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({chunk["message_id"] for chunk in chunks}) == 1
    assert chunks[0]["user_action_correlation_id"] == question["user_action_correlation_id"]
    assert chunks[0]["message_id"] != question["message_id"]


def test_it_thinks_before_it_answers() -> None:
    """The reply's delay is silence."""
    stage = Stage(reply_delay=0.5)
    stage.actor.receive({"message_type": "speech", "content": "Now?"})
    assert [stage.actor.next_frame() for _ in range(25)] == [_SILENCE] * 25
    assert stage.text() == ""
    stage.actor.next_frame()
    assert stage.text() == "Sandbox:"


def test_a_new_question_cuts_the_answer_off() -> None:
    """The old message ends interrupted, the new answer is whole."""
    stage = Stage()
    stage.actor.receive({"message_type": "speech", "content": "first"})
    stage.play(30)
    stage.actor.receive({"message_type": "speech", "content": "second"})
    stage.play()
    ends = [chunk for chunk in stage.speech() if chunk["end_of_speech"]]
    assert [(end["content"], end["interrupted"]) for end in ends] == [("", True), ("", False)]
    assert "second" in stage.text()


def test_an_interruption_silences_all_that_waits() -> None:
    """What was never begun leaves no message, a talk stream is reported."""
    stage = Stage()
    stage.actor.say("one two three four five")
    stage.actor.say("never heard")
    stage.actor.stream({"content": "nor this", "correlationId": "c1", "endOfSpeech": False})
    stage.play(20)
    stage.actor.receive({"message_type": "interrupt"})
    assert not stage.actor.speaking
    assert stage.actor.next_frame() == _SILENCE
    assert stage.speech()[-1]["interrupted"] is True
    assert len({chunk["message_id"] for chunk in stage.speech()}) == 1
    assert stage.signals == [("talkinputstreaminterrupted", {"correlationId": "c1"})]
    stage.actor.stream({"content": "late", "correlationId": "c1", "endOfSpeech": True})
    assert not stage.actor.speaking


def test_an_uninterruptible_greeting_is_finished_first() -> None:
    """The answer waits."""
    stage = Stage({"initialMessage": "Hear me out.", "uninterruptibleGreeting": True})
    stage.actor.greet()
    stage.play(5)
    stage.actor.receive({"message_type": "speech", "content": "hi"})
    stage.play()
    assert stage.text().startswith("Hear me out.Sandbox:")


def test_a_talk_stream_is_spoken_as_it_comes() -> None:
    """Words may be cut anywhere; a word is spoken once it is whole."""
    stage = Stage()
    for content in ("Hel", "lo, wor"):
        stage.actor.stream({"content": content, "correlationId": "c", "endOfSpeech": False})
    stage.play(100)
    assert stage.text() == "Hello,"
    stage.actor.stream({"content": "ld.", "correlationId": "c", "endOfSpeech": False})
    stage.actor.stream({"content": "", "correlationId": "c", "endOfSpeech": True})
    stage.play()
    assert stage.text() == "Hello, world."
    assert stage.speech()[-1]["end_of_speech"] is True
    assert {chunk["user_action_correlation_id"] for chunk in stage.speech()} == {"c"}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"message_type": "speech"},
        {"message_type": "speech", "content": " "},
        {"message_type": "speech", "content": 7},
        {"message_type": ["speech"], "content": "x"},
        {"message_type": "director_note_cue", "cue": "happy"},
        {"message_type": "remote_rtp_stats", "data": {}},
    ],
)
def test_messages_that_make_no_sense_are_ignored(message: dict[str, Any]) -> None:
    """Nothing is said, nothing is sent."""
    stage = Stage()
    stage.actor.receive(message)
    stage.actor.stream(message)
    assert (stage.sent, stage.actor.speaking) == ([], False)


def test_a_director_note_is_confirmed() -> None:
    """The client learns that its cue was applied."""
    stage = Stage()
    stage.actor.receive({"message_type": "director_note_cue", "cue": {"tag": "happy"}})
    assert stage.sent[0]["messageType"] == "directorNoteCueApplied"
    assert stage.sent[0]["data"]["cue_tag"] == "happy"


def test_a_flood_is_cut_off() -> None:
    """Neither many utterances nor a long one fill the memory."""
    stage = Stage()
    for _ in range(1_000):
        stage.actor.say("word " * 100_000)
        stage.actor.stream({"content": "x" * 1_000, "correlationId": "c", "endOfSpeech": False})
    utterances = stage.actor._all()
    assert len(utterances) <= 20
    assert all(len(utterance.text) <= 20_000 for utterance in utterances)
