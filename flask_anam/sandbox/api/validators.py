"""Validators: each looks at one JSON value and adds what is wrong with it to a list."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

Path = tuple[str, ...]


class ValidationErrors:
    """Validation errors: messages, each with the path of its field."""

    def __init__(self) -> None:
        self.messages: list[tuple[Path, str]] = []

    def add(self, path: Path, message: str) -> None:
        """Add a message about the field at `path`."""
        self.messages.append((path, message))

    def tree(self) -> dict[str, Any]:
        """Return the messages as nested objects, those of a field under its ``_errors``."""
        root: dict[str, Any] = {"_errors": []}
        for path, message in self.messages:
            node = root
            for name in path:
                node = node.setdefault(name, {"_errors": []})
            node["_errors"].append(message)
        return root

    def summary(self) -> str:
        """Return the first message with its dotted path."""
        path, message = self.messages[0]
        return f"{'.'.join(path)}: {message}" if path else message


#: Checks a value at a path and adds what is wrong with it.
Validator = Callable[[Any, Path, ValidationErrors], None]


def string(
    *,
    max_length: int | None = None,
    choices: Collection[str] = (),
    pattern: str | None = None,
    description: str = "",
    nullable: bool = False,
) -> Validator:
    """Return a validator for a string of at most `max_length` characters.

    `description` says in words what `pattern` matches.
    """

    def validate(value: Any, path: Path, errors: ValidationErrors) -> None:
        if value is None and nullable:
            return
        if not isinstance(value, str):
            errors.add(path, f"Must be a string{' or null' if nullable else ''}.")
        elif choices and value not in choices:
            errors.add(path, f"Must be one of {', '.join(choices)}.")
        elif max_length is not None and len(value) > max_length:
            errors.add(path, f"Must have at most {max_length} characters, has {len(value)}.")
        elif pattern is not None and not re.fullmatch(pattern, value):
            errors.add(path, f"Must be {description}.")

    return validate


def url(value: Any, path: Path, errors: ValidationErrors) -> None:
    """Check for an absolute URI."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        parts = None
    if parts is None or not parts.scheme or not parts.netloc:
        errors.add(path, "Must be an absolute URL.")


def number(low: float = -math.inf, high: float = math.inf, *, whole: bool = False) -> Validator:
    """Return a validator for a number (an integer if `whole`) from `low` to `high`."""

    def validate(value: Any, path: Path, errors: ValidationErrors) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            errors.add(path, f"Must be {'an integer' if whole else 'a number'}.")
        elif whole and value % 1:
            errors.add(path, "Must be an integer.")
        elif not low <= value <= high:
            errors.add(path, f"Must be from {low} to {high}.")

    return validate


def boolean(value: Any, path: Path, errors: ValidationErrors) -> None:
    """Check for true or false."""
    if not isinstance(value, bool):
        errors.add(path, "Must be true or false.")


def object_of(fields: Mapping[str, Validator], *, required: Collection[str] = ()) -> Validator:
    """Return a validator for an object whose `fields` are valid; other fields are accepted."""

    def validate(value: Any, path: Path, errors: ValidationErrors) -> None:
        if not isinstance(value, dict):
            errors.add(path, "Must be an object.")
            return
        for name in required:
            if name not in value:
                errors.add((*path, name), "Is required.")
        for name, validate_field in fields.items():
            if name in value:
                validate_field(value[name], (*path, name), errors)

    return validate


def array_of(validate_item: Validator) -> Validator:
    """Return a validator for an array in which every item is valid."""

    def validate(value: Any, path: Path, errors: ValidationErrors) -> None:
        if not isinstance(value, list):
            errors.add(path, "Must be an array.")
            return
        for index, item in enumerate(value):
            validate_item(item, (*path, str(index)), errors)

    return validate


def chain(*validators: Validator) -> Validator:
    """Return a validator that applies `validators` in order, until one adds an error."""

    def validate(value: Any, path: Path, errors: ValidationErrors) -> None:
        before = len(errors.messages)
        for validator in validators:
            if len(errors.messages) == before:
                validator(value, path, errors)

    return validate
