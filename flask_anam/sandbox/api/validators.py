"""Building blocks for request rules: each check looks at one JSON value and notes what is wrong."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

Path = tuple[str, ...]


class Problems:
    """The messages found so far, each with the path of the field it is about."""

    def __init__(self) -> None:
        self.found: list[tuple[Path, str]] = []

    def add(self, path: Path, message: str) -> None:
        """Note that the field at `path` is wrong."""
        self.found.append((path, message))

    def tree(self) -> dict[str, Any]:
        """Return the messages as nested objects, those of a field under its ``_errors``."""
        root: dict[str, Any] = {"_errors": []}
        for path, message in self.found:
            node = root
            for name in path:
                node = node.setdefault(name, {"_errors": []})
            node["_errors"].append(message)
        return root

    def summary(self) -> str:
        """Return the first message with its dotted path."""
        path, message = self.found[0]
        return f"{'.'.join(path)}: {message}" if path else message


#: Looks at a value and adds what is wrong with it.
Check = Callable[[Any, Path, Problems], None]


def text(
    *,
    longest: int | None = None,
    choices: Collection[str] = (),
    pattern: str | None = None,
    form: str = "",
    nullable: bool = False,
) -> Check:
    """Return a check for a string: `longest` in characters, `form` describes `pattern`."""

    def check(value: Any, path: Path, problems: Problems) -> None:
        if value is None and nullable:
            return
        if not isinstance(value, str):
            problems.add(path, f"Must be a string{' or null' if nullable else ''}.")
        elif choices and value not in choices:
            problems.add(path, f"Must be one of {', '.join(choices)}.")
        elif longest is not None and len(value) > longest:
            problems.add(path, f"Must have at most {longest} characters, has {len(value)}.")
        elif pattern is not None and not re.fullmatch(pattern, value):
            problems.add(path, f"Must be {form}.")

    return check


def url(value: Any, path: Path, problems: Problems) -> None:
    """Check for an absolute URI."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        parts = None
    if parts is None or not parts.scheme or not parts.netloc:
        problems.add(path, "Must be an absolute URL.")


def number(low: float = -math.inf, high: float = math.inf, *, whole: bool = False) -> Check:
    """Return a check for a number (an integer if `whole`) from `low` to `high`."""

    def check(value: Any, path: Path, problems: Problems) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            problems.add(path, f"Must be {'an integer' if whole else 'a number'}.")
        elif whole and value % 1:
            problems.add(path, "Must be an integer.")
        elif not low <= value <= high:
            problems.add(path, f"Must be from {low} to {high}.")

    return check


def flag(value: Any, path: Path, problems: Problems) -> None:
    """Check for true or false."""
    if not isinstance(value, bool):
        problems.add(path, "Must be true or false.")


def record(fields: Mapping[str, Check], *, required: Collection[str] = ()) -> Check:
    """Return a check for an object whose known `fields` are right; other fields are accepted."""

    def check(value: Any, path: Path, problems: Problems) -> None:
        if not isinstance(value, dict):
            problems.add(path, "Must be an object.")
            return
        for name in required:
            if name not in value:
                problems.add((*path, name), "Is required.")
        for name, check_field in fields.items():
            if name in value:
                check_field(value[name], (*path, name), problems)

    return check


def items(check_item: Check) -> Check:
    """Return a check for an array whose every element is right."""

    def check(value: Any, path: Path, problems: Problems) -> None:
        if not isinstance(value, list):
            problems.add(path, "Must be an array.")
            return
        for index, item in enumerate(value):
            check_item(item, (*path, str(index)), problems)

    return check


def both(first: Check, then: Check) -> Check:
    """Return a check that does `then` only when `first` found the value right."""

    def check(value: Any, path: Path, problems: Problems) -> None:
        before = len(problems.found)
        first(value, path, problems)
        if len(problems.found) == before:
            then(value, path, problems)

    return check
