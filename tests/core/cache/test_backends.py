"""Cache backends: each URL scheme opens its cachelib backend, with its lease and serializer."""

from __future__ import annotations

from typing import Any

import pytest
from cachelib import FileSystemCache, NullCache, SimpleCache
from cachelib.base import BaseCache

from flask_anam.core.cache.backends import TRAITS, OwnRedisCache, PlainJson, is_shared, open_backend
from flask_anam.core.cache.locks import AddLease, FileLease, NoLease
from flask_anam.core.cache.memory import MemoryCache
from flask_anam.errors import ConfigError
from flask_anam.testing import ManualClock


class OwnCache(SimpleCache):
    """A memory cache of the host's own making."""


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryCache),
        ("null://", NullCache),
        ("redis://127.0.0.1:1/0", OwnRedisCache),
        ("rediss://127.0.0.1:1/0", OwnRedisCache),
        ("file://{tmp}/a%20b", FileSystemCache),
    ],
)
def test_each_scheme_opens_its_backend(
    url: str, kind: type[BaseCache], clock: ManualClock, tmp_path: Any
) -> None:
    """No connection is made yet, so a cache that is down does not stop the start."""
    cache = open_backend(url.format(tmp=tmp_path), clock).cache
    assert type(cache) is kind
    if kind is FileSystemCache:
        assert (tmp_path / "a b").is_dir()


def test_a_ready_cache_is_used_as_it_is(clock: ManualClock) -> None:
    """Nothing of the host's own object is changed."""
    cache = SimpleCache()
    backend = open_backend(cache, clock)
    assert backend.cache is cache
    assert backend.reopen is None


@pytest.mark.parametrize(
    ("where", "shared"),
    [
        ("memory://", False),
        ("null://", False),
        (SimpleCache(), False),
        (NullCache(), False),
        ("file:///x", True),
        ("redis://h", True),
        ("memcached://h", True),
        (OwnCache(), False),
        (BaseCache(), True),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_shared_caches_are_told_from_our_own(where: BaseCache | str, shared: bool) -> None:
    """Those need a fixed secret."""
    assert is_shared(where) is shared


def test_a_folder_that_cannot_be_written_is_refused_with_the_cure(
    clock: ManualClock, tmp_path: Any
) -> None:
    """At the start, naming setting, folder and reason."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    with pytest.raises(ConfigError) as caught:
        open_backend(f"file://{folder}", clock)
    assert f"ANAM_CACHE names the folder {folder}" in caught.value.text
    assert "(Not a directory). Create it" in caught.value.text


@pytest.mark.parametrize(
    "url", ["redis://:SENTINEL@h:port", "redis://h?socket_timeout=SENTINEL", "memcached://h:x"]
)
def test_a_url_with_a_mistake_is_refused_at_the_start(url: str, clock: ManualClock) -> None:
    """In our words, without the password it may hold."""
    with pytest.raises(ConfigError, match="not a valid URL") as caught:
        open_backend(url, clock)
    assert "SENTINEL" not in caught.value.text


@pytest.mark.parametrize("scheme", ["memory", "null", "file", "redis"])
def test_processes_agree_where_the_table_of_traits_says(
    scheme: str, clock: ManualClock, tmp_path: Any
) -> None:
    """By an atomic add, by file locks, or not at all; the docs show that table."""
    backend = open_backend(f"{scheme}://{tmp_path if scheme == 'file' else ''}", clock)
    expected = {"add": AddLease, "lock": FileLease, "one process": NoLease}
    assert type(backend.lease) is expected[TRAITS[scheme].one_mint]
    assert backend.lease.shared is TRAITS[scheme].shared


@pytest.mark.parametrize("data", [None, b"", b"{", b"\x80\x04.", b"[" * 99_999], ids=str)
def test_the_serializer_reads_nothing_but_json(data: bytes | None) -> None:
    """Anything else is None; what it writes it reads."""
    assert PlainJson().loads(data) is None
    assert PlainJson().loads(PlainJson().dumps({"a": [1]})) == {"a": [1]}
