"""The official Python SDK, unchanged, talks with the sandbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import requests
from anam import AnamEvent, PersonaConfig
from media.conftest import run, talking
from sandbox.clients import QUIET

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog

pytestmark = pytest.mark.usefixtures("nothing_left")


def _credentials(sandbox: Sandbox, kind: str) -> dict[str, Any]:
    if kind == "token":
        return {"session_token": sandbox.issue_token(QUIET)}
    if kind == "id":
        return {"api_key": sandbox.api_key, "persona_id": catalog.PERSONA_ID}
    config = PersonaConfig(
        name="Cara",
        avatar_id=catalog.AVATAR_ID,
        voice_id=catalog.VOICE_ID,
        llm_id=catalog.LLM_ID,
        system_prompt="Be kind.",
    )
    return {"api_key": sandbox.api_key, "persona_config": config}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["token", "key", "id"])
def test_it_sees_a_moving_face_and_converses(sandbox: Sandbox, kind: str) -> None:
    """Connect, two pictures that differ, text there and back, and a polite end."""

    async def work() -> None:
        async with talking(sandbox, **_credentials(sandbox, kind)) as talk:
            pictures = await talk.pictures(6)
            assert pictures[0] != pictures[-1]
            await talk.session.send_message("ping pong")
            await talk.until(lambda: "ping pong" in talk.spoken_by("persona"))
            assert talk.spoken_by("user") == "ping pong"
            assert "Sandbox: I am Cara" in talk.spoken_by("persona")

    run(work())
    (session,) = sandbox.ledger.sessions
    assert session.exit_status == "NORMAL_EXIT"


@pytest.mark.slow
def test_the_picture_has_the_size_of_the_avatar_model(sandbox: Sandbox) -> None:
    """cara-3 is 720x480, cara-4 is 1152x768, and a session may ask for the tall form."""

    async def size(config: dict[str, Any], options: dict[str, Any]) -> tuple[int, int]:
        body = {"personaConfig": {**QUIET, **config}, "sessionOptions": options}
        headers = {"Authorization": f"Bearer {sandbox.api_key}"}
        url = f"{sandbox.url}/v1/auth/session-token"
        answer = requests.post(url, json=body, headers=headers, timeout=10)
        async with talking(sandbox, session_token=answer.json()["sessionToken"]) as talk:
            async for frame in talk.session.video_frames():
                return frame.width, frame.height
        raise AssertionError("no frame")

    async def work() -> list[tuple[int, int]]:
        tall = {"videoWidth": 768, "videoHeight": 1152}
        return [
            await size({"avatarModel": "cara-3"}, {}),
            await size({"avatarModel": "cara-4"}, {}),
            await size({"avatarModel": "cara-4"}, tall),
        ]

    assert run(work()) == [(720, 480), (1152, 768), (768, 1152)]


def test_it_hears_the_greeting_and_silence_after_it(sandbox: Sandbox) -> None:
    """The first message is spoken, shown word by word, and then the persona is quiet."""
    token = sandbox.issue_token(
        {**QUIET, "skipGreeting": False, "initialMessage": "Good morning, Ada."}
    )

    async def work() -> None:
        async with talking(sandbox, session_token=token) as talk:
            loud: list[int] = []
            async with asyncio.timeout(15):
                async for frame in talk.session.audio_frames():
                    samples = memoryview(bytes(frame.planes[0])).cast("h")
                    loud.append(max(map(abs, samples)))
                    spoken = talk.details(AnamEvent.MESSAGE_RECEIVED)
                    if spoken and len(loud) > 10 and max(loud[-10:]) < 50:
                        break
            assert max(loud) > 1_000
            assert talk.spoken_by("persona") == "Good morning, Ada."
            assert len(talk.details(AnamEvent.MESSAGE_STREAM_EVENT_RECEIVED)) == 4

    run(work())


@pytest.mark.slow
def test_it_makes_the_persona_speak_and_interrupts_it(sandbox: Sandbox) -> None:
    """`talk` and talk streams are spoken; an interruption ends them and says so."""

    async def work() -> None:
        async with talking(sandbox) as talk:
            await talk.session.talk("Hear me.")
            await talk.until(lambda: talk.spoken_by("persona") == "Hear me.")
            stream = talk.session.create_talk_stream()
            await stream.send("This is a rather long st", end_of_speech=False)
            await stream.send("ory about nothing at all.", end_of_speech=False)
            await talk.until(lambda: " a rather long story" in talk.spoken_by("persona"))
            await talk.session.interrupt()
            await talk.until(lambda: talk.details(AnamEvent.TALK_STREAM_INTERRUPTED))
            chunks = partial(talk.details, AnamEvent.MESSAGE_STREAM_EVENT_RECEIVED)
            await talk.until(lambda: chunks()[-1][0].interrupted)
            text = talk.spoken_by("persona")
            await talk.session.send_message("next")
            await talk.until(lambda: "next" in talk.spoken_by("persona"))
            assert talk.spoken_by("persona").startswith(f"{text}Sandbox: ")

    run(work())


@pytest.mark.parametrize(
    ("config", "reason"),
    [({}, "The session has been stopped."), ({"maxSessionLengthSeconds": 1}, "limit of 1 seconds")],
)
def test_it_learns_why_the_session_was_ended(
    sandbox: Sandbox, config: dict[str, Any], reason: str
) -> None:
    """A stop by the API and the end of the session's time come with our words."""
    token = sandbox.issue_token({**QUIET, **config})

    async def work() -> list[tuple[Any, ...]]:
        async with talking(sandbox, session_token=token) as talk:
            if not config:
                id_ = sandbox.ledger.sessions[0].session_id
                headers = {"Authorization": f"Bearer {sandbox.api_key}"}
                url = f"{sandbox.url}/v1/sessions/{id_}/stop"
                await asyncio.to_thread(requests.post, url, headers=headers, timeout=10)
            await talk.until(lambda: talk.details(AnamEvent.CONNECTION_CLOSED))
            return talk.details(AnamEvent.CONNECTION_CLOSED)

    code, text = run(work())[0]
    assert (code, reason in text) == ("server_closed", True)
    assert sandbox.ledger.sessions[0].exit_status == "CLOSED_BY_ENGINE"


