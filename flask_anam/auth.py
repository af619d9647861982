"""Authentication and authorisation: the bridge to Flask-Login and to the host's own loaders.

The only module that imports flask_login.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, current_app, request
from flask_login import current_user

from flask_anam.core.schemas.fields import is_text
from flask_anam.errors import ConfigError, PermissionDenied, Unauthenticated

#: The permission to talk to personas.
TALK = "anam:talk"
#: The permission to read metrics and the dashboard.
METRICS = "anam:metrics"

#: The attribute of a request that holds who is calling.
_CALLER = "_flask_anam_caller"

IdentityLoader = Callable[[], Any]
PermissionLoader = Callable[[Any], Iterable[str]]


@dataclass(slots=True)
class Loaders:
    """Identity and permission loaders of the host, declared on one extension object."""

    identity: IdentityLoader | None = None
    permissions: PermissionLoader | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Authenticated caller: the host's user object, its id and its permissions. Immutable."""

    user: Any
    user_id: str
    permissions: frozenset[str]

    def must_have(self, *names: str) -> None:
        """Raise PermissionDenied unless the caller has all of these permissions."""
        needed = frozenset(names)
        if not needed <= self.permissions:
            raise PermissionDenied(needed=needed - self.permissions)


def current_caller(loaders: Loaders) -> Caller:
    """Return who is calling, loaded once per request.

    Raises:
        Unauthenticated: nobody is logged in.
        ConfigError: see `load_caller`.

    """
    # Kept on the request: `g` outlives it where an app context was pushed for good.
    caller: Caller | None = getattr(request, _CALLER, None)
    if caller is None:
        caller = load_caller(loaders)
        setattr(request, _CALLER, caller)
    return caller


def load_caller(loaders: Loaders) -> Caller:
    """Return the caller of the current request.

    Raises:
        Unauthenticated: nobody is logged in.
        ConfigError: Flask-Login is not set up, or a loader returns a value of the wrong type.

    """
    user = loaders.identity() if loaders.identity else _login_user()
    if user is None or getattr(user, "is_authenticated", True) is not True:
        raise Unauthenticated
    return Caller(user, user_id_of(user), _permissions(loaders, user))


def user_id_of(user: Any) -> str:
    """Return the id of a user object: ``get_id()``, else ``id``, as a non-empty string."""
    getter = getattr(user, "get_id", None)
    value = getter() if callable(getter) else getattr(user, "id", None)
    if isinstance(value, int) and not isinstance(value, bool) and not callable(getter):
        value = str(value)
    return checked_user_id(value)


def checked_user_id(value: object) -> str:
    """Return a user id; raises ConfigError unless it is a string of 1 to 255 characters, no NUL."""
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise ConfigError(
            "A user id must be a string of 1 to 255 characters, got "
            f"{type(value).__name__}. Let get_id() return str(self.id)."
        )
    if "\0" in value or not (value.isascii() or is_text(value)):
        raise ConfigError(
            "A user id holds a character that no database keeps: a NUL, or half of a surrogate "
            "pair. Do not let people choose such names, or let get_id() return a number."
        )
    return str(value)


def find_user(user_id: str) -> Any:
    """Return the user object that Flask-Login's user loader returns for an id, or None."""
    manager = getattr(current_app, "login_manager", None)
    loader = getattr(manager, "_user_callback", None)
    return loader(user_id) if loader else None


def host_login_page() -> Response | None:
    """Return Flask-Login's answer to anonymous users; None where the host has no page for them.

    For pages only: our API never redirects.
    """
    manager = getattr(current_app, "login_manager", None)
    if manager is None:
        return None
    views = (manager.login_view, (manager.blueprint_login_views or {}).get(request.blueprint))
    if not any(views) and manager.unauthorized_callback is None:
        return None
    return current_app.make_response(manager.unauthorized())


def _login_user() -> Any:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    manager = getattr(app, "login_manager", None)
    if manager is None:
        raise ConfigError(
            "Flask-Anam needs to know who is logged in, and Flask-Login is not set up on this "
            "app. Call LoginManager(app), or register your own @anam.identity_loader."
        )
    if manager._user_callback is None and manager._request_callback is None:  # noqa: SLF001
        raise ConfigError(
            "Flask-Login has no user loader. Register one with @login_manager.user_loader."
        )
    return current_user._get_current_object()  # noqa: SLF001 - the proxy must not outlive the request


def _permissions(loaders: Loaders, user: Any) -> frozenset[str]:
    if loaders.permissions:
        return _names(loaders.permissions(user), "The permission loader must return")
    given = getattr(user, "permissions", None)
    held = _names(given, "user.permissions must be") if given else frozenset()
    return held | {TALK} if getattr(user, "can_access_personas", False) is True else held


def _names(value: object, what: str) -> frozenset[str]:
    # A mapping would grant its keys, those whose value is False as well.
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ConfigError(f"{what} an iterable of strings, got {type(value).__name__}.")
    names = frozenset(value)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{what} an iterable of strings.")
    return names
