"""Leases: of several processes that want the same token, one mints it and the others wait.

A lease only saves mints. When it fails, or its holder is killed, somebody mints once more, and
nothing that protects users depends on it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Protocol

from cachelib.base import BaseCache

from flask_anam.core.clock import Clock
from flask_anam.core.forksafe import reset_after_fork

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

#: Seconds a lease is held at most: longer than any holder lives.
LEASE_FOR = 10.0
#: Files that the keys of a file lease are spread over.
STRIPES = 65_536


class Lease(Protocol):
    """A way to agree with other processes on who does something."""

    #: Whether other processes take part.
    shared: bool

    def acquire(self, key: str) -> str | None:
        """Return an owner string when the lease is ours now, else None. May raise anything."""

    def release(self, key: str, owner: str) -> None:
        """Give a lease back, unless it may have run out. May raise anything."""


class NoLease:
    """For stores that cannot agree: every process acts for itself."""

    shared = False

    def acquire(self, key: str) -> str | None:  # noqa: ARG002
        """Agree with nobody."""
        return ""

    def release(self, key: str, owner: str) -> None:
        """Do nothing."""


class AddLease:
    """A lease on a cache whose ``add`` has one winner among all processes.

    The end of the lease stands in the value too: a key that lost its expiry (Redis sets both in
    two steps) does not block for ever.
    """

    shared = True

    def __init__(self, cache: BaseCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    def acquire(self, key: str) -> str | None:
        """Take the lease, also when its last holder let it run out."""
        now = self._clock.time()
        mine = json.dumps([now + LEASE_FOR, secrets.token_urlsafe(9)])
        if self._cache.add(key, mine, timeout=int(LEASE_FOR)):
            return mine
        held = self._cache.get(key)
        if held is not None and _end_of(held) > now:
            return None
        self._cache.set(key, mine, timeout=int(LEASE_FOR))
        return mine if _text(self._cache.get(key)) == mine else None

    def release(self, key: str, owner: str) -> None:
        """Delete it, but for the last second: then it might be another holder's already."""
        if self._clock.time() < _end_of(owner) - 1.0:
            self._cache.delete(key)


def _text(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _end_of(value: object) -> float:
    try:
        return float(json.loads(str(_text(value)))[0])
    except (ValueError, TypeError, IndexError, KeyError):
        return 0.0


class FileLease:
    """A lease by OS locks on files of one folder; the kernel frees those of a dead process.

    Not for network file systems.
    """

    shared = True
    #: Whether this operating system has such locks.
    possible = fcntl is not None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Close the lock files that a parent holds: they are its own."""
        for handle in self._held.values():
            os.close(handle)
        self._held = {}

    def acquire(self, key: str) -> str | None:
        """Lock the file that the key falls to; keys of one file wait for each other."""
        stripe = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % STRIPES
        path = self._folder / f".lease-{stripe}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        owner = secrets.token_urlsafe(9)
        self._held[owner] = handle
        return owner

    def release(self, key: str, owner: str) -> None:  # noqa: ARG002
        """Unlock the file."""
        handle = self._held.pop(owner, None)
        if handle is not None:
            os.close(handle)
