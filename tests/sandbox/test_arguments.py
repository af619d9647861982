"""Argument checks: type first, then range, with the argument's name in the text."""

from typing import Any

import pytest

from flask_anam.sandbox.arguments import check_number, check_seconds, check_text


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, None),
        (10, None),
        (True, TypeError),
        ("1", TypeError),
        (1.5, TypeError),
        (-1, ValueError),
        (11, ValueError),
    ],
)
def test_a_whole_number_has_a_range(value: object, error: type[Exception] | None) -> None:
    """Both ends belong to it; a float is of the wrong type."""
    if error is None:
        check_number("size", value, 0, 10, whole=True)
        return
    with pytest.raises(error, match=r"^size must be "):
        check_number("size", value, 0, 10, whole=True)


@pytest.mark.parametrize(("value", "error"), [(-0.1, ValueError), (86_400.1, ValueError)])
def test_seconds_end_after_a_day(value: Any, error: type[Exception]) -> None:
    """Every duration is checked, and named."""
    check_seconds(first=0, second=86_400)
    with pytest.raises(error, match=r"^second must be from 0 to 86400"):
        check_seconds(first=0, second=value)
    with pytest.raises(ValueError, match="nan"):
        check_seconds(first=float("nan"))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("", ValueError),
        (" a", ValueError),
        ("a\n", ValueError),
        ("é", ValueError),
        (b"a", TypeError),
    ],
)
def test_a_text_is_printable_ascii(value: object, error: type[Exception]) -> None:
    """None stands for no text."""
    check_text("key", None)
    check_text("key", "a b~!")
    with pytest.raises(error, match=r"^key must be "):
        check_text("key", value)
