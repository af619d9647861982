"""What a persona is: a config or a callable, who may use it, and what a browser may change.

A persona is static (a config, checked when it is declared) or per user (a callable, checked at
each request).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask_anam.core.config.api_keys import KeyRing, KeySource
from flask_anam.core.schemas.fields import camel, did_you_mean
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.errors import ConfigError

#: A persona config, or a callable from the user to one.
Source = Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]
#: Bounds of an override: True, a list of allowed values, or {"min", "max", "maxLength"}.
Bounds = Any

#: Keys of an entry of ANAM_PERSONAS that are about the persona and not sent to Anam.
PERSONA_KEYS = {
    "label": "label",
    "permission": "permission",
    "overrides": "overrides",
    "fallback": "fallback",
    "apiKey": "api_key",
    "api_key": "api_key",
}
#: Keys of an entry that are sent to Anam beside the persona config.
REQUEST_KEYS = {
    "sessionOptions": "sessionOptions",
    "session_options": "sessionOptions",
    "clientLabel": "clientLabel",
    "client_label": "clientLabel",
    "environment": "environment",
}
_BOUND_NAMES = {"min", "max", "maxLength"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """A declared persona.

    Attributes:
        name: the persona type, what a browser may choose.
        source: the config (with what is sent beside it), or a callable from the user to one.
        permission: a permission needed besides the one for the endpoint, or None.
        label: the name shown to people.
        overrides: camelCase names of persona fields that a browser may set, with their bounds.
        fallback: the persona type used when Anam does not know this one any more, or None.
        keys: finds the API key of this persona's account; None for the one of the app.

    """

    name: str
    source: Source = field(repr=False)
    permission: str | None = None
    label: str = ""
    overrides: Mapping[str, Bounds] = field(default_factory=dict)
    fallback: str | None = None
    keys: KeyRing | None = None

    @property
    def is_static(self) -> bool:
        """Whether the config is the same for every user."""
        return not callable(self.source)

    def allows(self, override: str, value: Any) -> bool:
        """Whether a browser may set this field of the persona to this value."""
        bound = self.overrides.get(override)
        return bound is not None and out_of_bounds(value, bound) is None


def make_persona(
    name: str,
    source: Source,
    *,
    permission: str | None = None,
    label: str | None = None,
    overrides: Iterable[str] | Mapping[str, Bounds] = (),
    fallback: str | None = None,
    api_key: KeySource | None = None,
) -> Persona:
    """Return a persona whose declaration makes sense; its config is checked by the registry.

    Raises:
        ConfigError: name, permission, label, overrides, fallback or key are not what they must be.

    """
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        text = "A persona type must be a string of 1 to 100 characters"
        raise ConfigError(f"{text}, got {name!r:.60}.")
    if not callable(source) and not isinstance(source, Mapping):
        raise ConfigError(
            f"Persona {name!r} must be a persona config (a mapping) or a callable that takes the "
            f"user and returns one, got {type(source).__name__}."
        )
    for what, value in (("permission", permission), ("label", label), ("fallback", fallback)):
        if value is not None and (not isinstance(value, str) or not value):
            raise ConfigError(f"The {what} of persona {name!r} must be a non-empty string.")
    return Persona(
        name=name,
        source=source,
        permission=permission,
        label=label or name.replace("_", " ").replace("-", " ").capitalize(),
        overrides=_overrides(name, overrides),
        fallback=fallback,
        keys=KeyRing(api_key, f"api_key of persona {name!r}") if api_key is not None else None,
    )


def persona_from_entry(name: str, entry: object) -> Persona:
    """Return the persona of an entry of ``ANAM_PERSONAS``: a callable, or a config and our keys."""
    if not isinstance(entry, Mapping):
        return make_persona(name, entry)  # type: ignore[arg-type]  # make_persona() raises
    about = {PERSONA_KEYS[key]: value for key, value in entry.items() if key in PERSONA_KEYS}
    return make_persona(name, {k: v for k, v in entry.items() if k not in PERSONA_KEYS}, **about)


def mint_request_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a mint for a config that may carry what is sent beside it."""
    beside = {REQUEST_KEYS[key]: value for key, value in config.items() if key in REQUEST_KEYS}
    return {
        "personaConfig": {key: value for key, value in config.items() if key not in REQUEST_KEYS},
        **beside,
    }


def _overrides(
    persona: str, overrides: Iterable[str] | Mapping[str, Bounds]
) -> Mapping[str, Bounds]:
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
        # One by one, since a browser may send what cannot be looked up in a set.
        same = any(type(value) is type(one) and value == one for one in bound)
        return None if same else f"Must be one of {allowed} for this persona."
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if "min" in bound and not (number and value >= bound["min"]):
        return f"Must be at least {bound['min']:g} for this persona."
    if "max" in bound and not (number and value <= bound["max"]):
        return f"Must be at most {bound['max']:g} for this persona."
    if "maxLength" in bound and not (isinstance(value, str) and len(value) <= bound["maxLength"]):
        return f"Must have at most {bound['maxLength']:g} characters for this persona."
    return None


class Declarations:
    """Personas declared in code on one extension object, shared by every app it serves."""

    def __init__(self) -> None:
        self._personas: dict[str, Persona] = {}

    def add(self, persona: Persona) -> None:
        """Add a persona; raises ConfigError when the name is taken."""
        if persona.name in self._personas:
            raise ConfigError(f"Persona {persona.name!r} is declared twice. Give one another name.")
        self._personas[persona.name] = persona

    def get(self, name: str) -> Persona | None:
        """Return the persona of that name, or None."""
        return self._personas.get(name)

    def __iter__(self) -> Iterator[Persona]:
        return iter(tuple(self._personas.values()))
