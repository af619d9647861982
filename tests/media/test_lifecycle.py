"""The extra that is missing, the process that forks, the words of the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.announcement import announcement

_TESTS = str(Path(__file__).parents[1])


def _run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([_TESTS, *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


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
    out = _run(script)
    assert '"actionType": "endsession"' in out
    assert 'pip install \\"Flask-Anam[sandbox]\\"' in out
    assert "ERROR" in out


def test_the_libraries_are_imported_when_a_client_connects_and_not_before() -> None:
    """Nobody who only mints tokens pays for them."""
    script = """
import sys
from flask_anam.sandbox import Sandbox
with Sandbox() as sandbox:
    sandbox.issue_token()
    print({"aiortc", "av", "aioice"} & set(sys.modules), "asyncio-thread" in sys.modules)
"""
    assert _run(script).startswith("set()")


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
        assert not sandbox._engine._calls
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
    assert "both streamed" in _run(script)


def test_the_announcement_names_every_way_in() -> None:
    """The app's settings, both SDKs and the extra."""
    with Sandbox() as sandbox:
        text = announcement(sandbox)
    assert f'ANAM_BASE_URL = "{sandbox.url}"' in text
    assert f'createClient(token, {{ api: {{ baseUrl: "{sandbox.url}" }} }})' in text
    assert f'ClientOptions(api_base_url="{sandbox.url}")' in text
    assert 'pip install "Flask-Anam[sandbox]"' in text
