"""A process that tries to take some leases and holds what it got; run as a script."""

from __future__ import annotations

import json
import sys

from flask_anam.core.cache.backends import open_backend
from flask_anam.core.clock import Clock


def main() -> None:
    """Wait for the word, try each key once, tell which were won, and hold them until killed."""
    job = json.loads(sys.argv[1])
    lease = open_backend(job["cache"], Clock()).lease
    print("ready", flush=True)  # noqa: T201 - how it talks to the test
    sys.stdin.readline()
    print(json.dumps([bool(lease.acquire(key, 8)) for key in job["keys"]]), flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    main()
