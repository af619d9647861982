"""API keys: a fixed one, one that rotates, or one per persona and user."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flask_anam.core.redaction import scrubs_traceback
from flask_anam.errors import AnamAuthError, AnamError, ConfigError

#: A key, or a callable that returns one; it takes no arguments, or persona type and user.
KeySource = str | Callable[..., str]


class KeyRing:
    """Resolver of the API key for a persona type and user. Thread-safe; never prints a key.

    Args:
        source: a key, or a callable that returns one.
        where: the setting or argument that it came from, for error messages.

    Raises:
        ConfigError: the source is neither a valid key nor a callable of zero or two arguments.

    """

    def __init__(self, source: KeySource, where: str) -> None:
        self._where = where
        self._source = source
        #: The key, where it is the same for every call; None for a callable.
        self.constant = source if isinstance(source, str) else None
        self._takes_user = callable(source) and _takes_two(source, where)
        if not callable(source) and not is_key(source):
            raise ConfigError(f"{where} must be a non-empty ASCII string or a callable.")

    @property
    def needs_user(self) -> bool:
        """Whether the key depends on persona type and user."""
        return self._takes_user

    @scrubs_traceback
    def key_for(self, persona_type: str | None = None, user: object = None) -> str:
        """Return the key.

        Raises:
            AnamAuthError: the callable raised, or returned no key.
            PersonaInvalid: the source is a `secret` whose environment variable is not set.

        """
        if isinstance(self._source, str):
            return self._source
        try:
            key = self._source(persona_type, user) if self._takes_user else self._source()
        except AnamError:
            raise
        except Exception as exc:  # noqa: BLE001 - the host's callable may raise anything
            kind = type(exc).__name__
            raise AnamAuthError(f"The callable in {self._where} raised {kind}.") from None
        if not is_key(key):
            text = f"The callable in {self._where} must return a non-empty ASCII string."
            raise AnamAuthError(text)
        return key


def is_key(value: Any) -> bool:
    """Whether a value can be sent as a Bearer token: printable ASCII without spaces around it."""
    return (
        isinstance(value, str)
        and bool(value)
        and value == value.strip()
        and value.isascii()
        and value.isprintable()
    )


def _takes_two(source: Callable[..., Any], where: str) -> bool:
    try:
        signature = inspect.signature(source)
    except (TypeError, ValueError):
        return False  # some built-ins have no signature; they are called without arguments
    for arguments in ((), (None, None)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise ConfigError(f"{where}: the callable must take no arguments, or persona type and user.")
