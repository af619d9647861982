"""Whose turn it is to mint: one process does, the others wait for its token or its error."""

from __future__ import annotations

import json
import secrets

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.minting.error_codec import from_facts, to_facts
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy
from flask_anam.core.tokens.store import TokenStore

#: Seconds that a process waits for another one's mint at most; then it mints itself.
WAIT_FOR_OTHERS = 3.0
#: Seconds between two looks at what the other process does: at first, and at most.
FIRST_LOOK, LAST_LOOK = 0.02, 0.25
#: Seconds for which the error of a mint is told to processes that waited for it.
TELL_FOR = 1.0
#: Seconds between two attempts to replace a token that is still good.
STALE_RETRY = 30.0


class MintLock:
    """One caller's wish to mint the token of a place. Belongs to one thread.

    Args:
        store: where processes agree.
        place: what the token is kept under.
        clock: time.
        deadline: of the caller's request.

    """

    def __init__(
        self, store: TokenStore, place: CacheEntryPolicy, clock: Clock, deadline: Deadline
    ) -> None:
        self._store = store
        self._clock = clock
        self._deadline = deadline
        self._lease = f"{place.key}:lease"
        self._failure = f"{place.key}:failure"
        self._tried = f"{place.key}:tried"
        self._kept = place.seconds > 0
        self._patience = Deadline.after(clock, min(WAIT_FOR_OTHERS, max(0.0, deadline.left())))
        self._owner: str | None = None
        self._told_before: str | None = None
        self._pause = FIRST_LOOK

    def take(self) -> bool:
        """Return whether it is our turn: it is free, nobody can tell, or we have waited enough.

        Raises:
            UpstreamError: it is free again because the mint we waited for has failed.

        """
        if not self._kept or not self._store.can_lease:
            return True
        self._owner = self._store.acquire(self._lease, max(0.0, self._deadline.left()))
        if self._owner and self._told_before is not None:
            self._raise_if_told()
        return self._owner is not None or not self._store.can_lease or self._patience.left() <= 0

    def wait(self) -> None:
        """Wait a moment for the one whose turn it is.

        Raises:
            UpstreamError: the mint it waited for has failed.

        """
        self._raise_if_told()
        self._clock.sleep(min(self._pause, max(0.0, self._patience.left())))
        self._pause = min(self._pause * 1.6, LAST_LOOK)

    def _raise_if_told(self) -> None:
        """Raise the error that was left since our first look; one from before it is not ours."""
        told = self._store.noted(self._failure) or ""
        if self._told_before is None:
            self._told_before = told
        elif told and told != self._told_before:
            raise _error_in(told)

    def was_tried_lately(self) -> bool:
        """Whether an attempt to replace a good token has failed a moment ago."""
        return self._store.noted(self._tried) is not None

    def tell(self, error: errors.UpstreamError) -> None:
        """Leave the error of our mint to those who wait for it, and to those who come soon."""
        if not self._kept:
            return
        if self._owner:
            told = json.dumps([secrets.token_urlsafe(9), to_facts(error)])
            self._store.note(self._failure, told, TELL_FOR)
        self._store.note(self._tried, error.code, STALE_RETRY)

    def give_back(self) -> None:
        """Let the next one have its turn."""
        if self._owner:
            self._store.release(self._lease, self._owner)
            self._owner = None


def _error_in(told: str) -> errors.UpstreamError:
    try:
        return from_facts(json.loads(told)[1])
    except (KeyError, IndexError, TypeError, ValueError):
        return errors.AnamUnavailable()
