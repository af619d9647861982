"""``python -m benchmarks.soak_anam PORT CALLS SEED FILE``: a sandbox where one call in six fails.

It is our sandbox in a process of its own. Of the calls it gets, one percent fails in each of many
ways, in an order that the seed decides. Each mint becomes a line of the file, and so does, at the
end, how many calls there were. `BENCH_KEY` is the API key.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from flask_anam.sandbox import Sandbox

R = TypeVar("R")

#: What one percent of the calls each gets; arguments of `Sandbox.fail_next`. Refusals of the key
#: and of the plan are not among them: they stop all mints for 30 seconds and more.
FAULTS: dict[str, dict[str, Any]] = {
    "429 with Retry-After": {
        "status": 429,
        "json": {"error": "Too many requests"},
        "headers": {"Retry-After": "1"},
    },
    "500": {"status": 500},
    "502 with a page": {"status": 502, "body": "<html>Bad gateway</html>"},
    "503 with Retry-After": {"status": 503, "headers": {"Retry-After": "1"}},
    "400": {"status": 400},
    "404": {"status": 404},
    "redirect": {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
    "reset": {"status": 500, "reset": True},
    "reset after the mint": {"status": 200, "reset": True},
    "cut": {"status": 200, "cut_after": 40},
    "no answer": {"status": 500, "silent": True},
    "late answer": {"status": 200, "delay": 0.5},
    "dripping body": {"status": 200, "drip": 0.0005},
    "dripping headers": {"status": 200, "drip_headers": 0.001},
    "no length": {"status": 200, "content_length": False},
    "no JSON": {"body": "token: {", "status": 200},
    "no token": {"json": {}, "status": 200},
    "far too long": {"json": {"sessionToken": "x" * 70_000}, "status": 200},
}
#: Those that make a token and lose it on the way.
LOSSY = ("reset after the mint", "cut")
SHARE = 0.01
#: Seconds between two looks at the ledger, which keeps the newest 10,000 of each kind.
LOOK = 0.1


def order(calls: int, seed: int) -> list[str]:
    """Return the fault of each of so many calls; "" for none."""
    dice = random.Random(seed)
    kinds = list(FAULTS)
    weights = [SHARE] * len(kinds) + [1 - SHARE * len(kinds)]
    return dice.choices([*kinds, ""], weights, k=calls)


def main() -> None:
    """Serve until told to end."""
    port, calls, seed, file = sys.argv[1:]
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Sandbox(api_key=os.environ["BENCH_KEY"], port=int(port), media=False) as sandbox:
        for fault in order(int(calls), int(seed)):
            sandbox.fail_next(path="*", **(FAULTS[fault] if fault else {"status": 200}))
        with Path(file).open("w", buffering=1) as out:
            _write_down(sandbox, out.write, ended)


def _write_down(sandbox: Sandbox, write: Callable[[str], object], ended: threading.Event) -> None:
    mints, requests, number, over = None, None, 0, False
    while not over:
        over = ended.wait(LOOK)  # and one look more
        for mint in _since(sandbox.ledger.mints, mints, lambda one: one.session_id):
            name = mint.persona_config.get("name", "")
            write(json.dumps({"token_id": mint.token_id, "name": name, "at": mint.at}) + "\n")
            mints = mint.session_id
        for request in _since(
            sandbox.ledger.requests, requests, lambda one: (one.connection, one.at)
        ):
            number += 1
            requests = (request.connection, request.at)
    write(json.dumps({"calls": number}) + "\n")


def _since(records: Sequence[R], last: object, name: Callable[[R], object]) -> Iterator[R]:
    """Yield the records after the last that was seen, oldest first."""
    fresh = 0
    for record in reversed(records):
        if name(record) == last:
            break
        fresh += 1
    yield from records[len(records) - fresh :]


if __name__ == "__main__":
    main()
