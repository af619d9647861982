"""What all fault tests share."""

from __future__ import annotations

import pytest

from flask_anam.core.cache import backends

#: Modules, and rows, that are about how long a slow cache may take.
ABOUT_SLOWNESS = ("test_outages", "test_killed", "test_hostile_backends", "row_49")


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a busy machine time, where slowness of the cache is not what is tested."""
    if not any(name in request.node.nodeid for name in ABOUT_SLOWNESS):
        monkeypatch.setattr(backends, "NETWORK_TIMEOUT", 10.0)
