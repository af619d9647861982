"""The marshmallow fields that the schemas here are made of.

They take values as they are: no string becomes a number, no "yes" becomes True. A value that is
known only when a token is minted (a callable; `secret` makes one) passes unchecked, and is checked
then.
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


#: The persona whose config is looked at, for warnings; None keeps them back.
_persona_name: ContextVar[str | None] = ContextVar("flask_anam_looked_at", default="")


@contextmanager
def persona_in_warnings(persona: str | None) -> Iterator[None]:
    """Name the persona in the warnings of this block; None silences them, whatever is inside."""
    before = _persona_name.set(persona if _persona_name.get() is not None else None)
    try:
        yield
    finally:
        _persona_name.reset(before)


def warn(text: str, kind: type[Warning] = PersonaWarning) -> None:
    """Warn of something in a persona config, naming the persona where it is known."""
    persona = _persona_name.get()
    if persona is not None:
        warnings.warn(f"Persona {persona!r}: {text}" if persona else text, kind, stacklevel=2)


def doc(description: str, example: object, **more: object) -> dict[str, Any]:
    """Return the metadata of a field: `more` may hold ``default``, ``form`` and ``sdk``.

    ``form`` says what kind of text it is; ``sdk`` marks a field that Anam's SDKs send but its
    OpenAPI lacks.
    """
    return {"metadata": {"description": description, "example": example, **more}}


class _StrictMixin:
    """What all fields share: late values pass, and messages say what was found."""

    default_error_messages: ErrorMessages = {  # noqa: RUF012 - marshmallow's own name
        "required": "Missing.",
        "null": "Must not be null. Leave the field out instead.",
    }

    def deserialize(self, value: Any, attr: Any = None, data: Any = None, **kwargs: Any) -> Any:
        if is_deferred(value):
            return value
        return super().deserialize(value, attr, data, **kwargs)  # type: ignore[misc]


def describe_value(value: object) -> str:
    """Say what a wrong value is without showing it: it may be a prompt or a secret."""
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
    """A string that UTF-8 can carry."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError(f"Must be a string, got {describe_value(value)}.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValidationError("Holds a character that UTF-8 cannot carry.") from None
        return value


class MaxLength(Length):
    """A rule for the length of a text, whose message tells the length and not the text."""

    def __init__(self, longest: int) -> None:
        super().__init__(max=longest)
        self.longest = longest

    def __call__(self, value: Any) -> Any:
        """Return the value; raise ValidationError when it is too long."""
        size = len(value)
        if size > self.longest:
            raise ValidationError(f"Has {size} characters; at most {self.longest} are allowed.")
        return value


class StrictNumber(_StrictMixin, fields.Float):
    """A finite number within a range, both ends included.

    Args:
        low: the least value, or None.
        high: the greatest value, or None.
        whole: whether it must be an integer.

    """

    def __init__(
        self, low: float | None = None, high: float | None = None, *, whole: bool = False, **kw: Any
    ) -> None:
        span = Range(min=low, max=high, error=f"Must be {_span(low, high)}, got {{input}}.")
        super().__init__(validate=[span] if (low, high) != (None, None) else [], **kw)
        self.low, self.high, self.whole = low, high, whole

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        kind = "a whole number" if self.whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError(f"Must be {kind}, got {describe_value(value)}.")
        if self.whole and value % 1:  # 720.0 is one, as in JSON Schema; nan and inf are none
            raise ValidationError(f"Must be {kind}, got {describe_value(value)}.")
        super()._deserialize(value, attr, data, **kwargs)
        return value

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return value


def _span(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"


class StrictBoolean(_StrictMixin, fields.Boolean):
    """True or False, and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError(f"Must be true or false, got {describe_value(value)}.")
        return value


class Choice(StrictString):
    """One of the published values of a list that the vendor extends now and then.

    Args:
        allowed: the published values.
        closed: True when values outside make no sense, whatever ANAM_UNKNOWN_VALUES says.

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
    """A list."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise ValidationError(f"Must be a list, got {describe_value(value)}.")
        taken: list[Any] = super()._deserialize(value, attr, data, **kwargs)
        return taken


class FreeObject(_StrictMixin, fields.Dict):
    """An object whose content the vendor does not publish."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValidationError(f"Must be an object, got {describe_value(value)}.")
        try:
            loaded = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        except ValidationError as no:
            # marshmallow tells of key and value apart, which would read as a path.
            told: dict[Any, Any] = {
                key: [text for texts in apart.values() for text in texts]
                for key, apart in no.messages_dict.items()
            }
            raise ValidationError(told) from None
        check_writable(loaded)
        return loaded


def check_writable(value: object) -> None:
    """Raise ValidationError, with the place, for what JSON cannot carry; late values may pass."""
    try:
        place = path_to_unwritable(value, late=True)
    except RecursionError:
        place = ""
    if place is not None:
        told: Any = "Cannot be written as JSON."
        raise ValidationError({place: [told]} if place else told)


def path_to_unwritable(value: object, path: str = "", *, late: bool) -> str | None:
    """Return the path of the first value that JSON cannot carry, or None; `late` ones may pass."""
    if isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in pairs:
            here = f"{path}.{key}" if path else str(key)
            named = isinstance(key, int) if not isinstance(value, Mapping) else is_text(key)
            place = path_to_unwritable(part, here, late=late) if named else here
            if place is not None:
                return place
        return None
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return None if late and is_deferred(value) else path
    return None


def is_text(value: object) -> bool:
    """Whether a value is a string that UTF-8 can carry."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


class NestedObject(_StrictMixin, fields.Nested):
    """A nested schema."""

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
