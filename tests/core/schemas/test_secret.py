"""Secrets: references to environment variables."""

from __future__ import annotations

from typing import Any

import pytest

from flask_anam import secret


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_secret_needs_a_name(name: Any) -> None:
    """The mistake is found where it is made."""
    with pytest.raises(TypeError, match="name of an environment variable"):
        secret(name)
