"""Memory cache: a cachelib cache in this process whose cost does not grow when it is full.

cachelib's own SimpleCache pickles each value and, once it is full, sorts all entries for each one
that is added.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from cachelib.base import BaseCache

#: Share of the threshold that stays when a full cache evicts.
SHARE_AFTER_EVICTION = 0.9


class MemoryCache(BaseCache):
    """Cache in this process; evicts the entries that expire soonest. Thread-safe.

    Args:
        threshold: capacity, in entries.

    """

    def __init__(self, threshold: int) -> None:
        super().__init__()
        self._threshold = threshold
        self._entries: dict[str, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        """Return the value under a key, or None."""
        return self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[Any]:
        """Return the value under each key, or None."""
        now, values = time.time(), []
        for key in keys:
            entry = self._entries.get(key)
            values.append(entry[1] if entry is not None and entry[0] > now else None)
        return values

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value for `timeout` seconds; 0 is for ever, None the default of cachelib."""
        seconds = self._normalize_timeout(timeout)
        entry = (time.time() + seconds if seconds else float("inf"), value)
        with self._lock:
            self._entries[key] = entry
            if len(self._entries) > self._threshold:
                self._make_room()
        return True

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value unless there is one; return whether it was stored."""
        seconds = self._normalize_timeout(timeout)
        entry = (time.time() + seconds if seconds else float("inf"), value)
        with self._lock:
            if self.has(key):
                return False
            self._entries[key] = entry
            if len(self._entries) > self._threshold:
                self._make_room()
        return True

    def delete(self, key: str) -> bool:
        """Delete a key; return whether it was there."""
        with self._lock:
            return self._entries.pop(key, None) is not None

    def has(self, key: str) -> bool:
        """Whether there is a value under a key."""
        entry = self._entries.get(key)
        return entry is not None and entry[0] > time.time()

    def clear(self) -> bool:
        """Delete all entries."""
        with self._lock:
            self._entries.clear()
        return True

    def _make_room(self) -> None:
        """Evict expired entries, then those that expire soonest until a tenth is free."""
        now = time.time()
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0] > now}
        surplus = len(self._entries) - int(self._threshold * SHARE_AFTER_EVICTION)
        if surplus > 0:
            soonest = sorted(self._entries, key=lambda key: self._entries[key][0])[:surplus]
            for key in soonest:
                del self._entries[key]
