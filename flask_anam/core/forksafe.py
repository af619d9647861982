"""Fork safety: resets locks and per-process state in a forked child.

A lock that a thread of the parent holds at the time of the fork stays locked in the child for ever.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkSafe(Protocol):
    """An object with state that a forked child must not use as its parent left it."""

    def reinit_after_fork(self) -> None:
        """Replace locks, and drop the work that only threads of the parent could finish."""


_registered: weakref.WeakSet[ForkSafe] = weakref.WeakSet()


def reset_after_fork(thing: ForkSafe) -> None:
    """Call `thing.reinit_after_fork()` in each child forked from now on, while `thing` lives."""
    _registered.add(thing)


def _reinit_all() -> None:
    for thing in list(_registered):
        thing.reinit_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_reinit_all)
