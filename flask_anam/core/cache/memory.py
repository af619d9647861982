"""A cachelib cache in this process that stays quick when it is full.

cachelib's own SimpleCache pickles each value, and once it is full it sorts all its entries for
each one that is added.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from cachelib.base import BaseCache

#: The share of its entries that a full cache keeps when it makes room.
KEPT_SHARE = 0.9


class MemoryCache(BaseCache):
    """Entries in this process, those that end soonest evicted first. Thread-safe.

    Args:
        threshold: entries that it may hold.
        default_timeout: seconds for which an entry is kept when nothing is said; 0 is for ever.

    """

    def __init__(self, threshold: int, default_timeout: int = 300) -> None:
        super().__init__(default_timeout)
        self._threshold = threshold
        self._entries: dict[str, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        """Return the value under a key, or None."""
        return self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[Any]:
        """Return the value under each key, or None."""
        now, find = time.time(), self._entries.get
        found = [find(key) for key in keys]
        return [entry[1] if entry is not None and entry[0] > now else None for entry in found]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Keep a value for that many seconds."""
        entry = (self._end(timeout), value)
        with self._lock:
            self._entries[key] = entry
            if len(self._entries) > self._threshold:
                self._make_room()
        return True

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Keep a value unless there is one; return whether it was kept."""
        entry = (self._end(timeout), value)
        with self._lock:
            if self.has(key):
                return False
            self._entries[key] = entry
            if len(self._entries) > self._threshold:
                self._make_room()
        return True

    def delete(self, key: str) -> bool:
        """Forget a key; return whether it was there."""
        with self._lock:
            return self._entries.pop(key, None) is not None

    def has(self, key: str) -> bool:
        """Whether there is a value under a key."""
        entry = self._entries.get(key)
        return entry is not None and entry[0] > time.time()

    def clear(self) -> bool:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
        return True

    def _end(self, timeout: Any) -> float:
        """Return the Unix seconds at which an entry that is made now ends."""
        seconds = self._normalize_timeout(timeout)
        return time.time() + seconds if seconds else float("inf")

    def _make_room(self) -> None:
        """Forget what is over, and of the rest what ends soonest: a tenth at once."""
        now = time.time()
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0] > now}
        surplus = len(self._entries) - int(self._threshold * KEPT_SHARE)
        if surplus > 0:
            soonest = sorted(self._entries, key=lambda key: self._entries[key][0])[:surplus]
            for key in soonest:
                del self._entries[key]
