"""What a forked child must make anew: locks, which a thread of the parent may hold for ever."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Something that must not be used in a child as its parent left it."""

    def renew(self) -> None:
        """Replace locks, and forget what only the parent's threads could finish."""


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Have a thing renewed in every process that is forked from now on, as long as it lives."""
    _renewables.add(thing)


def _renew_all() -> None:
    for thing in list(_renewables):
        thing.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_all)
