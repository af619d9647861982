"""Base schemas: unknown fields are refused; Anam's names are accepted in two spellings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import (
    EXCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validates_schema,
)

from flask_anam.core.schemas.fields import (
    Choice,
    NestedObject,
    camel,
    check_writable,
    did_you_mean,
    warn,
)

#: Messages in one error at most, so that an answer is not much longer than its request.
MAX_ERRORS = 20


def limit_errors(messages: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the first `MAX_ERRORS` of marshmallow's messages, in the same tree."""
    left = MAX_ERRORS

    def first(part: Any) -> Any:
        nonlocal left
        if isinstance(part, Mapping):
            # `left` is read again before each part, and each part lowers it.
            return {key: first(inner) for key, inner in part.items() if left > 0}
        texts = part[:left] if isinstance(part, list) else part
        left -= len(texts) if isinstance(texts, list) else 1
        return texts

    return dict(first(messages))


class StrictSchema(Schema):
    """Base schema that refuses unknown fields and suggests the nearest known name."""

    class Meta:
        unknown = EXCLUDE  # they are refused below, with a suggestion

    error_messages = {"type": "Must be an object."}  # noqa: RUF012 - marshmallow's own name

    #: Whether unknown fields are accepted and kept.
    is_open = False

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _refuse_unknown(self, _data: Any, original: Any, **_kwargs: Any) -> None:
        if not isinstance(original, Mapping):
            return
        known = {f.data_key or name for name, f in self.load_fields.items()}
        unknown: dict[Any, Any] = {}
        for name in original:
            if len(unknown) >= MAX_ERRORS:
                break
            if self.outer_name(name) not in known:
                if self.is_open and isinstance(name, str):
                    check_writable({name: original[name]})
                else:
                    unknown[str(name)] = [self._unknown(str(name), known)]
        if unknown:
            raise ValidationError(unknown)

    def outer_name(self, name: Any) -> Any:
        """Return the name in JSON for an accepted spelling of a field."""
        return name

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        """Return the message for an unknown field, with the nearest known name."""
        return f"Unknown field.{did_you_mean(camel(name), known) or did_you_mean(name, known)}"


class VendorSchema(StrictSchema):
    """Base schema of what Anam receives: writes camelCase, accepts snake_case too.

    Fields that are not given are left out of the result, which keeps the order of the input.

    Args:
        unknown_values: what to do with values outside a published list: "error" refuses them,
            "warn" accepts them with a warning, "ignore" accepts them.

    """

    #: Deprecated name -> its successor or, after a "!", what to do instead.
    deprecated: Mapping[str, str] = {}
    #: Other names accepted beside the fields of this object, for suggestions.
    neighbours: Iterable[str] = ()

    def __init__(self, *, unknown_values: str = "error", **kwargs: Any) -> None:
        self.unknown_values = unknown_values
        super().__init__(**kwargs)

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give each field its camelCase name for input and output, and pass `unknown_values` on."""
        field_obj.data_key = field_obj.attribute = field_obj.data_key or camel(field_name)
        inner = getattr(field_obj, "inner", None)
        for bound in (field_obj, inner):
            if isinstance(bound, Choice):
                bound.unknown_values = self.unknown_values
            if isinstance(bound, NestedObject) and isinstance(bound.nested, type):
                bound.nested = bound.nested(unknown_values=self.unknown_values)

    def outer_name(self, name: Any) -> Any:
        """Return the camelCase name for a snake_case or deprecated one, else the name itself."""
        field_obj = self.load_fields.get(name) if isinstance(name, str) else None
        outer = field_obj.data_key if field_obj and field_obj.data_key else name
        successor = self.deprecated.get(camel(outer) if isinstance(outer, str) else "", "!")
        return outer if successor.startswith("!") else successor

    def given(self, original: Any) -> set[Any]:
        """Return the names of the fields that were given, valid or not."""
        names = original if isinstance(original, Mapping) else ()
        return {self.outer_name(name) for name in names}

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        if camel(name) in self.deprecated:
            return f"No longer supported. {self.deprecated[camel(name)].removeprefix('!')}"
        for field in [f for f in self.load_fields.values() if isinstance(f, NestedObject)]:
            if camel(name) in {inner.data_key for inner in field.schema.load_fields.values()}:
                return f"Unknown field here. It belongs in {field.data_key}."
        return super()._unknown(name, [*known, *self.neighbours])

    @pre_load
    def _to_camel_case(self, data: Any, **_kwargs: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        renamed: dict[Any, Any] = {}
        for name, value in data.items():
            key = self.outer_name(name)
            if key in renamed:
                raise ValidationError({key: [f"Given twice, as {key} and in another spelling."]})
            if key != name and camel(str(name)) in self.deprecated:
                text = f"{name} is deprecated: use {key}, which means the same."
                warn(text, DeprecationWarning)
            renamed[key] = value
        return renamed

    @post_load(pass_original=True)
    def _keep_order(self, data: dict[str, Any], original: Any, **_kwargs: Any) -> dict[str, Any]:
        order = {self.outer_name(name): value for name, value in original.items()}
        values = {**order, **data} if self.is_open else data
        return {name: values[name] for name in order if name in values}
