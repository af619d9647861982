"""Mint lock: a distributed lock that elects one process to mint while the others wait."""

from __future__ import annotations

import json
import secrets

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.minting.error_codec import decode_error, encode_error
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy
from flask_anam.core.tokens.store import TokenStore

#: Seconds that a process waits for another process's mint, at most; then it mints itself.
MAX_WAIT = 3.0
#: Seconds between two polls of what the other process has stored: the first, and the longest.
FIRST_POLL = 0.02
LAST_POLL = 0.25
#: Seconds for which the error of a mint is published to the processes that waited for it.
ERROR_LIFETIME = 1.0
#: Seconds between two attempts to replace a token that is still good.
REFRESH_PAUSE = 30.0


class MintLock:
    """Elects one process to mint the token of a cache entry; the others wait for its result.

    Not thread-safe; create one per request.

    Args:
        store: the cache that the processes share.
        entry: of the token.
        clock: time.
        deadline: of the caller's request.

    """

    def __init__(
        self, store: TokenStore, entry: CacheEntryPolicy, clock: Clock, deadline: Deadline
    ) -> None:
        self._store = store
        self._clock = clock
        self._deadline = deadline
        self._lease_key = f"{entry.key}:lease"
        self._error_key = f"{entry.key}:failure"
        self._refresh_key = f"{entry.key}:tried"
        self._is_stored = entry.seconds > 0
        self._patience = Deadline.after(clock, min(MAX_WAIT, max(0.0, deadline.left())))
        self._owner: str | None = None
        self._error_before: str | None = None
        self._poll = FIRST_POLL

    def try_acquire(self) -> bool:
        """Return whether this caller is to mint.

        It is when the lock was free, when the cache cannot lock, and after 3 s of waiting.

        Raises:
            UpstreamError: the lock is free again because the mint we waited for has failed.

        """
        if not self._is_stored or not self._store.can_lease:
            return True
        self._owner = self._store.acquire(self._lease_key, max(0.0, self._deadline.left()))
        if self._owner and self._error_before is not None:
            self._raise_published_error()
        return self._owner is not None or not self._store.can_lease or self._patience.left() <= 0

    def wait(self) -> None:
        """Wait for the process that holds the lock: 0.02 s at first, 0.25 s at most.

        Raises:
            UpstreamError: the mint it waited for has failed.

        """
        self._raise_published_error()
        self._clock.sleep(min(self._poll, max(0.0, self._patience.left())))
        self._poll = min(self._poll * 1.6, LAST_POLL)

    def _raise_published_error(self) -> None:
        """Raise an error published since our first poll; one from before it is not for us."""
        text = self._store.get_text(self._error_key) or ""
        if self._error_before is None:
            self._error_before = text
        elif text and text != self._error_before:
            raise _parsed_error(text)

    def refresh_failed_recently(self) -> bool:
        """Whether replacing a token that is still good failed less than 30 s ago."""
        return self._store.get_text(self._refresh_key) is not None

    def publish_error(self, error: errors.UpstreamError) -> None:
        """Store the error of our mint for those who wait, and for those who come soon."""
        if not self._is_stored:
            return
        if self._owner:
            text = json.dumps([secrets.token_urlsafe(9), encode_error(error)])
            self._store.put_text(self._error_key, text, ERROR_LIFETIME)
        self._store.put_text(self._refresh_key, error.code, REFRESH_PAUSE)

    def release(self) -> None:
        """Release the lock, if this caller holds it."""
        if self._owner:
            self._store.release(self._lease_key, self._owner)
            self._owner = None


def _parsed_error(text: str) -> errors.UpstreamError:
    try:
        return decode_error(json.loads(text)[1])
    except (KeyError, IndexError, TypeError, ValueError):
        return errors.AnamUnavailable()
