"""Authorisation decorator for views: `permission_required`, with JSON answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from flask import current_app, request

from flask_anam.auth import current_caller
from flask_anam.state import get_state

P = ParamSpec("P")
R = TypeVar("R")


def permission_required(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a view so that it runs only for a logged-in user with all these permissions.

    Put it below the route decorator. The answer to others is JSON: 401 when nobody is logged in,
    403 when a permission is missing. OPTIONS requests do not reach the view.

    Args:
        names: one or more permissions (str); all are needed.

    Raises:
        TypeError: at import time, for ``@permission_required`` without parentheses or names.
        ConfigError: at the first request, when `FlaskAnam` is not set up on the app.

    Example:
        >>> @app.get("/report")
        ... @permission_required("reports:read")
        ... def report():
        ...     return "42 tokens"
        >>> app.test_client().get("/report").status_code
        401

    """
    if not names or not all(isinstance(name, str) and name for name in names):
        raise TypeError(
            "permission_required() needs at least one permission name, "
            'e.g. @permission_required("reports:read")'
        )

    def wrap(view: Callable[P, R]) -> Callable[P, R]:
        if not callable(view):
            raise TypeError("permission_required() decorates a view function.")

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if request.method == "OPTIONS":
                return cast("R", current_app.make_default_options_response())
            current_caller(get_state().loaders).must_have(*names)
            return cast("R", current_app.ensure_sync(view)(*args, **kwargs))

        return guarded

    return wrap
