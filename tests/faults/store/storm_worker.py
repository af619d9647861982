"""A worker: many threads ask for the tokens of some users at once; run as a script."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from typing import Any

from hosts import PERSONA, make_host

from flask_anam import FlaskAnam
from flask_anam.errors import AnamError


class Trouble(logging.Handler):
    """Counts how often the cache failed."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count it."""
        self.count += "token cache failed" in record.getMessage()


def main() -> None:
    """Build an app, wait for the word, ask from all threads, and print what came."""
    job = json.loads(sys.argv[1])
    app = make_host(ANAM_PERSONAS={"support": PERSONA}, **job["config"])
    anam = FlaskAnam(app)
    answers: list[dict[str, Any]] = []
    trouble = Trouble()
    logging.getLogger("flask_anam").addHandler(trouble)
    gate = threading.Barrier(job["threads"])

    def ask(number: int) -> None:
        gate.wait()
        for step in range(job["keys"]):
            key = (number + step) % job["keys"]
            slot = f"{number}" if job.get("own_slots") else "tab"
            begun = time.monotonic()
            answer: dict[str, Any] = {"key": key}
            try:
                with app.app_context():
                    user = f"{job['users']}-{key}"
                    issued = anam.create_token("support", user_id=user, slot=slot)
                    answer |= {"id": issued.token_id, "reused": issued.reused}
            except AnamError as error:
                answer["error"] = error.code
            answers.append(answer | {"seconds": time.monotonic() - begun})

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(job["threads"])]
    print("ready", flush=True)  # noqa: T201 - how it talks to the test
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"answers": answers, "cache_failures": trouble.count}))  # noqa: T201


if __name__ == "__main__":
    main()
