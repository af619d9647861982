"""Redaction: keeps secrets out of tracebacks, whose frames error trackers store with their locals.

Functions that handle an API key, a session token or a prompt raise errors without the frames they
came through, and secret bytes do not show in a `repr`.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from flask_anam.errors import AnamError

log = logging.getLogger("flask_anam")
P = ParamSpec("P")
T = TypeVar("T")


class SecretBytes(bytes):
    """Secret bytes: `repr()` and `str()` show only their length."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__


def scrubs_traceback(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that its errors carry no traceback frames and no context.

    An `AnamError` explains itself. The type and the place of any other exception, which is a bug
    of this package, are logged before they are lost.
    """

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        bare: Exception
        try:
            return call(*args, **kwargs)
        except AnamError as error:
            bare = error.again()
        except Exception as failure:  # noqa: BLE001 - every exception has frames
            place = traceback.extract_tb(failure.__traceback__)[-1]
            kind, file = type(failure).__name__, Path(place.filename).name
            log.error("%s at %s, line %s.", kind, file, place.lineno)
            bare = failure.with_traceback(None)
            bare.__context__ = bare.__cause__ = None
        del args, kwargs
        raise bare from None

    return guarded
