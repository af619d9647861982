"""Strict marshmallow fields: no type coercion, and error messages that show no value.

No string becomes a number, no "yes" becomes True. A deferred value (a callable; `secret` makes
one) passes unchecked; it is checked when a token is minted.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError, fields
from marshmallow.validate import Length, Range

from flask_anam.core.schemas.secret import is_deferred
from flask_anam.errors import PersonaWarning

if TYPE_CHECKING:
    from marshmallow.types import ErrorMessages


#: The persona whose config is being checked, for warnings; "" where unknown, None for no warnings.
_persona_name: ContextVar[str | None] = ContextVar("flask_anam_persona_name", default="")


@contextmanager
def persona_in_warnings(persona: str | None) -> Iterator[None]:
    """Name the persona in the warnings of this block; None silences them, nested blocks too."""
    token = _persona_name.set(persona if _persona_name.get() is not None else None)
    try:
        yield
    finally:
        _persona_name.reset(token)


def warn(text: str, kind: type[Warning] = PersonaWarning) -> None:
    """Emit a warning about a persona config, with the name of the persona where it is known."""
    persona = _persona_name.get()
    if persona is not None:
        warnings.warn(f"Persona {persona!r}: {text}" if persona else text, kind, stacklevel=2)


def doc(description: str, example: object, **more: object) -> dict[str, Any]:
    """Return the documentation of a field, as marshmallow metadata.

    Args:
        description: a sentence for the docs and the JSON Schema.
        example: a valid value, or None.
        more: ``default`` (Anam's default), ``pattern`` (a regular expression), ``form`` (the kind
            of text, such as "UUID") and ``sdk`` (True for a field that Anam's SDKs send but its
            OpenAPI lacks).

    """
    return {"metadata": {"description": description, "example": example, **more}}


class _StrictMixin:
    """Mixin of all fields: deferred values pass unchecked, and null has a message of ours."""

    default_error_messages: ErrorMessages = {  # noqa: RUF012 - marshmallow's own name
        "required": "Missing.",
        "null": "Must not be null. Leave the field out instead.",
    }

    def deserialize(self, value: Any, attr: Any = None, data: Any = None, **kwargs: Any) -> Any:
        if is_deferred(value):
            return value
        return super().deserialize(value, attr, data, **kwargs)  # type: ignore[misc]


def describe_value(value: object) -> str:
    """Describe a wrong value without showing it, since it may be a prompt or a secret."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"a string of {len(value)} character{'' if len(value) == 1 else 's'}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else type(value).__name__


class StrictString(_StrictMixin, fields.String):
    """String field: a string that can be encoded as UTF-8."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError(f"Must be a string, got {describe_value(value)}.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValidationError("Holds a character that UTF-8 cannot carry.") from None
        return value


class MaxLength(Length):
    """Length validator in characters, whose message shows the length and not the text."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max=max_length)

    def __call__(self, value: Any) -> Any:
        """Return the value; raises ValidationError when it is too long."""
        if len(value) > self.max:  # type: ignore[operator]  # set above
            raise ValidationError(f"Has {len(value)} characters; at most {self.max} are allowed.")
        return value


class StrictNumber(_StrictMixin, fields.Float):
    """Number field: a finite number within a range, both ends included.

    Args:
        low: the least value.
        high: the greatest value; None for no bound.
        whole: whether it must be an integer.

    """

    def __init__(
        self, low: float, high: float | None = None, *, whole: bool = False, **kw: Any
    ) -> None:
        span = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        rule = Range(min=low, max=high, error=f"Must be {span}, got {{input}}.")
        super().__init__(validate=rule, **kw)
        self.low, self.high, self.whole = low, high, whole

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        kind = "a whole number" if self.whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError(f"Must be {kind}, got {describe_value(value)}.")
        if self.whole and value % 1:  # 720.0 passes, as in JSON Schema; nan and inf do not
            raise ValidationError(f"Must be {kind}, got {describe_value(value)}.")
        super()._deserialize(value, attr, data, **kwargs)
        return value

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return value


