"""What all schemas here share: unknown fields are refused, Anam's names come in two spellings."""

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

#: Mistakes that one error tells of, so that it is not much longer than what it answers.
MAX_ERRORS = 20


def limit_errors(messages: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return marshmallow's messages where they are, but no more than `MAX_ERRORS` of them."""
    left = MAX_ERRORS

    def some(part: Any) -> Any:
        nonlocal left
        if isinstance(part, Mapping):
            # The next part is looked at only while there is room for it.
            return {key: some(inner) for key, inner in part.items() if left > 0}
        texts = part[:left] if isinstance(part, list) else part
        left -= len(texts) if isinstance(texts, list) else 1
        return texts

    return dict(some(messages))


class StrictSchema(Schema):
    """Refuse unknown fields, naming the nearest known one."""

    class Meta:
        unknown = EXCLUDE  # they are refused below, with a better message than marshmallow's

    error_messages = {"type": "Must be an object."}  # noqa: RUF012 - marshmallow's own name

    #: Whether unknown fields pass, and are kept.
    is_open = False

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _refuse_unknown(self, _data: Any, original: Any, **_kwargs: Any) -> None:
        if not isinstance(original, Mapping):
            return
        known = {f.data_key or name for name, f in self.load_fields.items()}
        strange: dict[Any, Any] = {}
        for name in original:
            if len(strange) >= MAX_ERRORS:
                break
            if self.outer_name(name) not in known:
                if self.is_open and isinstance(name, str):
                    check_writable({name: original[name]})
                else:
                    strange[str(name)] = [self._unknown(str(name), known)]
        if strange:
            raise ValidationError(strange)

    def outer_name(self, name: Any) -> Any:
        """Return the name that a given spelling of a field stands for."""
        return name

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        """Return the message for an unknown field, with the nearest known name."""
        return f"Unknown field.{did_you_mean(camel(name), known) or did_you_mean(name, known)}"


class VendorSchema(StrictSchema):
    """A schema of Anam's: camelCase outside, snake_case accepted, unset fields left out.

    Args:
        unknown_values: "error" refuses values outside a published list, "warn" lets them pass.

    """

    #: Deprecated names, and their successors or (after a "!") what to do instead.
    deprecated: Mapping[str, str] = {}
    #: Names that may stand beside this object, for the hint at a typing error.
    neighbours: Iterable[str] = ()

    def __init__(self, *, unknown_values: str = "error", **kwargs: Any) -> None:
        self.unknown_values = unknown_values
        super().__init__(**kwargs)

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give each field its camelCase name on both sides, and pass the switch on."""
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
        """Return the names of the fields that were given, whether right or wrong."""
        names = original if isinstance(original, Mapping) else ()
        return {self.outer_name(name) for name in names}

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        if camel(name) in self.deprecated:
            return f"No longer supported. {self.deprecated[camel(name)].removeprefix('!')}"
        for field in [f for f in self.load_fields.values() if isinstance(f, NestedObject)]:
            if camel(name) in {inner.data_key for inner in field.schema.load_fields.values()}:
                return f"Unknown field here. It belongs into {field.data_key}."
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
        kept = {**order, **data} if self.is_open else data
        return {name: kept[name] for name in order if name in kept}
