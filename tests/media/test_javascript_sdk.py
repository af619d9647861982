"""The official JavaScript SDK, unchanged, in a real Chromium with a fake microphone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from media.conftest import RELEASES, SCREENSHOTS
from playwright.sync_api import Page
from sandbox.clients import QUIET, wait_for

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.streaming.media_session import CallTiming

pytestmark = pytest.mark.browser

_CONNECT = """async ([token, baseUrl, options]) => {
  window.seen = [];
  const client = window.client = anam.createClient(token, { api: { baseUrl }, ...options });
  for (const [name, event] of Object.entries(anam.AnamEvent))
    client.addListener(event, (...details) => seen.push([name, ...details]));
  await client.streamToVideoElement("persona");
}"""
_LOOK = """() => {
  const video = document.getElementById("persona");
  const canvas = document.createElement("canvas");
  canvas.width = 180; canvas.height = 120;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 180, 120);
  return Array.from(context.getImageData(0, 0, 180, 120).data);
}"""
_SEEN = "name => seen.filter(([known]) => known === name).map(([, ...details]) => details)"


class Watched:
    """A page on which the SDK runs."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def connect(self, sandbox: Sandbox, config: dict[str, Any], **options: object) -> None:
        """Start a session, without a microphone unless asked.

        With one and the SDK's candidate pool, Chromium 156 gathers no candidate in about one of
        100 starts; with a pool of 0 that was not seen.
        """
        token = sandbox.issue_token(config)
        all_options = {"disableInputAudio": True, **options}
        self.page.evaluate(_CONNECT, [token, sandbox.url, all_options])

    def seen(self, name: str) -> list[list[Any]]:
        result: list[list[Any]] = self.page.evaluate(_SEEN, name)
        return result

    def wait_to_see(self, name: str) -> list[Any]:
        self.page.wait_for_function("name => seen.some(([known]) => known === name)", arg=name)
        return self.seen(name)[-1]

    def wait_for_text(self, role: str, text: str) -> None:
        self.page.wait_for_function(
            """([role, text]) => seen
              .filter(([name, chunk]) => name === "MESSAGE_STREAM_EVENT_RECEIVED"
                && chunk.role === role)
              .map(([, chunk]) => chunk.content).join("").includes(text)""",
            arg=[role, text],
        )

    def pixels(self) -> list[int]:
        result: list[int] = self.page.evaluate(_LOOK)
        return result

    def wait_for_motion(self) -> None:
        """Wait for a picture that is not empty, and for another one that differs from it."""
        self.page.wait_for_function("() => document.getElementById('persona').currentTime > 0.2")
        first = self.pixels()
        assert len(set(first)) > 50
        assert wait_for(lambda: self.pixels() != first)


@pytest.fixture
def watched(page: Page) -> Watched:
    """Give a page on which the SDK runs."""
    return Watched(page)


def test_it_shows_a_moving_face_and_converses(sandbox: Sandbox, watched: Watched) -> None:
    """First picture, motion, the ready event, text there and back, and a stop."""
    pool = {"iceCandidatePoolSize": 0}
    watched.connect(sandbox, QUIET, disableInputAudio=False, rtcConfiguration=pool)
    (session_id,) = watched.wait_to_see("SESSION_READY")
    assert session_id == sandbox.ledger.sessions[0].session_id
    watched.wait_for_motion()
    watched.page.evaluate("client.sendUserMessage('hello sandbox')")
    watched.wait_for_text("user", "hello sandbox")
    watched.wait_for_text("persona", "hello sandbox")
    watched.page.screenshot(path=SCREENSHOTS / "sandbox-persona.png")
    watched.page.evaluate("client.stopStreaming()")
    assert watched.wait_to_see("CONNECTION_CLOSED")[0] == "CONNECTION_CLOSED_CODE_NORMAL"
    assert wait_for(lambda: sandbox.ledger.sessions[0].exit_status == "NORMAL_EXIT")


def test_it_hears_the_persona(sandbox: Sandbox, watched: Watched) -> None:
    """The sound comes in the stream of the video element, and is not silence."""
    watched.connect(sandbox, QUIET)
    watched.wait_to_see("SESSION_READY")
    loudest = watched.page.evaluate("""async () => {
      const stream = document.getElementById("persona").srcObject;
      const context = new AudioContext();
      await context.resume();
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(stream).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      await client.talk("A long hello, to be heard by all. ".repeat(20));
      let loudest = 0;
      for (let turn = 0; turn < 500 && loudest < 0.03; turn++) {
        await new Promise((done) => setTimeout(done, 40));
        analyser.getFloatTimeDomainData(samples);
        loudest = Math.max(loudest, ...samples);
      }
      await context.close();
      return loudest;
    }""")
    assert 0.03 <= loudest < 0.5


def test_it_makes_the_persona_speak(sandbox: Sandbox, watched: Watched) -> None:
    """`talk` over HTTP and a talk stream over the WebSocket."""
    watched.connect(sandbox, QUIET)
    watched.wait_to_see("SESSION_READY")
    watched.page.evaluate("client.talk('Said by talk.')")
    watched.wait_for_text("persona", "Said by talk.")
    watched.page.evaluate("""() => {
      window.stream = client.createTalkMessageStream();
      stream.streamMessageChunk("This is a long stream that nobody ends", false);
    }""")
    watched.wait_for_text("persona", "This is a")
    watched.page.evaluate("client.interruptPersona()")
    assert watched.wait_to_see("TALK_STREAM_INTERRUPTED")


