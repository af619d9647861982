"""Argument checks of the public methods."""

import math


def check_number(
    name: str, value: object, low: float, high: float = math.inf, *, whole: bool = False
) -> None:
    """Require a number (an integer if `whole`) from `low` to `high`.

    Raises:
        TypeError: `value` is of another type.
        ValueError: `value` is out of range.

    """
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        kind = "an integer" if whole else "a number"
        raise TypeError(f"{name} must be {kind}, not {type(value).__name__}.")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}.")


def check_seconds(**durations: object) -> None:
    """Require each duration to be a number of seconds from 0 to 86,400 (one day).

    Raises:
        TypeError: A duration is of another type.
        ValueError: A duration is out of range.

    """
    for name, seconds in durations.items():
        check_number(name, seconds, 0, 86_400)


def check_text(name: str, value: object) -> None:
    """Require None, or printable ASCII that neither is empty nor begins or ends with a space.

    Raises:
        TypeError: `value` is neither a string nor None.
        ValueError: `value` is another text.

    """
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, not {type(value).__name__}.")
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError(f"{name} must be printable ASCII without spaces around it, not empty.")
