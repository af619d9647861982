"""Keeps secrets out of tracebacks: error trackers collect the locals of every frame.

Where code handles a key, a session token or a prompt, an error leaves without the frames it came
through, and bytes that are secret show nothing of themselves.
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


class Unseen(bytes):
    """Bytes that are secret; their repr shows only how many there are."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__


def without_traces(call: Callable[P, T]) -> Callable[P, T]:
    """Let errors leave without the frames they came through, and without what they came from.

    An `AnamError` tells what is wrong by itself. Of any other exception, which would be a mistake
    in this package, type and place go to the log before they are lost.
    """

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        bare: Exception
        try:
            return call(*args, **kwargs)
        except AnamError as error:
            bare = error.again()
        except Exception as failure:  # noqa: BLE001 - all of them have frames
            place = traceback.extract_tb(failure.__traceback__)[-1]
            kind, file = type(failure).__name__, Path(place.filename).name
            log.error("%s at %s, line %s.", kind, file, place.lineno)
            bare = failure.with_traceback(None)
            bare.__context__ = bare.__cause__ = None
        del args, kwargs
        raise bare from None

    return guarded
