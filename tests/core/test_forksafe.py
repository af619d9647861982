"""After a fork: what is registered is reset in the child, and kept alive by nobody."""

from __future__ import annotations

import gc

import pytest
from core.forking import child_says

from flask_anam.core import forksafe as fork

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


class Thing:
    """Something that counts how often it was reset."""

    def __init__(self) -> None:
        self.resets = 0
        fork.reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Count."""
        self.resets += 1


def test_a_thing_is_reset_in_the_child_only() -> None:
    """Once per fork, before the child's own code runs."""
    thing = Thing()
    assert child_says(lambda: thing.resets == 1)
    assert thing.resets == 0


def test_a_child_of_a_child_resets_again() -> None:
    """Servers fork more than once."""
    thing = Thing()
    assert child_says(lambda: child_says(lambda: thing.resets == 2) and thing.resets == 1)


def test_nothing_is_kept_alive() -> None:
    """A thing that is gone is not reset, and not held in memory."""
    thing = Thing()
    assert thing in fork._registered
    known = len(fork._registered)
    del thing
    gc.collect()
    assert len(fork._registered) < known
