"""A worker that uses its app, forks four children in the middle of it, and tells what they got."""

from __future__ import annotations

import json
import os
import sys
import threading

from flask import Flask
from hosts import PERSONA, make_host

from flask_anam import FlaskAnam

CHILDREN, CALLS = 4, 40


def main() -> None:
    """Keep the parent's threads asking while the children are forked; print what they say."""
    job = json.loads(sys.argv[1])
    app = make_host(
        ANAM_PERSONAS={"support": PERSONA},
        ANAM_TOKEN_RATE_LIMIT="1000000 per hour",
        **job["config"],
    )
    anam = FlaskAnam(app)
    over = threading.Event()

    def stay_busy(number: int) -> None:
        while not over.is_set():
            ask(app, anam, f"parent-{number}", "tab")

    print("ready", flush=True)  # noqa: T201 - how it talks to the test
    sys.stdin.readline()
    ask(app, anam, "parent", "tab")
    threads = [threading.Thread(target=stay_busy, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    children = [fork(app, anam, number) for number in range(CHILDREN)]
    answers, exits = [], []
    for pid, pipe in children:
        with os.fdopen(pipe) as lines:
            answers += [line.split() for line in lines]
        exits.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"answers": answers, "exits": exits}))  # noqa: T201


def fork(app: Flask, anam: FlaskAnam, number: int) -> tuple[int, int]:
    """Return process id and pipe of a child that asks for its own user, then ends."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        for call in range(CALLS):
            token_id = ask(app, anam, f"child-{number}", f"tab-{call % 5}")
            os.write(writing, f"child-{number} {token_id}\n".encode())
        status = 0
    finally:
        os._exit(status)


def ask(app: Flask, anam: FlaskAnam, user_id: str, slot: str) -> str:
    """Return the id of a token for a user."""
    with app.app_context():
        return anam.create_token("support", user_id=user_id, slot=slot).token_id


if __name__ == "__main__":
    main()
