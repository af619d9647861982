"""Hashing: the canonical spelling of a value."""

from __future__ import annotations

import pytest

from flask_anam.core.hashing import canonical


def test_the_canonical_spelling_is_sorted_compact_ascii() -> None:
    """One spelling per value, whatever the order; 1 and "1" differ; NaN has none."""
    assert canonical({"b": [1, "é"], "a": None}) == b'{"a":null,"b":[1,"\\u00e9"]}'
    assert canonical(1) != canonical("1")
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(float("nan"))
