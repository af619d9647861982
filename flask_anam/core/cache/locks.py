"""Distributed locks with an expiry (leases), which elect the one process that mints a token.

A lease only saves mints. When it fails, or its holder is killed, another process mints once more;
nothing that protects users depends on it.
"""

from __future__ import annotations

import hashlib
import json
import math
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

#: Seconds for which a lease outlives the time that its holder asked for.
LEASE_MARGIN = 2.0
#: Last seconds of a lease in which it is not deleted any more, but left to expire.
NO_RELEASE_TIME = 1.0
#: Number of lock files; the keys of a file lease are spread over them.
STRIPES = 65_536


class Lease(Protocol):
    """Lease: a distributed lock that expires. Thread-safe."""

    #: Whether other processes take part.
    shared: bool

    def acquire(self, key: str, seconds: float) -> str | None:
        """Take the lease for at least `seconds`, the longest time that its holder needs it.

        Returns the owner to release it with, or None when another holder has it. May raise
        anything.
        """

    def release(self, key: str, owner: str) -> None:
        """Release a lease, unless it may have expired. May raise anything."""


class NoLease:
    """Null object: the lease of a cache without an atomic operation; every process gets it."""

    shared = False

    def acquire(self, key: str, seconds: float) -> str | None:  # noqa: ARG002
        """Take the lease; always succeeds."""
        return ""

    def release(self, key: str, owner: str) -> None:
        """Do nothing."""


class AddLease:
    """Lease on a cache whose ``add`` is atomic among all processes.

    The value holds the end of the lease too: a key that lost its expiry (cachelib sets key and
    expiry of Redis in two steps) does not block for ever.
    """

    shared = True

    def __init__(self, cache: BaseCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    def acquire(self, key: str, seconds: float) -> str | None:
        """Take the lease, also one that has expired without being deleted."""
        now = self._clock.time()
        lifetime = seconds + LEASE_MARGIN
        owner = json.dumps([now + lifetime, secrets.token_urlsafe(9)])
        timeout = math.ceil(lifetime)
        if self._cache.add(key, owner, timeout=timeout):
            return owner
        current = self._cache.get(key)
        if current is not None and _end_of(current) > now:
            return None
        self._cache.set(key, owner, timeout=timeout)
        return owner if _text(self._cache.get(key)) == owner else None

    def release(self, key: str, owner: str) -> None:
        """Delete it, except in its last second: another holder may have it before the deletion."""
        if self._clock.time() < _end_of(owner) - NO_RELEASE_TIME:
            self._cache.delete(key)


def _text(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _end_of(value: object) -> float:
    try:
        return float(json.loads(str(_text(value)))[0])
    except (ValueError, TypeError, IndexError, KeyError):
        return 0.0


class FileLease:
    """Lease by ``flock`` on the files of one folder; never expires while its holder lives.

    The kernel unlocks the files of a dead process. Not for network file systems.
    """

    shared = True
    #: Whether this operating system has such locks.
    possible = fcntl is not None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Close the lock files of the parent, which stay locked by the parent."""
        for handle in self._held.values():
            os.close(handle)
        self._held = {}

    def acquire(self, key: str, seconds: float) -> str | None:  # noqa: ARG002
        """Lock the file that the key is mapped to; keys of one file exclude each other."""
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
