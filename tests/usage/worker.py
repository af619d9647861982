"""Workers, forked as a server forks them: their users' tabs get tokens, talk and hang up."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.client import HTTPConnection
from typing import Any

from hosts import PERSONA, TOKEN_PATH, User, client_of, make_host

from flask_anam import FlaskAnam
from flask_anam.core.usage import database
from flask_anam.core.usage import sql_store as sql_sessions

assert sql_sessions.__name__  # imported once, before the fork
#: Each thread's own connection to the sandbox.
local = threading.local()


def say(what: object) -> None:
    """Tell the test; one short write is never mixed with another's."""
    os.write(1, json.dumps(what).encode() + b"\n")


def open_session(job: dict[str, Any], session_token: str) -> str:
    """Start a session at the sandbox, as a browser does."""
    if not hasattr(local, "http"):
        host = job["config"]["ANAM_BASE_URL"].removeprefix("http://")
        local.http = HTTPConnection(host, timeout=300)
    headers = {"Authorization": f"Bearer {session_token}", "Content-Type": "application/json"}
    local.http.request("POST", "/v1/engine/session", "{}", headers)
    return str(json.load(local.http.getresponse())["sessionId"])


def talk(job: dict[str, Any], client: Any, slot: str) -> None:
    """One conversation, each step told as soon as it is answered."""
    answer = client.post(TOKEN_PATH, json={"slot": slot})
    token = answer.get_json()
    if answer.status_code != 200:
        say({"refused": token["code"]})
        return
    say({"minted": token["tokenId"]})
    if not job.get("starts", True):
        return
    session_id = open_session(job, token["sessionToken"])
    body = {"tokenId": token["tokenId"], "sessionId": session_id}
    assert client.post("/anam/sessions", json=body).status_code == 204
    say({"started": session_id})
    again = slot.endswith("0")  # some browsers say everything twice
    for _ in range(1 + again):
        assert client.post(f"/anam/sessions/{session_id}/end").status_code == 204
    if again:
        assert client.post("/anam/sessions", json=body).status_code == 204
    say({"ended": session_id})


def work(job: dict[str, Any], gate: int) -> None:
    """Build an app, wait for the word, and talk from all threads."""
    for name in ("LOCK_WITHIN", "WRITE_WITHIN", "CONNECT_WITHIN"):
        setattr(database, name, 300)  # a busy machine may be slow; nothing may be lost for that
    users = [User(name) for name in job["users"]]
    app = make_host(*users, ANAM_PERSONAS={"support": {**PERSONA, **job.get("persona", {})}})
    app.config.update(job["config"])
    FlaskAnam(app)
    say({"ready": os.getpid()})
    if not os.read(gate, 1):
        return
    failures: list[BaseException] = []

    def turns(number: int) -> None:
        clients = [client_of(app, user) for user in users]
        try:
            for turn in range(job["turns"]):
                client = clients[(number + turn) % len(users)]
                talk(job, client, f"{job['name']}-{number}-{turn}")
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=turns, args=(n,)) for n in range(job["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(1 if failures else 0)  # as a server ends its workers: what is to be done at exit is


def main() -> None:
    """Fork one worker per job, give all the word at once, and wait for them."""
    jobs = json.loads(sys.argv[1])
    gate, word = os.pipe()
    children = []
    for job in jobs:
        child = os.fork()
        if child == 0:
            os.close(word)
            work(job, gate)
            return
        children.append(child)
    if sys.stdin.readline():
        os.write(word, b"g" * len(jobs))
    os.close(word)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(any(ended))


main()
