"""Rude clients: whatever they do, no task, thread, socket or call of theirs stays."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from media.conftest import CURRENT, open_files, run, talking
from page.chromium import FLAGS, the_browser
from playwright.sync_api import Browser
from sandbox.clients import QUIET, open_websocket, start_session, wait_for, wait_until_read
from websockets.sync.client import ClientConnection

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.streaming.media_session import CallTiming

_CONNECT = """async ([token, baseUrl]) => {
  const client = anam.createClient(token, { api: { baseUrl }, disableInputAudio: true });
  const ready = new Promise((done) => client.addListener(anam.AnamEvent.VIDEO_PLAY_STARTED, done));
  await client.streamToVideoElement("persona");
  await ready;
}"""


def _open(sandbox: Sandbox) -> ClientConnection:
    return open_websocket(sandbox, start_session(sandbox))


def _talk(sandbox: Sandbox, count: int = 1) -> None:
    """Hold so many sessions at once, each until it has seen a picture."""

    async def one() -> None:
        async with talking(sandbox) as talk:
            assert await talk.pictures(1)

    async def work() -> None:
        await asyncio.gather(*(one() for _ in range(count)))

    run(work())


def _say_wrong_things(sandbox: Sandbox, _: str) -> None:
    wrong = ["", "[]", '{"actionType": 7}', "{" * 5_000]
    offers = [{}, {"connectionDescription": {"sdp": "v=0"}}, {"connectionDescription": 7}]
    wrong += [json.dumps({"actionType": "offer", "payload": offer}) for offer in offers]
    for _turn in range(3):
        with _open(sandbox) as websocket:
            for message in wrong:
                websocket.send(message)
            assert websocket.ping().wait(20)


def _cut_the_line(sandbox: Sandbox, _: str) -> None:
    for _turn in range(3):
        with _open(sandbox) as websocket:
            assert websocket.ping().wait(20)
            websocket.socket.shutdown(socket.SHUT_RDWR)


def _break_the_protocol(sandbox: Sandbox, _: str) -> None:
    for _turn in range(3):
        with _open(sandbox) as websocket:
            websocket.socket.sendall(b"\xff" * 100)
            assert wait_for(lambda websocket=websocket: websocket.close_code)  # type: ignore[misc]


def _come_all_at_once(sandbox: Sandbox, _: str) -> None:
    _talk(sandbox, 20)
    assert len(sandbox.ledger.sessions) == 21


def _offer_again_and_again(sandbox: Sandbox, _: str) -> None:
    async def offer() -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.createDataChannel("session")
        for kind in ("video", "audio"):
            connection.addTransceiver(kind, direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        await connection.close()
        return str(connection.localDescription.sdp)

    payload = {"connectionDescription": {"type": "offer", "sdp": run(offer())}}
    for patient in (True, False, False):
        with _open(sandbox) as websocket:
            for _turn in range(5):
                websocket.send(json.dumps({"actionType": "offer", "payload": payload}))
            if patient:
                assert json.loads(websocket.recv(20))["actionType"] == "answer"


def _show(browser: Browser, sandbox: Sandbox, page_url: str) -> None:
    page = browser.new_context(permissions=["microphone"]).new_page()
    page.goto(page_url + CURRENT)
    page.evaluate(_CONNECT, [sandbox.issue_token(QUIET), sandbox.url])


def _close_the_tab(sandbox: Sandbox, page_url: str) -> None:
    browser = the_browser()
    _show(browser, sandbox, page_url)
    browser.contexts[-1].close()


def _kill_the_browser(sandbox: Sandbox, page_url: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    browser = the_browser().browser_type.launch(executable_path=chromium, args=list(FLAGS))
    for _turn in range(2):
        _show(browser, sandbox, page_url)
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    (pid,) = [p["id"] for p in processes["processInfo"] if p["type"] == "browser"]
    os.kill(pid, signal.SIGKILL)
    browser.close()  # of what is left of it


_WAYS = [
    _say_wrong_things,
    _cut_the_line,
    _break_the_protocol,
    _come_all_at_once,
    _offer_again_and_again,
    pytest.param(_close_the_tab, marks=pytest.mark.browser),
    pytest.param(_kill_the_browser, marks=pytest.mark.browser),
]


class Remains:
    """What a sandbox, and this process, hold at the moment."""

    def __init__(self, sandbox: Sandbox) -> None:
        loop = sandbox._engine._thread._loop
        assert loop is not None
        self.tasks = len(asyncio.all_tasks(loop))
        self.own = len(sandbox._engine._tasks)
        # The pool that draws and encodes may grow, but has a limit of its own.
        names = [thread.name for thread in threading.enumerate()]
        self.threads = sum(not name.startswith("asyncio_") for name in names)
        self.files = open_files()

    def at_most(self, other: Remains) -> bool:
        """Whether there is nothing here that was not there."""
        return all(mine <= vars(other)[name] for name, mine in vars(self).items())


@pytest.mark.slow
@pytest.mark.parametrize("way", _WAYS)
def test_rude_clients_leave_nothing_behind(
    make_sandbox: Callable[..., Sandbox],
    request: pytest.FixtureRequest,
    way: Callable[[Sandbox, str], None],
) -> None:
    """After each of their ways the sandbox is as it was after a polite client."""
    browser_needed = request.node.get_closest_marker("browser")
    page_url = request.getfixturevalue("page_url") if browser_needed else ""
    if browser_needed:
        the_browser()
    sandbox = make_sandbox()
    sandbox._engine._timing = CallTiming(reconnect_timeout=0.3)
    _talk(sandbox)
    assert wait_for(lambda: sandbox._engine._media_sessions == {})
    assert wait_for(lambda: not sandbox._engine._tasks)
    polite = Remains(sandbox)
    way(sandbox, page_url)
    assert wait_for(lambda: sandbox._engine._media_sessions == {})
    assert wait_for(lambda: Remains(sandbox).at_most(polite)), (
        vars(Remains(sandbox)),
        vars(polite),
    )
    _talk(sandbox)
    assert all(session.ended_at for session in sandbox.ledger.sessions[:-1])


_GARBAGE: list[str | bytes] = [
    "",
    "not json",
    "[" * 50_000,
    "[]",
    "7",
    "{}",
    '{"actionType": 7}',
    '{"actionType": "heartbeat", "payload": ""}',
    '{"actionType": "unheard of", "payload": {}}',
    '{"actionType": "offer"}',
    '{"actionType": "offer", "payload": {"connectionDescription": {"sdp": 7}}}',
    '{"actionType": "offer", "payload": {"connectionDescription": {"sdp": "v=0 nonsense"}}}',
    '{"actionType": "icecandidate", "payload": {"candidate": "candidate:what"}}',
    '{"actionType": "icecandidate", "payload": {"candidate": 7}}',
    '{"actionType": "icecandidate", "payload": {"candidate": ""}}',
    '{"actionType": "talkstream", "payload": {"content": {}}}',
    '{"actionType": "agentaudioinput", "payload": {"audioData": "AAAA"}}',
    b"\xff\xfe binary",
]


@pytest.mark.usefixtures("nothing_left")
def test_garbage_is_survived(sandbox: Sandbox) -> None:
    """The connection stays, the session stays, and an offer that makes no sense is a warning."""
    session_id = start_session(sandbox)
    with open_websocket(sandbox, session_id) as websocket:
        for message in _GARBAGE:
            websocket.send(message)
        warning = json.loads(websocket.recv(20))
        assert (warning["actionType"], warning["sessionId"]) == ("warning", session_id)
        wait_until_read(websocket)
    assert sandbox.ledger.sessions[0].ended_at is None
    sandbox.stop()
