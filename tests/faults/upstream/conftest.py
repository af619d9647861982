"""What the tests of upstream faults share."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.upstream.servers import Certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Return an authority that nobody trusts yet."""
    return Certificates(tmp_path)
