"""Session engine: the ends of sessions, the missing extra, imports and forks."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from sandbox.clients import QUIET, open_websocket, start_session, wait_for, wait_until_read
from sandbox.scripts import run_script

from flask_anam.sandbox import Ledger, Sandbox
from flask_anam.sandbox.api.sessions import Sessions, SessionStart
from flask_anam.sandbox.http.websocket import WebSocket
from flask_anam.sandbox.streaming.media_session import CallTiming
from flask_anam.sandbox.streaming.session_engine import SessionEngine


def test_a_restarted_session_ends_the_earlier_one(sandbox: Sandbox) -> None:
    """The same token again: the first client learns that it was replaced."""
    token = sandbox.issue_token(QUIET)
    session_id = start_session(sandbox, token)
    with open_websocket(sandbox, session_id) as websocket:
        wait_until_read(websocket)
        assert start_session(sandbox, token) == session_id
        message = json.loads(websocket.recv(20))
        assert "started again" in message["payload"]
        with open_websocket(sandbox, session_id) as other:
            wait_until_read(other)
    assert [s.ended_at is None for s in sandbox.ledger.sessions] == [False, True]


def test_without_media_a_session_ends_with_the_reason(make_sandbox: Callable[..., Sandbox]) -> None:
    """The only way to tell a client why there is no video."""
    sandbox = make_sandbox(media=False)
    with open_websocket(sandbox, start_session(sandbox)) as websocket:
        websocket.send(json.dumps({"actionType": "offer", "payload": {}}))
        message = json.loads(websocket.recv(20))
        assert (message["actionType"], "media=False" in message["payload"]) == ("endsession", True)
    assert wait_for(lambda: sandbox.ledger.sessions[0].exit_status == "ERROR")


def test_stop_ends_streams_in_time(make_sandbox: Callable[..., Sandbox]) -> None:
    """Clients learn it, and a sandbox that starts again takes new ones."""
    sandbox = make_sandbox()
    with ExitStack() as stack:
        websockets = [
            stack.enter_context(open_websocket(sandbox, start_session(sandbox))) for _ in range(5)
        ]
        for websocket in websockets:
            wait_until_read(websocket)
        stopping = threading.Thread(target=sandbox.stop)
        stopping.start()
        for websocket in websockets:
            assert json.loads(websocket.recv(20))["payload"] == "The sandbox has been stopped."
        stopping.join(20)
        assert not stopping.is_alive()
    sandbox.start()
    with open_websocket(sandbox, start_session(sandbox)) as websocket:
        wait_until_read(websocket)


def test_a_session_that_ended_during_the_upgrade_is_ended_at_once() -> None:
    """The client gets the reason, although its WebSocket came too late for it."""
    sessions = Sessions(Ledger(), limit=None, single_use=False, clock=time.time)
    engine = SessionEngine(sessions, CallTiming(), media=False)
    start = SessionStart("id", None, None, {}, {}, None, "localhost", "key")
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as source, theirs.makefile("rb") as received:
        thread = threading.Thread(target=engine.serve, args=(start, WebSocket(ours, source)))
        thread.start()
        content = received.read()
        thread.join(10)
        assert not thread.is_alive()
    engine.stop()
    assert b'"actionType": "endsession"' in content
    assert b"The session has ended." in content
    assert content.endswith(struct.pack("!BBH", 0x88, 2, 1000))


def test_every_session_ends_at_its_limit(sandbox: Sandbox) -> None:
    """Also one that comes after a time without sessions, in which nothing is checked."""
    config = {**QUIET, "maxSessionLengthSeconds": 0.1}
    for _ in range(2):
        token = sandbox.issue_token(config)
        with open_websocket(sandbox, start_session(sandbox, token)) as websocket:
            assert "limit of 0.1 seconds" in json.loads(websocket.recv(20))["payload"]
        assert wait_for(lambda: not sandbox._engine._checking)


def test_without_the_extra_a_session_says_what_to_install() -> None:
    """HTTP and signalling work; the session ends with the one command that helps."""
    script = """
import json, sys
import requests
from urllib.parse import urlsplit
from websockets.sync.client import connect

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"aiortc", "aioice", "av", "simple_websocket"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from flask_anam.sandbox import Sandbox

with Sandbox() as sandbox:
    headers = {"Authorization": f"Bearer {sandbox.issue_token()}"}
    start = requests.post(f"{sandbox.url}/v1/engine/session", headers=headers, timeout=10)
    id_ = start.json()["sessionId"]
    host = urlsplit(sandbox.url).netloc
    with connect(f"ws://{host}/ws?session_id={id_}", proxy=None) as line:
        line.send(json.dumps({"actionType": "offer", "payload": {}}))
        print(line.recv(10))
    print(sandbox.ledger.sessions[0].exit_status)