@pytest.mark.parametrize("size", [(1152, 768), (768, 1152)])
def test_it_gets_the_size_of_the_avatar_model(
    sandbox: Sandbox, watched: Watched, size: tuple[int, int]
) -> None:
    """cara-4 in its usual form, and in the tall form that a session may ask for."""
    body = {
        "personaConfig": {**QUIET, "avatarModel": "cara-4", "avatarId": catalog.OTHER_AVATAR_ID},
        "sessionOptions": {"videoWidth": size[0], "videoHeight": size[1]},
    }
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    url = f"{sandbox.url}/v1/auth/session-token"
    token = requests.post(url, json=body, headers=headers, timeout=10).json()["sessionToken"]
    watched.page.evaluate(_CONNECT, [token, sandbox.url, {"disableInputAudio": True}])
    watched.wait_for_motion()
    shown = watched.page.evaluate("[persona.videoWidth, persona.videoHeight]")
    assert tuple(shown) == size


def test_it_shows_why_the_session_was_stopped(sandbox: Sandbox, watched: Watched) -> None:
    """A stop by the API closes the connection with our reason; a warning comes before it."""
    watched.connect(sandbox, QUIET)
    (session_id,) = watched.wait_to_see("SESSION_READY")
    sandbox.warn("We close in a minute.")
    assert watched.wait_to_see("SERVER_WARNING") == ["We close in a minute."]
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    requests.post(f"{sandbox.url}/v1/sessions/{session_id}/stop", headers=headers, timeout=10)
    assert watched.wait_to_see("CONNECTION_CLOSED") == [
        "CONNECTION_CLOSED_CODE_SERVER_CLOSED_CONNECTION",
        "The session has been stopped.",
    ]


@pytest.mark.parametrize(
    ("settings", "config", "reason"),
    [
        ({}, {"maxSessionLengthSeconds": 1}, "The session has reached its limit of 1 seconds."),
        ({"media": False}, {}, "This sandbox starts sessions but streams no video (media=False)."),
    ],
)
def test_it_shows_why_the_sandbox_ended_the_session(
    make_sandbox: Callable[..., Sandbox],
    watched: Watched,
    settings: dict[str, Any],
    config: dict[str, Any],
    reason: str,
) -> None:
    """The end of a session's time, and a sandbox without media."""
    watched.connect(make_sandbox(**settings), {**QUIET, **config})
    assert watched.wait_to_see("CONNECTION_CLOSED") == [
        "CONNECTION_CLOSED_CODE_SERVER_CLOSED_CONNECTION",
        reason,
    ]


def test_it_can_stop_and_start_again(sandbox: Sandbox, watched: Watched) -> None:
    """The same page, twice in a row."""
    for _ in range(2):
        watched.connect(sandbox, QUIET)
        watched.wait_to_see("SESSION_READY")
        watched.wait_for_motion()
        watched.page.evaluate("client.stopStreaming()")
        watched.wait_to_see("CONNECTION_CLOSED")
    assert wait_for(lambda: all(s.exit_status == "NORMAL_EXIT" for s in sandbox.ledger.sessions))


def test_a_closed_tab_ends_the_session(sandbox: Sandbox, watched: Watched) -> None:
    """The SDK says no goodbye then; the session ends a while after its WebSocket."""
    sandbox._engine._timing = CallTiming(reconnect_timeout=0.5)
    watched.connect(sandbox, QUIET)
    watched.wait_to_see("SESSION_READY")
    watched.page.goto("about:blank")
    assert wait_for(lambda: sandbox.ledger.sessions[0].exit_status == "NORMAL_EXIT")
    assert sandbox._engine._media_sessions == {}


@pytest.mark.parametrize("release", list(RELEASES))
def test_every_supported_release_connects(
    sandbox: Sandbox, watched: Watched, page_url: str, release: str
) -> None:
    """The page of features names the oldest of them."""
    watched.page.goto(page_url + release)
    watched.connect(sandbox, QUIET)
    watched.wait_to_see("SESSION_READY")
    watched.wait_for_motion()
    watched.page.evaluate("client.sendUserMessage('hello sandbox')")
    watched.wait_for_text("persona", "hello sandbox")
    watched.page.evaluate("client.stopStreaming()")
    assert watched.wait_to_see("CONNECTION_CLOSED")[0] == "CONNECTION_CLOSED_CODE_NORMAL"
    assert wait_for(lambda: sandbox.ledger.sessions[0].exit_status == "NORMAL_EXIT")


@pytest.mark.source
def test_the_docs_name_the_releases_that_connect() -> None:
    """No more and no fewer than are tested."""
    page = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
    match = re.search(r"`@anam-ai/js-sdk` ([\d., and]+)\d", page)
    assert match
    assert re.findall(r"\d+\.\d+\.\d+", page[match.start() : match.end()]) == list(RELEASES)
