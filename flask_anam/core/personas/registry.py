"""Persona registry of one app: lookup, defaults, fallbacks, and the checked body of a mint."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError

from flask_anam.core.personas.mint_body import MintBody
from flask_anam.core.personas.overrides import out_of_bounds
from flask_anam.core.personas.persona import (
    PERSONA_KEYS,
    REQUEST_KEYS,
    Declarations,
    Persona,
    mint_request_of,
    persona_from_entry,
)
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.schemas.base import MAX_ERRORS, limit_errors
from flask_anam.core.schemas.fields import (
    did_you_mean,
    path_to_unwritable,
    persona_in_warnings,
)
from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.core.schemas.secret import has_deferred_values, resolve_deferred
from flask_anam.errors import (
    AnamError,
    ConfigError,
    InvalidRequest,
    PersonaInvalid,
    UnknownPersona,
)


def _entry_schema(**rules: Any) -> PersonaConfigSchema:
    """Return the schema of an entry; its suggestions include the keys beside the config."""
    schema = PersonaConfigSchema(**rules)
    schema.neighbours = [*PERSONA_KEYS, *REQUEST_KEYS]
    return schema


class _SchemaSet:
    """Schemas for the settings of one app. Thread-safe."""

    def __init__(self, prompt_limit: int | None, unknown_values: str) -> None:
        rules: dict[str, Any] = {
            "system_prompt_max_length": prompt_limit,
            "unknown_values": unknown_values,
        }
        self._plain = MintRequestSchema(_entry_schema(**rules))
        self._with_environment = MintRequestSchema(_entry_schema(needs_llm=False, **rules))
        self.overrides = PersonaConfigSchema(partial=True, **rules)

    def schema_for(self, request: Mapping[str, Any]) -> Schema:
        return self._with_environment if request.get("environment") else self._plain

    def load(
        self, persona: Persona, config: Mapping[str, Any], error: type[AnamError]
    ) -> dict[str, Any]:
        """Return the checked body of a mint; raises `error` with all messages."""
        request = mint_request_of(config)
        try:
            with persona_in_warnings(persona.name):
                body = _loaded(self.schema_for(request), request)
        except ValidationError as exc:
            lines = error_lines(exc.messages)
        else:
            place = path_to_unwritable(body, deferred=error is ConfigError)
            if place is None:
                return body
            lines = [f"{place}: Cannot be written as JSON."]
        lines = [line.removeprefix("personaConfig.") for line in lines]
        # A start-up error is read in a terminal, any other one is a single line of a log.
        several = error is ConfigError and len(lines) > 1
        listed = "".join(f"\n  {line}" for line in lines) if several else " " + "; ".join(lines)
        raise error(f"Persona {persona.name!r} is not valid:{listed}")


class PersonaRegistry:
    """Registry of the personas of one app: from its configuration and declared in code.

    Thread-safe: the configuration never changes, declarations are only ever added.

    Args:
        configured: entries of ``ANAM_PERSONAS`` and of files, by persona type.
        declared: the personas declared in code; those added later are checked when used.
        default: the persona type used when a request names none, or None.
        system_prompt_max_length: characters.
        unknown_values: "error" or "warn", as ``ANAM_UNKNOWN_VALUES``.

    Raises:
        ConfigError: a persona is invalid or declared twice, or a default or fallback does not
            exist.

    """

    def __init__(
        self,
        configured: Mapping[str, object],
        declared: Declarations,
        *,
        default: str | None = None,
        system_prompt_max_length: int = 2000,
        unknown_values: str = "error",
    ) -> None:
        self._configured = {n: persona_from_entry(n, entry) for n, entry in configured.items()}
        self._declared = declared
        self._default = default
        self._schemas = _SchemaSet(system_prompt_max_length, unknown_values)
        self._static: dict[str, MintBody] = {}
        for persona in self:
            self._check(persona)
        if default is not None and self.find(default) is None:
            hint = did_you_mean(default, [persona.name for persona in self])
            raise ConfigError(
                f"ANAM_DEFAULT_PERSONA names {default!r}, which is not a persona (known: "
                f"{self._names()}).{hint} Correct it, or declare the persona before init_app()."
            )

    def __iter__(self) -> Iterator[Persona]:
        yield from self._configured.values()
        yield from self._declared

    def __repr__(self) -> str:
        return f"<PersonaRegistry: {self._names()}>"

    def find(self, name: str) -> Persona | None:
        """Return the persona of that name, or None."""
        return self._configured.get(name) or self._declared.get(name)

    @property
    def default(self) -> str | None:
        """The persona type used when none is named: the configured one, or the only one."""
        if self._default is not None:
            return self._default
        first_two = [persona.name for persona in islice(self, 2)]
        return first_two[0] if len(first_two) == 1 else None

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

    def fallback_of(self, persona: Persona) -> Persona | None:
        """Return the persona to use while Anam does not know this one, or None.

        Raises:
            PersonaInvalid: the fallback needs a permission that this persona does not need. For
                personas known at start-up that is a ConfigError there.

        """
        fallback = self.find(persona.fallback) if persona.fallback else None
        if fallback is not None and _needs_more(fallback, persona):
            raise PersonaInvalid(_needs_more_text(persona, fallback))
        return fallback

    def body_for(self, persona: Persona, user: object, overrides: Mapping[str, Any]) -> MintBody:
        """Return the checked body of a mint for this persona, user and overrides.

        Raises:
            InvalidRequest: an override is not allowed or not valid.
            PersonaInvalid: the config is invalid, or its callable raised.

        """
        static = self._static.get(persona.name) if not overrides else None
        return static or self._made_body(persona, user, overrides)

    @scrubs_traceback
    def _made_body(self, persona: Persona, user: object, overrides: Mapping[str, Any]) -> MintBody:
        config = self._config(persona, user)
        deferred = _call_host(persona, has_deferred_values, config)
        if deferred:
            config = _call_host(persona, resolve_deferred, config)
        body = self._schemas.load(persona, config, PersonaInvalid)
        if overrides:
            body = self._overridden(persona, body, overrides)
        mint_body = MintBody.of(body, deferred=deferred)
        if persona.is_static and not overrides and not deferred:
            self._static[persona.name] = mint_body
        return mint_body

    def _names(self) -> str:
        return ", ".join(sorted(persona.name for persona in self)) or "none"

    def _check(self, persona: Persona) -> None:
        """Check a persona that is known at start-up; raises ConfigError when it is invalid."""
        if persona.name in self._configured and self._declared.get(persona.name):
            raise ConfigError(
                f"Persona {persona.name!r} is both in the configuration and declared in code. "
                "Remove one of the two."
            )
        if persona.fallback is not None:
            self._check_fallback(persona, persona.fallback)
        if isinstance(persona.source, Mapping):
            body = self._schemas.load(persona, persona.source, ConfigError)
            if not has_deferred_values(body):
                self._static[persona.name] = MintBody.of(body)

    def _check_fallback(self, persona: Persona, name: str) -> None:
        fallback, subject = self.find(name), f"Persona {persona.name!r} falls back to"
        if fallback is None:
            hint = did_you_mean(name, [persona.name for persona in self])
            raise ConfigError(
                f"{subject} {name!r}, which is not a persona (known: {self._names()}).{hint}"
            )
        if name == persona.name:
            raise ConfigError(f"{subject} itself. Name another persona, or none.")
        if _needs_more(fallback, persona):
            raise ConfigError(_needs_more_text(persona, fallback))

    def _config(self, persona: Persona, user: object) -> Mapping[str, Any]:
        if not callable(persona.source):
            return persona.source
        config = _call_host(persona, persona.source, user)
        if not isinstance(config, Mapping):
            kind = type(config).__name__
            raise PersonaInvalid(
                f"Persona {persona.name!r}: its callable must return a persona config (a mapping), "
                f"got {kind}."
            )
        return config

    def _overridden(
        self, persona: Persona, body: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        errors: dict[str, Any] = {}
        allowed = ", ".join(sorted(persona.overrides)) or "none"
        for name, value in overrides.items():
            if len(errors) >= MAX_ERRORS:
                break
            if name not in persona.overrides:
                text = f"Not a field that may be set for this persona (allowed: {allowed})."
                errors[name] = [text]
            elif problem := out_of_bounds(value, persona.overrides[name]):
                errors[name] = [problem]
        if errors:
            raise InvalidRequest(details={"overrides": errors})
        try:
            changes = _loaded(self._schemas.overrides, overrides)
            merged = {**body, "personaConfig": {**body["personaConfig"], **changes}}
            return _loaded(self._schemas.schema_for(merged), merged)
        except ValidationError as exc:
            messages = exc.messages_dict.get("personaConfig", exc.messages_dict)
            raise InvalidRequest(details={"overrides": limit_errors(messages)}) from None


def _needs_more(fallback: Persona, persona: Persona) -> bool:
    return fallback.permission not in {None, persona.permission}


def _needs_more_text(persona: Persona, fallback: Persona) -> str:
    return (
        f"Persona {persona.name!r} falls back to {fallback.name!r}, which needs the permission "
        f"{fallback.permission!r}: users without it would get it. Use a fallback that needs none "
        "or the same."
    )


def check_static(persona: Persona) -> None:
    """Check a static persona where it is declared, except for what depends on an app's settings.

    Raises:
        ConfigError: its config breaks a rule.

    """
    if isinstance(persona.source, Mapping):
        with persona_in_warnings(None):  # it warns when an app uses it
            _SchemaSet(None, "ignore").load(persona, persona.source, ConfigError)


def _loaded(schema: Schema, data: Mapping[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = schema.load(data)
    return loaded


def _call_host(persona: Persona, function: Any, argument: object) -> Any:
    """Call user code.

    Raises:
        PersonaInvalid: the code raised an exception other than AnamError; the text has its type
            and location only, since its message may hold secrets.

    """
    try:
        return function(argument)
    except AnamError:
        raise
    except Exception as exc:  # noqa: BLE001 - a persona callable may raise anything
        place = traceback.extract_tb(exc.__traceback__)[-1]
        raise PersonaInvalid(
            f"Persona {persona.name!r}: its callable raised {type(exc).__name__} at "
            f"{Path(place.filename).name}, line {place.lineno}."
        ) from None


def error_lines(messages: object, path: str = "") -> list[str]:
    """Return marshmallow's messages as lines: ``path: message``."""
    if isinstance(messages, Mapping):
        here = {key: path if key == "_schema" else f"{path}.{key}".strip(".") for key in messages}
        return [line for key in messages for line in error_lines(messages[key], here[key])]
    texts = messages if isinstance(messages, list) else [messages]
    return [f"{path}: {text}" if path else str(text) for text in texts]
