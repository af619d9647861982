"""Persona: a config or a callable, who may use it, and which fields a browser may change.

A persona is static (a config, checked when it is declared) or per user (a callable, checked at
each request).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask_anam.core.config.api_keys import KeyRing, KeySource
from flask_anam.core.personas.overrides import Bounds, checked_overrides, out_of_bounds
from flask_anam.errors import ConfigError

#: A persona config, or a callable from the user to one.
Source = Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]
#: Keys of an entry of ANAM_PERSONAS that Anam does not receive -> arguments of `make_persona`.
PERSONA_KEYS = {
    "label": "label",
    "permission": "permission",
    "overrides": "overrides",
    "fallback": "fallback",
    "apiKey": "api_key",
    "api_key": "api_key",
}
#: Keys of an entry that Anam receives beside the persona config -> names in the mint request.
REQUEST_KEYS = {
    "sessionOptions": "sessionOptions",
    "session_options": "sessionOptions",
    "clientLabel": "clientLabel",
    "client_label": "clientLabel",
    "environment": "environment",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """Declared persona. Immutable.

    Attributes:
        name: the persona type, which a browser names to choose it.
        source: the config (with what is sent beside it), or a callable from the user to one.
        permission: a permission needed besides the one for the endpoint, or None.
        label: the name shown to people.
        overrides: camelCase names of persona fields that a browser may set, with their bounds.
        fallback: the persona type used when Anam does not know this one any more, or None.
        keys: resolver of the API key of this persona's account; None for the one of the app.

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
    """Return a persona with a checked declaration; the registry checks its config.

    Raises:
        ConfigError: name, source, permission, label, overrides, fallback or key is invalid.

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
        overrides=checked_overrides(name, overrides),
        fallback=fallback,
        keys=KeyRing(api_key, f"api_key of persona {name!r}") if api_key is not None else None,
    )


def persona_from_entry(name: str, entry: object) -> Persona:
    """Return the persona of an entry of ``ANAM_PERSONAS``: a callable, or a config and our keys."""
    if not isinstance(entry, Mapping):
        return make_persona(name, entry)  # type: ignore[arg-type]  # make_persona() raises
    options = {PERSONA_KEYS[key]: value for key, value in entry.items() if key in PERSONA_KEYS}
    return make_persona(name, {k: v for k, v in entry.items() if k not in PERSONA_KEYS}, **options)


def mint_request_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mint request of a config, with the keys of `REQUEST_KEYS` beside it."""
    beside = {REQUEST_KEYS[key]: value for key, value in config.items() if key in REQUEST_KEYS}
    return {
        "personaConfig": {key: value for key, value in config.items() if key not in REQUEST_KEYS},
        **beside,
    }


class Declarations:
    """Personas declared in code on one extension object, shared by every app that it serves.

    Thread-safe: personas are only ever added, and iteration uses a copy.
    """

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
