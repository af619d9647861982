"""Opens backends as an app would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from flask_anam.core.cache.backends import Backend, open_backend
from flask_anam.testing import ManualClock

Opener = Callable[[str], Backend]


@pytest.fixture
def opened(clock: ManualClock) -> Iterator[Opener]:
    """Open backends as an app would; their connections are closed after the test."""
    backends: list[Backend] = []

    def opener(url: str) -> Backend:
        backends.append(open_backend(url, clock))
        return backends[-1]

    yield opener
    for backend in backends:
        cache = backend.cache
        client = getattr(cache, "_write_client", None) or getattr(cache, "_client", None)
        if client is not None:
            client.close()


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that starts at the real time, for servers expire by theirs."""
    return ManualClock(time.time())
