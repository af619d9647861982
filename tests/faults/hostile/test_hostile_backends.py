"""Backends that are stopped or silent, and files that others must not read.

tests/contract/test_token_store.py plants pickles in them.
"""

from __future__ import annotations

import gc
import logging
import socket
import time
from pathlib import Path

import pytest
from cachelib import FileSystemCache
from servers.caches import MemcachedServer, RedisServer

from flask_anam.core.cache.backends import PlainJson, open_backend
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.tokens.store import TokenStore
from flask_anam.core.tokens.token import SessionToken
from flask_anam.testing import ManualClock

from .conftest import Opener

SECRET = b"app secret"
KEY = KeyHasher(SECRET)("token", "hostile")


def token(clock: ManualClock) -> SessionToken:
    """Return a token minted now."""
    return SessionToken(value="a.b.c", minted_at=clock.time(), expires_at=clock.time() + 3600)


def test_files_belong_to_their_user_only(clock: ManualClock, tmp_path: Path) -> None:
    """Folders and files are closed to others, and names tell nothing."""
    folder = tmp_path / "deep" / "cache"
    store = TokenStore(open_backend(f"file://{folder}", clock), SECRET, clock)
    store.put(KEY, token(clock), 60)
    owner = store.acquire(KEY, 8)
    assert owner
    folders = {folder, folder / "tokens", folder / "leases"}
    files = {path for path in folder.rglob("*") if path.is_file()}
    assert {path for path in (folder, *folder.rglob("*")) if path.is_dir()} == folders
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.parent for path in files} == folders - {folder}
    store.release(KEY, owner)


def test_the_serializer_is_set_on_our_cache_only(clock: ManualClock, tmp_path: Path) -> None:
    """Cachelib shares it between all caches of a class; the host's own keep theirs."""
    ours = open_backend(f"file://{tmp_path}/a", clock).cache
    assert isinstance(ours.serializer, PlainJson)  # type: ignore[attr-defined]
    assert not isinstance(FileSystemCache(str(tmp_path / "b")).serializer, PlainJson)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # of redis-py
@pytest.mark.parametrize("kind", [RedisServer, MemcachedServer])
def test_a_stopped_server_costs_the_mint_and_comes_back(
    kind: type[RedisServer | MemcachedServer],
    opened: Opener,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A miss at once, one line, five seconds of rest; then the server is used again."""
    server = kind().start()
    try:
        store = TokenStore(opened(server.url), SECRET, clock)
        store.put(KEY, token(clock), 60)
        server.kill()
        begun = time.monotonic()
        for _ in range(20):
            lookup = store.lookup(KEY)
            assert (lookup.token, lookup.generation) == (None, None)
            store.put(KEY, token(clock), 60)
        assert time.monotonic() - begun < 4.0  # 40 waits would take ten
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        server.start()
        clock.move(5.1)
        store.put(KEY, token(clock), 60)
        assert store.lookup(KEY).token == token(clock)
    finally:
        server.kill()
        gc.collect()  # the sockets that redis-py forgot, while that is known


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # of redis-py
@pytest.mark.parametrize("scheme", ["redis", "memcached"])
def test_a_silent_server_costs_a_quarter_of_a_second_once(
    scheme: str, opened: Opener, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It accepts and says nothing: one wait of 0.25 s, then it is left alone."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        store = TokenStore(opened(url), SECRET, clock)
        begun = time.monotonic()
        for _ in range(10):
            assert store.lookup(KEY).token is None
            store.put(KEY, token(clock), 60)
        waited = time.monotonic() - begun
    assert 0.2 < waited < 4.0  # 20 waits would take five
    assert len(caplog.records) == 1
    gc.collect()
