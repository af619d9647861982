"""The persona registry: which personas exist, who may use them, and what Anam is sent.

A persona is static (a config, checked when it is declared) or per user (a callable, checked at
each request).
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import ValidationError

from flask_anam.core.schemas import PersonaConfigSchema, SessionOptionsSchema
from flask_anam.errors import (
    AnamError,
    ConfigError,
    Details,
    InvalidRequest,
    PersonaInvalid,
    UnknownPersona,
)

#: A persona config, or a callable from the user to one.
Source = Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]

#: Keys of an entry of ANAM_PERSONAS that are ours; everything else is the persona config.
OUR_KEYS = ("label", "permission", "overrides", "sessionOptions")


def canonical(value: object) -> bytes:
    """Return the one JSON spelling of a value, for hashing: sorted, compact, ASCII."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


@dataclass(frozen=True, slots=True)
class MintBody:
    """A checked request body for Anam, with its hash; the body holds the prompt."""

    body: Mapping[str, Any] = field(repr=False)
    digest: str

    @classmethod
    def of(cls, config: Mapping[str, Any], options: Mapping[str, Any] | None) -> MintBody:
        """Return the body for a checked persona config and checked session options."""
        body: dict[str, Any] = {"personaConfig": dict(config)}
        if options:
            body["sessionOptions"] = dict(options)
        return cls(MappingProxyType(body), hashlib.sha256(canonical(body)).hexdigest())

    @property
    def holds_secrets(self) -> bool:
        """Whether it carries shorter-lived secrets, so that its token must not be stored."""
        config = self.body["personaConfig"]
        return "environment" in self.body or any(
            _tool_has_secret(t) for t in config.get("tools", ())
        )