"""
    out = run_script(script, may_log=True)
    assert '"actionType": "endsession"' in out
    assert 'pip install \\"Flask-Anam[sandbox]\\"' in out
    assert "ERROR" in out


_LOADED = """
def loaded():
    return sorted({"aiortc", "av", "aioice"} & set(sys.modules))

def finish():
    for thread in threading.enumerate():
        if thread.name == "anam-import":
            thread.join()
"""


def test_the_libraries_are_imported_for_a_client_and_not_before() -> None:
    """Neither tokens nor sessions over HTTP bring them in; whoever expects a client may."""
    script = f"""
import sys, threading
import requests
from flask_anam.sandbox import Sandbox
{_LOADED}
with Sandbox() as sandbox:
    key = {{"Authorization": f"Bearer {{sandbox.api_key}}"}}
    body = {{"personaConfig": {{"personaId": "p"}}}}
    for path in ("/v1/auth/session-token", "/v1/engine/session"):
        requests.post(sandbox.url + path, json=body, headers=key, timeout=10).raise_for_status()
    requests.get(f"{{sandbox.url}}/v1/sessions", headers=key, timeout=10).raise_for_status()
    print(loaded(), threading.active_count())
    sandbox.warm_up()
    finish()
    print(loaded())
"""
    first, second = run_script(script).splitlines()
    assert first.startswith("[] ")
    assert second == "['aioice', 'aiortc', 'av']"


def test_a_page_with_a_persona_brings_the_libraries_in() -> None:
    """Whoever sees one may click in a moment; a token alone does not mean that."""
    script = f"""
import sys, threading
from hosts import ADA, client_of, make_host, PERSONA
from flask_anam import FlaskAnam
{_LOADED}
app = make_host(ADA, ANAM_SANDBOX=True, ANAM_PERSONAS={{"support": PERSONA}})
anam = FlaskAnam(app)
client = client_of(app, ADA)
assert client.post("/api/session-token", json={{"personaType": "support"}}).status_code == 200
print(loaded())
with app.test_request_context():
    anam.browser_config()
finish()
print(loaded())
"""
    assert run_script(script, may_log=True).splitlines()[:2] == ["[]", "['aioice', 'aiortc', 'av']"]


def test_the_sandbox_of_the_command_line_brings_the_libraries_in() -> None:
    """Such a process has nothing else to do."""
    script = f"""
import sys, threading, time
from flask_anam.sandbox import Sandbox
{_LOADED}
sandbox = Sandbox()
thread = threading.Thread(target=sandbox.serve_forever)
thread.start()
while not loaded():
    time.sleep(0.01)
sandbox.stop()
thread.join()
finish()
print(loaded())
"""
    assert run_script(script).splitlines() == ["['aioice', 'aiortc', 'av']"]


def test_without_the_extra_a_warm_up_does_nothing() -> None:
    """The session will say what is missing."""
    script = """
import sys, threading
sys.modules["aiortc"] = None
from flask_anam.sandbox import Sandbox
with Sandbox() as sandbox:
    sandbox.warm_up()
    for thread in threading.enumerate():
        if thread.name == "anam-import":
            thread.join()
print("quiet")
"""
    assert run_script(script) == "quiet\n"


@pytest.mark.slow
def test_a_fork_leaves_the_sessions_to_the_parent() -> None:
    """They go on there; the child has none of them, and can stream on its own."""
    script = """
import os, sys, threading, warnings
from media.conftest import run, talking
from flask_anam.sandbox import Sandbox

async def look(sandbox, seen, on):
    async with talking(sandbox) as talk:
        await talk.pictures(2)
        seen.set()
        while not on.is_set():
            await talk.pictures(1)
        await talk.pictures(5)
    return "moving"

sandbox = Sandbox().start()
seen, on, done = threading.Event(), threading.Event(), []
thread = threading.Thread(target=lambda: done.append(run(look(sandbox, seen, on))))
thread.start()
assert seen.wait(20)
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    status = 1
    try:
        assert not sandbox._engine._media_sessions
        on.set()
        with Sandbox() as own:
            assert run(look(own, seen, on)) == "moving"
        sandbox.ensure_running()
        sandbox.stop()
        status = 0
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
on.set()
thread.join(20)
assert done == ["moving"], done
sandbox.stop()
print("both streamed")
"""
    assert "both streamed" in run_script(script, may_log=True)
