"""Which API key a mint uses: one for all, one that rotates, or one per persona and user."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flask_anam.core.redaction import scrubs_traceback
from flask_anam.errors import AnamAuthError, AnamError, ConfigError

#: A key; or a callable without arguments, or one of persona type and user, that returns it.
KeySource = str | Callable[..., str]


class KeyRing:
    """Finds the API key for a persona type and user. Thread-safe; never prints a key.

    Args:
        source: a key, or a callable that returns one.
        where: the setting or argument it came from, for errors.

    """

    def __init__(self, source: KeySource, where: str) -> None:
        """Check the source.

        Raises:
            ConfigError: it is neither a usable string nor a callable of zero or two arguments.

        """
        self._where = where
        self._source = source
        self._asks = callable(source) and _takes_two(source, where)
        if not callable(source) and not is_key(source):
            raise ConfigError(f"{where} must be a non-empty ASCII string or a callable.")

    @property
    def needs_user(self) -> bool:
        """Whether the key depends on persona type and user."""
        return self._asks

    @scrubs_traceback
    def key_for(self, persona_type: str | None = None, user: object = None) -> str:
        """Return the key.

        Raises:
            AnamAuthError: the callable raised, or returned no key.
            PersonaInvalid: it is a `secret` whose environment variable is not set.

        """
        if isinstance(self._source, str):
            return self._source
        try:
            key = self._source(persona_type, user) if self._asks else self._source()
        except AnamError:
            raise
        except Exception as failure:  # noqa: BLE001 - the host's callable may raise anything
            kind = type(failure).__name__
            raise AnamAuthError(f"The callable in {self._where} raised {kind}.") from None
        if not is_key(key):
            text = f"The callable in {self._where} must return a non-empty ASCII string."
            raise AnamAuthError(text)
        return key


def is_key(value: Any) -> bool:
    """Whether a value can be sent as a Bearer key."""
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
        return False  # a built-in that does not tell is called without arguments
    for arguments in ((), (None, None)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise ConfigError(f"{where}: the callable must take no arguments, or persona type and user.")