def _tool_has_secret(tool: Mapping[str, Any]) -> bool:
    url = tool.get("url")
    return bool(tool.get("headers")) or (isinstance(url, str) and "?" in url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """A declared persona.

    Attributes:
        name: the persona type, what a browser may choose.
        source: the config, or a callable from the user to one.
        permission: a permission needed besides the one for the endpoint, or None.
        label: the name shown to people.
        overrides: camelCase names of persona fields that a browser may set.
        session_options: checked session options, or None.

    """

    name: str
    source: Source = field(repr=False)
    permission: str | None = None
    label: str = ""
    overrides: frozenset[str] = frozenset()
    session_options: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def is_static(self) -> bool:
        """Whether the config is the same for every user."""
        return not callable(self.source)


def declare(
    name: str,
    source: Source,
    *,
    permission: str | None = None,
    label: str | None = None,
    overrides: Iterable[str] = (),
    session_options: Mapping[str, Any] | None = None,
) -> Persona:
    """Return a persona whose declaration makes sense.

    Raises:
        ConfigError: the name, permission, label or overrides are not what they must be; for a
            static persona also when its config breaks a rule (but for the prompt's length, which
            is a setting of each app).

    """
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        raise ConfigError(
            f"A persona type must be a string of 1 to 100 characters, got {name!r:.60}."
        )
    if not callable(source) and not isinstance(source, Mapping):
        raise ConfigError(
            f"Persona {name!r} must be a persona config (a mapping) or a callable that takes the "
            f"user and returns one, got {type(source).__name__}."
        )
    for what, value in (("permission", permission), ("label", label)):
        if value is not None and (not isinstance(value, str) or not value):
            raise ConfigError(f"The {what} of persona {name!r} must be a non-empty string.")
    persona = Persona(
        name=name,
        source=source,
        permission=permission,
        label=label or name.replace("_", " ").replace("-", " ").capitalize(),
        overrides=_override_names(name, overrides),
        session_options=_load(name, SessionOptionsSchema(), session_options, ConfigError)
        if session_options
        else None,
    )
    if not callable(source):
        _load(name, PersonaConfigSchema(system_prompt_max_length=None), source, ConfigError)
    return persona


def from_config(name: str, entry: object) -> Persona:
    """Return the persona of an entry of ``ANAM_PERSONAS``: a callable, or a config and our keys."""
    if not isinstance(entry, Mapping):
        return declare(name, entry)  # type: ignore[arg-type]  # declare() explains what is wrong
    ours = {key: entry[key] for key in OUR_KEYS if key in entry}
    config = {key: value for key, value in entry.items() if key not in ours}
    options = ours.pop("sessionOptions", None)
    return declare(name, config, session_options=options, **ours)


def _override_names(persona: str, overrides: Iterable[str]) -> frozenset[str]:
    known = {f.data_key for f in PersonaConfigSchema().load_fields.values()}
    if not isinstance(overrides, Iterable):
        raise ConfigError(f"The overrides of persona {persona!r} must be a list of field names.")
    names = (overrides,) if isinstance(overrides, str) else tuple(overrides)
    for name in names:
        if not isinstance(name, str) or name not in known or name == "personaId":
            raise ConfigError(
                f"Persona {persona!r} allows the override {name!r}, which is not a field that a "
                "browser could set. Use camelCase names such as languageCode."
            )
    return frozenset(names)


def _load(
    name: str, schema: Any, data: object, error: type[AnamError], where: str = "Persona"
) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as no:
        raise error(f"{where} {name!r} is not valid: {sentences(no.messages)}") from None
    return loaded


def sentences(messages: object, path: str = "") -> str:
    """Return marshmallow's messages as one line: ``path: message; path: message``."""
    if isinstance(messages, Mapping):
        parts = [
            sentences(value, path if key == "_schema" else f"{path}.{key}" if path else str(key))
            for key, value in messages.items()
        ]
        return "; ".join(parts)
    texts = messages if isinstance(messages, list) else [messages]
    return "; ".join(f"{path}: {text}" if path else str(text) for text in texts)


def _kind_and_place(failure: BaseException) -> str:
    place = traceback.extract_tb(failure.__traceback__)[-1]
    return f"{type(failure).__name__} at {Path(place.filename).name}, line {place.lineno}"


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


class PersonaRegistry:
    """The personas of one app: those of its configuration and those declared in code.

    Thread-safe: the configuration never changes, declarations are only ever added.
    """

    def __init__(
        self,
        configured: Mapping[str, object],
        declared: Declarations,
        *,
        default: str | None = None,
        system_prompt_max_length: int = 2000,
    ) -> None:
        """Check everything known so far.

        Raises:
            ConfigError: a persona is invalid or declared twice, or the default does not exist.

        """
        self._configured = {name: from_config(name, entry) for name, entry in configured.items()}
        self._declared = declared
        self._default = default
        self._schema = PersonaConfigSchema(system_prompt_max_length=system_prompt_max_length)
        self._static: dict[str, MintBody] = {}
        for persona in self:
            if persona.name in self._configured and declared.get(persona.name):
                raise ConfigError(
                    f"Persona {persona.name!r} is both in ANAM_PERSONAS and declared in code. "
                    "Remove one of the two."
                )
            if persona.is_static:
                self._static[persona.name] = self._static_body(persona, ConfigError)
        if default is not None and self.find(default) is None:
            names = ", ".join(sorted(p.name for p in self)) or "none"
            raise ConfigError(
                f"ANAM_DEFAULT_PERSONA names {default!r}, which is not a persona (known: {names}). "
                "Correct the name, or declare the persona before init_app()."
            )

    def __iter__(self) -> Iterator[Persona]:
        yield from self._configured.values()
        yield from self._declared

    def find(self, name: str) -> Persona | None:
        """Return the persona of that name, or None."""
        return self._configured.get(name) or self._declared.get(name)

    @property
    def default(self) -> str | None:
        """The persona type used when none is named: the configured one, or the only one."""
        if self._default is not None:
            return self._default
        names = [persona.name for persona in self]
        return names[0] if len(names) == 1 else None

    def choose(self, name: str | None) -> Persona:
        """Return the persona of that name, or the default for None.

        Raises:
            InvalidRequest: no name was given and there is no default.
            UnknownPersona: there is no such persona.

        """
        chosen = self.default if name is None else name
        if chosen is None:
            raise InvalidRequest(details={"personaType": ["Missing, and there is no default."]})
        persona = self.find(chosen)
        if persona is None:
            raise UnknownPersona
        return persona

    def body_for(self, persona: Persona, user: object, overrides: Mapping[str, Any]) -> MintBody:
        """Return what Anam is sent for this persona, user and overrides.

        Raises:
            InvalidRequest: an override is not allowed or not valid.
            PersonaInvalid: the config is wrong, or its callable raised.

        """
        if persona.is_static and not overrides:
            body = self._static.get(persona.name)
            if body is None:
                body = self._static[persona.name] = self._static_body(persona, PersonaInvalid)
            return body
        config = self._config(persona, user)
        if overrides:
            changes = self._checked_overrides(persona, overrides)
            config = self._overridden({**config, **changes})
        return MintBody.of(config, persona.session_options)

    def _static_body(self, persona: Persona, error: type[AnamError]) -> MintBody:
        config = _load(persona.name, self._schema, persona.source, error)
        return MintBody.of(config, persona.session_options)

    def _config(self, persona: Persona, user: object) -> dict[str, Any]:
        if callable(persona.source):
            try:
                config = persona.source(user)
            except AnamError:
                raise
            except Exception as failure:  # noqa: BLE001 - a persona callable may raise anything
                # Its text and traceback may quote a prompt: only type and place are told.
                raise PersonaInvalid(
                    f"Persona {persona.name!r}: its callable raised {_kind_and_place(failure)}."
                ) from None
            if not isinstance(config, Mapping):
                kind = type(config).__name__
                raise PersonaInvalid(
                    f"Persona {persona.name!r}: its callable must return a mapping, got {kind}."
                )
        else:
            config = persona.source
        return _load(persona.name, self._schema, config, PersonaInvalid)

    def _overridden(self, config: Mapping[str, Any]) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = self._schema.load(config)
        except ValidationError as no:
            raise InvalidRequest(details={"overrides": no.messages}) from None
        return loaded

    def _checked_overrides(self, persona: Persona, overrides: Mapping[str, Any]) -> dict[str, Any]:
        refused = [name for name in overrides if name not in persona.overrides]
        if refused:
            allowed = ", ".join(sorted(persona.overrides)) or "none"
            details: Details = {
                name: [f"Not a field that may be set for this persona (allowed: {allowed})."]
                for name in refused
            }
            raise InvalidRequest(details={"overrides": details})
        schema = PersonaConfigSchema(
            partial=True, system_prompt_max_length=self._schema.system_prompt_max_length
        )
        try:
            loaded: dict[str, Any] = schema.load(overrides)
        except ValidationError as no:
            raise InvalidRequest(details={"overrides": no.messages}) from None
        return loaded
