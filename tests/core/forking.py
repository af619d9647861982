"""Forked children for tests: they run one function and report what it returned."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def child_says(work: Callable[[], bool]) -> bool:
    """Run work in a forked child that is killed after ten seconds; return what it says."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