class StrictBoolean(_StrictMixin, fields.Boolean):
    """Boolean field: True or False; "true", "yes" and 1 are refused."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError(f"Must be true or false, got {describe_value(value)}.")
        return value


class Choice(StrictString):
    """Enumeration field: one of the values that Anam publishes and extends now and then.

    Args:
        allowed: the published values.
        closed: True to refuse other values whatever ANAM_UNKNOWN_VALUES says.

    """

    def __init__(self, allowed: Iterable[str], *, closed: bool = False, **kw: Any) -> None:
        super().__init__(**kw)
        self.allowed = tuple(allowed)
        self.closed = closed
        self.unknown_values = "error"

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text in self.allowed:
            return text
        hint = did_you_mean(text, self.allowed)
        message = f"Must be one of {', '.join(self.allowed)}, got {describe_value(value)}.{hint}"
        if self.closed:
            raise ValidationError(message)
        if self.unknown_values == "ignore":
            return text
        if self.unknown_values == "error":
            switch = 'If Anam has added it since, set ANAM_UNKNOWN_VALUES = "warn".'
            raise ValidationError(f"{message} {switch}")
        warn(f"{attr}: {message} It is sent on, since ANAM_UNKNOWN_VALUES is warn.")
        return text


class StrictList(_StrictMixin, fields.List[Any]):
    """List field: a list or tuple of values of one field."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise ValidationError(f"Must be a list, got {describe_value(value)}.")
        items: list[Any] = super()._deserialize(value, attr, data, **kwargs)
        return items


class FreeObject(_StrictMixin, fields.Dict):
    """Mapping field: an object whose keys Anam does not publish; it must be valid JSON."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValidationError(f"Must be an object, got {describe_value(value)}.")
        try:
            loaded = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        except ValidationError as exc:
            # marshmallow nests messages below "key" and "value", which would read as a path.
            messages: dict[Any, Any] = {
                key: [text for texts in parts.values() for text in texts]
                for key, parts in exc.messages_dict.items()
            }
            raise ValidationError(messages) from None
        check_writable(loaded)
        return loaded


def check_writable(value: object) -> None:
    """Raise ValidationError, with the path, for what JSON cannot hold; deferred values pass."""
    try:
        place = path_to_unwritable(value, deferred=True)
    except RecursionError:
        place = ""
    if place is not None:
        text: Any = "Cannot be written as JSON."
        raise ValidationError({place: [text]} if place else text)


def path_to_unwritable(value: object, path: str = "", *, deferred: bool) -> str | None:
    """Return the path of the first value that is not valid JSON, or None.

    Args:
        value: what is to be written, of any depth.
        path: the path of `value` itself.
        deferred: whether deferred values may pass.

    Raises:
        RecursionError: the value contains itself.

    """
    if isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in pairs:
            here = f"{path}.{key}" if path else str(key)
            named = isinstance(key, int) if not isinstance(value, Mapping) else is_text(key)
            place = path_to_unwritable(part, here, deferred=deferred) if named else here
            if place is not None:
                return place
        return None
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return None if deferred and is_deferred(value) else path
    return None


def is_text(value: object) -> bool:
    """Whether a value is a string that can be encoded as UTF-8."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


class NestedObject(_StrictMixin, fields.Nested):
    """Nested field: an object with a schema of its own."""

    def _test_collection(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise ValidationError(f"Must be an object, got {describe_value(value)}.")


def camel(name: str) -> str:
    """Return a snake_case name in camelCase."""
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


def validator(check: Callable[[Any], str | None]) -> Callable[[Any], None]:
    """Return a marshmallow validator from a function that returns a message or None."""

    def validate(value: Any) -> None:
        message = check(value)
        if message:
            raise ValidationError(message)

    return validate


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question with the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
