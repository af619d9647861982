"""What the tests of the benchmarks share; those are in the source tree alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("benchmarks") else ["test_*.py"]


@pytest.fixture
def aside() -> Iterator[Executor]:
    """Run work in a thread without an event loop: Playwright keeps one in the main thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
