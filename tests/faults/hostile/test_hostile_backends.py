"""Backends that are attacked, stopped, silent or not writable."""

from __future__ import annotations

import gc
import logging
import pickle
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from cachelib import FileSystemCache
from faults.store.servers import MemcachedServer, RedisServer
from pymemcache.client.base import Client as Memcached

from flask_anam.core.cache.backends import PlainJson, open_backend
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.tokens.store import TokenStore
from flask_anam.core.tokens.token import SessionToken
from flask_anam.testing import ManualClock

from .conftest import Opener

SECRET = b"app secret"
KEY = KeyHasher(SECRET)("token", "hostile")


class Bomb:
    """An object whose pickle makes a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def token(clock: ManualClock) -> SessionToken:
    """Return a token minted now."""
    return SessionToken(value="a.b.c", minted_at=clock.time(), expires_at=clock.time() + 3600)


def test_the_bomb_works(tmp_path: Path) -> None:
    """Opening such a pickle does run code: the tests below would notice."""
    mark = tmp_path / "ran"
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301 - the point
    assert mark.exists()


def test_a_pickle_planted_in_redis_never_runs(
    redis_server: RedisServer, opened: Opener, clock: ManualClock, tmp_path: Path
) -> None:
    """Neither bare nor with cachelib's mark in front."""
    mark = tmp_path / "ran"
    store = TokenStore(opened(redis_server.url), SECRET, clock)
    with redis.Redis(port=redis_server.port) as planter:
        for prefix in (b"", b"!"):
            planter.set(KEY, prefix + pickle.dumps(Bomb(mark)))
            assert store.lookup(KEY).token is None
            assert store.get_text(KEY) is None
    assert not mark.exists()


def test_a_pickle_planted_in_memcached_never_runs(
    memcached_server: MemcachedServer, opened: Opener, clock: ManualClock, tmp_path: Path
) -> None:
    """Whatever flag a client sets to say that it is a pickle."""
    mark = tmp_path / "ran"
    store = TokenStore(opened(memcached_server.url), SECRET, clock)
    planter = Memcached(("127.0.0.1", memcached_server.port))
    for flags in range(4):
        planter.set(KEY, pickle.dumps(Bomb(mark)), flags=flags, noreply=False)
        assert store.lookup(KEY).token is None
    planter.close()
    assert not mark.exists()


def test_a_pickle_planted_in_a_file_never_runs(clock: ManualClock, tmp_path: Path) -> None:
    """The file is the one that holds our token, its timestamp kept."""
    mark, folder = tmp_path / "ran", tmp_path / "cache"
    backend = open_backend(f"file://{folder}", clock)
    cache = backend.cache
    assert isinstance(cache, FileSystemCache)
    store = TokenStore(backend, SECRET, clock)
    store.put(KEY, token(clock), 60)
    file = Path(cache._get_filename(KEY))
    head = file.read_bytes()[:4]
    for content in (head + pickle.dumps(Bomb(mark)), pickle.dumps(Bomb(mark))):
        file.write_bytes(content)
        assert store.lookup(KEY).token is None
    assert not mark.exists()


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
            found = store.lookup(KEY)
            assert (found.token, found.generation) == (None, None)
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
