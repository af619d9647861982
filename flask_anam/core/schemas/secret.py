"""Deferred values: secrets and other callables in a persona config, called at each mint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask_anam.errors import PersonaInvalid


class Secret:
    """Reference to an environment variable, read when a token is minted; see `secret`."""

    def __init__(self, env_name: str) -> None:
        if not isinstance(env_name, str) or not env_name:
            raise TypeError('secret() takes the name of an environment variable, e.g. secret("X")')
        self.env_name = env_name

    def __call__(self) -> str:
        """Return the value; raises PersonaInvalid when the variable is not set."""
        value = os.environ.get(self.env_name)
        if not value:
            raise PersonaInvalid(
                f"The environment variable {self.env_name} is not set, but a persona needs it."
            )
        return value

    def __repr__(self) -> str:
        return f"secret({self.env_name!r})"


def secret(env_name: str) -> Any:
    """Return a placeholder for a secret inside a persona config, such as a webhook's header.

    The environment variable is read at each mint; where it is not set then, that raises
    `PersonaInvalid`. A token of a config with secrets is never stored.

    Raises:
        TypeError: `env_name` is not a non-empty str.

    Example:
        >>> headers = {"Authorization": secret("ORDERS_API_KEY")}
        >>> headers
        {'Authorization': secret('ORDERS_API_KEY')}

    """
    return Secret(env_name)


def is_deferred(value: object) -> bool:
    """Whether a value is a callable (a `Secret` is one), known only when a token is minted."""
    return callable(value)


def has_deferred_values(value: object) -> bool:
    """Whether a config holds a deferred value, at any depth."""
    if isinstance(value, Mapping):
        return any(map(has_deferred_values, value.values()))
    if isinstance(value, list | tuple):
        return any(map(has_deferred_values, value))
    return is_deferred(value)


def resolve_deferred(value: Any) -> Any:
    """Return a copy of a config in which each deferred value is replaced by its result."""
    if isinstance(value, Mapping):
        return {key: resolve_deferred(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [resolve_deferred(part) for part in value]
    return value() if is_deferred(value) else value