@pytest.mark.slow
def test_it_can_be_as_slow_as_the_real_thing(make_sandbox: Callable[..., Sandbox]) -> None:
    """Latency precedes the session, the start's delay the connection, the reply's the answer."""
    sandbox = make_sandbox(latency=0.1, start_delay=0.3, reply_delay=0.6)

    async def work() -> tuple[float, float]:
        start = time.monotonic()
        async with talking(sandbox) as talk:
            ready = time.monotonic()
            await talk.session.send_message("now?")
            await talk.until(lambda: talk.spoken_by("persona"))
            return ready - start, time.monotonic() - ready

    to_ready, to_answer = run(work())
    assert to_ready >= 0.1 + 0.1 + 0.3  # the session, the upgrade, the answer to the offer
    assert to_answer >= 0.3  # sound that was late catches up by 0.2 s at most


def test_a_stop_while_sessions_stream_is_told(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    """Three moving pictures end, each with the reason."""
    sandbox = make_sandbox()

    async def work() -> list[tuple[Any, ...]]:
        async with talking(sandbox) as first, talking(sandbox) as second, talking(sandbox) as third:
            talks = (first, second, third)
            await asyncio.gather(*(talk.pictures(3) for talk in talks))
            await asyncio.to_thread(sandbox.stop)
            for talk in talks:
                await talk.until(partial(talk.details, AnamEvent.CONNECTION_CLOSED))
            return [talk.details(AnamEvent.CONNECTION_CLOSED)[0] for talk in talks]

    assert run(work()) == [("server_closed", "The sandbox has been stopped.")] * 3
