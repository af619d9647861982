"""Overrides: which persona fields a browser may set, and the bounds of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask_anam.core.schemas.fields import camel, did_you_mean
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.errors import ConfigError

#: Bounds of an override: True, a list of allowed values, or {"min", "max", "maxLength"}.
Bounds = Any
_BOUND_NAMES = {"min", "max", "maxLength"}


def checked_overrides(
    persona: str, overrides: Iterable[str] | Mapping[str, Bounds]
) -> Mapping[str, Bounds]:
    """Return the bounds by field name; raises ConfigError for an unknown field or wrong bounds."""
    if isinstance(overrides, str):
        overrides = (overrides,)
    if not isinstance(overrides, Iterable):
        raise ConfigError(f"The overrides of persona {persona!r} must be a list of field names.")
    given = overrides if isinstance(overrides, Mapping) else {str(n): True for n in overrides}
    bounds = dict(given)
    fields = PersonaConfigSchema().load_fields.values()
    known = {str(field.data_key) for field in fields} - {"personaId", "type"}
    for name, bound in bounds.items():
        if name not in known:
            hint = did_you_mean(camel(str(name)), known)
            raise ConfigError(
                f"Persona {persona!r} allows the override {name!r}, which is not a field that a "
                f"browser could set. Use camelCase names such as languageCode.{hint}"
            )
        if not _is_bound(bound):
            raise ConfigError(
                f"Persona {persona!r}: the bounds of the override {name!r} must be True, a list "
                'of allowed values, or a mapping with "min", "max" or "maxLength".'
            )
    return bounds


def _is_bound(bound: Bounds) -> bool:
    if isinstance(bound, Mapping):
        numbers = all(isinstance(v, int | float) for v in bound.values())
        return bool(bound) and set(bound) <= _BOUND_NAMES and numbers
    return bound is True or (isinstance(bound, list | tuple | set | frozenset) and bool(bound))


def out_of_bounds(value: Any, bound: Bounds) -> str | None:
    """Return what is wrong with the value of an override, or None."""
    if bound is True:
        return None
    if not isinstance(bound, Mapping):
        allowed = ", ".join(sorted(map(str, bound)))
        # Compared with each, since a browser may send a value that is not hashable.
        same = any(type(value) is type(item) and value == item for item in bound)
        return None if same else f"Must be one of {allowed} for this persona."
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if "min" in bound and not (number and value >= bound["min"]):
        return f"Must be at least {bound['min']:g} for this persona."
    if "max" in bound and not (number and value <= bound["max"]):
        return f"Must be at most {bound['max']:g} for this persona."
    if "maxLength" in bound and not (isinstance(value, str) and len(value) <= bound["maxLength"]):
        return f"Must have at most {bound['maxLength']:g} characters for this persona."
    return None
