"""A worker: its users' tabs get tokens, talk and hang up; run as a script by `workers`."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import requests
from hosts import PERSONA, TOKEN_PATH, User, client_of, make_host

from flask_anam import FlaskAnam
from flask_anam.core import database

JOB = json.loads(sys.argv[1])
#: Requests go through the sandbox's door one after the other per thread, over kept connections.
local = threading.local()
lock = threading.Lock()


def say(what: object) -> None:
    """Tell the test."""
    with lock:
        print(json.dumps(what), flush=True)  # noqa: T201 - how it talks to the test


def open_session(session_token: str) -> str:
    """Start a session at the sandbox, as a browser does."""
    if not hasattr(local, "http"):
        local.http = requests.Session()
    url = f"{JOB['config']['ANAM_BASE_URL']}/v1/engine/session"
    headers = {"Authorization": f"Bearer {session_token}"}
    answer = local.http.post(url, json={}, headers=headers, timeout=60)
    return str(answer.json()["sessionId"])


def talk(client: Any, slot: str) -> None:
    """One conversation, each step told as soon as it is answered."""
    answer = client.post(TOKEN_PATH, json={"slot": slot})
    token = answer.get_json()
    if answer.status_code != 200:
        say({"refused": token["code"]})
        return
    say({"minted": token["tokenId"]})
    if not JOB.get("starts", True):
        return
    session_id = open_session(token["sessionToken"])
    body = {"tokenId": token["tokenId"], "sessionId": session_id}
    for _ in range(JOB.get("reports", 1)):
        assert client.post("/anam/sessions", json=body).status_code == 204
    say({"started": session_id})
    if not JOB.get("ends", True):
        return
    for _ in range(JOB.get("reports", 1)):
        assert client.post(f"/anam/sessions/{session_id}/end").status_code == 204
    say({"ended": session_id})


def main() -> None:
    """Build an app, wait for the word, and talk from all threads."""
    for name in ("LOCK_WITHIN", "WRITE_WITHIN", "CONNECT_WITHIN"):
        setattr(database, name, 120)  # a busy machine may be slow; nothing may be lost for that
    users = [User(name) for name in JOB["users"]]
    app = make_host(*users, ANAM_PERSONAS={"support": {**PERSONA, **JOB.get("persona", {})}})
    app.config.update(JOB["config"])
    FlaskAnam(app)
    say("ready")
    sys.stdin.readline()

    def work(number: int) -> None:
        for turn in range(JOB["turns"]):
            client = client_of(app, users[(number + turn) % len(users)])
            talk(client, f"{JOB['name']}-{number}-{turn}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(JOB["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
