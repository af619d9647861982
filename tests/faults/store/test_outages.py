"""Rows 27 to 33: the cache is gone, silent, corrupt, emptied, restarted or refuses."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hosts import ADA, BOB, MINT, TOKEN_PATH, client_of, make_app
from servers.caches import (
    MemcachedServer,
    RedisServer,
    file_url,
    free_port,
    refusing_redis,
    silent_server,
)

from flask_anam import FlaskAnam
from flask_anam.core.minting.mint_lock import MAX_WAIT
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

TAB = {"slot": "tab"}


def _token(client: FlaskClient, **body: object) -> str:
    answer = client.post(TOKEN_PATH, json=body or TAB)
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["sessionToken"])


def _warnings(logged: pytest.LogCaptureFixture) -> int:
    return sum("token cache failed" in record.getMessage() for record in logged.records)


def _check_served_without_cache(
    url: str, sandbox: Sandbox, logged: pytest.LogCaptureFixture, within: float
) -> None:
    """Five tokens come in time, each by a mint, with one line in the log per five seconds."""
    clock = ManualClock(time.time())
    client = client_of(make_app(sandbox, clock=clock, ANAM_CACHE=url), ADA)
    begun = time.monotonic()
    tokens = {_token(client) for _ in range(5)}
    assert time.monotonic() - begun < within
    assert len(tokens) == sandbox.ledger.count(MINT) == 5
    assert _warnings(logged) == 1
    clock.move(5.1)
    assert _token(client) not in tokens
    assert _warnings(logged) == 2


@pytest.mark.parametrize("scheme", ["redis", "memcached"])
def test_row_27_a_refusing_cache_costs_only_the_mint(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, scheme: str
) -> None:
    """Nothing listens at the address of the cache: tokens are minted without it."""
    _check_served_without_cache(f"{scheme}://127.0.0.1:{free_port()}", sandbox, logged, 1.5)


@pytest.mark.parametrize("scheme", ["redis", "memcached"])
def test_row_28_a_silent_cache_is_asked_once_in_five_seconds(sandbox: Sandbox, scheme: str) -> None:
    """The cache accepts and sends nothing: a delay of a quarter of a second, then none."""
    clock = ManualClock(time.time())
    with silent_server() as (port, calls):
        url = f"{scheme}://127.0.0.1:{port}"
        app = make_app(sandbox, clock=clock, ANAM_CACHE=url, ANAM_TOKEN_RATE_LIMIT="50 per hour")
        client = client_of(app, ADA)
        begun = time.monotonic()
        _token(client)
        first = time.monotonic() - begun
        begun = time.monotonic()
        for _ in range(10):
            _token(client)
        assert 0.2 < first < 1.5
        assert time.monotonic() - begun < 2.0
        assert len(calls) == 1
        clock.move(5.1)
        _token(client)
        assert len(calls) == 2


def test_row_28_a_stopped_redis_is_used_again_when_it_goes_on(sandbox: Sandbox) -> None:
    """SIGSTOP, then SIGCONT: tokens are minted meanwhile, and reused five seconds later."""
    clock = ManualClock(time.time())
    with RedisServer() as server:
        client = client_of(make_app(sandbox, clock=clock, ANAM_CACHE=server.url), ADA)
        stored = _token(client)
        server.pause()
        begun = time.monotonic()
        assert _token(client) != stored
        assert time.monotonic() - begun < 1.5
        server.resume()
        clock.move(5.1)
        assert _token(client) == stored


class _Planted:
    """Something that leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._mark,)


DAMAGE = ["junk", "empty", "cut", "pickle", "other user", "older schema"]


def _damaged(kind: str, mine: bytes, others: bytes, mark: Path) -> bytes:
    return {
        "junk": b"\xff\x00{[",
        "empty": b"",
        "cut": mine[: len(mine) // 2],
        "pickle": pickle.dumps(_Planted(mark)),
        "other user": others,
        "older schema": b'{"v":0,"token":"abc"}',
    }[kind]


@pytest.mark.parametrize("kind", DAMAGE)
def test_row_29_a_damaged_value_in_redis_is_a_miss(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer, tmp_path: Path, kind: str
) -> None:
    """Any value under a key: no exception, no code execution, a new token replaces it."""
    app = make_app(sandbox, ANAM_CACHE=redis_url)
    ada, bob = client_of(app, ADA), client_of(app, BOB)
    with redis_server.client() as client:
        first = _token(ada)
        mine = client.keys("anam1:token:*")[0]
        bobs = _token(bob)
        others = next(key for key in client.keys("anam1:token:*") if key != mine)
        value, foreign = client.get(mine), client.get(others)
        assert isinstance(value, bytes)
        assert isinstance(foreign, bytes)
        client.set(mine, _damaged(kind, value, foreign, tmp_path / "ran"), ex=600)
    second = _token(ada)
    assert second not in {first, bobs}
    assert _token(ada) == second
    assert _token(bob) == bobs
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", DAMAGE)
def test_row_29_a_damaged_file_is_a_miss(sandbox: Sandbox, tmp_path: Path, kind: str) -> None:
    """The same in the folder of a file cache, whose files start with a 4-byte timestamp."""
    app = make_app(sandbox, ANAM_CACHE=file_url(tmp_path / "cache"))
    ada, bob = client_of(app, ADA), client_of(app, BOB)
    first = _token(ada)
    mine = {path: path.read_bytes() for path in _files(tmp_path)}
    bobs = _token(bob)
    others = {path: path.read_bytes() for path in _files(tmp_path) if path not in mine}
    head = 4
    foreign = max(others.values(), key=len)[head:]
    for path, content in mine.items():
        bad = _damaged(kind, content[head:], foreign, tmp_path / "ran")
        path.write_bytes(content[:head] + bad)
    second = _token(ada)
    assert second not in {first, bobs}
    assert _token(ada) == second
    assert not (tmp_path / "ran").exists()


def _files(tmp_path: Path) -> list[Path]:
    files = (tmp_path / "cache" / "tokens").iterdir()
    return [path for path in files if b"anam1" in path.read_bytes()]


def test_row_30_a_token_that_the_cache_dropped_costs_one_more_mint(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer
) -> None:
    """The cache loses the entry before the report arrives: 204, and one new token."""
    client = client_of(make_app(sandbox, ANAM_CACHE=redis_url), ADA)
    issued = client.post(TOKEN_PATH, json=TAB).get_json()
    with redis_server.client() as direct:
        direct.flushall()
    report = {"tokenId": issued["tokenId"], "sessionId": "s-1"}
    assert client.post("/anam/sessions", json=report).status_code == 204
    assert _token(client) == _token(client) != issued["sessionToken"]
    assert sandbox.ledger.count(MINT) == 2


def test_row_31_redis_killed_during_the_mint(sandbox: Sandbox) -> None:
    """SIGKILL while Anam answers: the user gets the token; after the restart all works again."""
    clock = ManualClock(time.time())
    with RedisServer() as server:
        client = client_of(make_app(sandbox, clock=clock, ANAM_CACHE=server.url), ADA)
        sandbox.fail_next(200, delay=0.5)
        tokens: list[str] = []
        asking = threading.Thread(target=lambda: tokens.append(_token(client)))
        asking.start()
        assert sandbox.ledger.wait_for(MINT, 1)
        server.kill()
        asking.join()
        assert len(tokens) == 1
        assert _token(client)
        server.start()
        clock.move(5.1)
        assert _token(client) == _token(client)
        assert sandbox.ledger.count(MINT) == 3


def test_row_32_a_failover_that_loses_the_lease(sandbox: Sandbox) -> None:
    """The lease is lost during a mint: the waiting process mints too, both tokens are valid."""
    anam = FlaskAnam()
    with RedisServer() as server:
        apps = [
            make_app(sandbox, anam=extension, ANAM_CACHE=server.url)
            for extension in (anam, FlaskAnam())
        ]
        sandbox.fail_next(200, delay=0.6, times=2)
        tokens: list[str] = []
        threads = [
            threading.Thread(target=lambda app=app: tokens.append(_token(client_of(app, ADA))))
            for app in apps
        ]
        for thread in threads:
            thread.start()
        assert sandbox.ledger.wait_for(MINT, 1)
        with server.client() as client:
            client.flushall()
        for thread in threads:
            thread.join()
        assert len(set(tokens)) == sandbox.ledger.count(MINT) == 2
        with apps[0].app_context():
            assert all(anam.validate_token(token) for token in tokens)


def test_row_33_a_replica_that_refuses_writes(
    sandbox: Sandbox, redis_server: RedisServer, logged: pytest.LogCaptureFixture
) -> None:
    """READONLY, as after a failover to a replica."""
    option = f"--replicaof 127.0.0.1 {redis_server.port}"
    with RedisServer(option) as replica:
        _check_served_without_cache(replica.url, sandbox, logged, 3.0)


@pytest.mark.parametrize("option", ["--maxmemory 1", "--requirepass secret"])
def test_row_33_a_redis_without_memory_or_with_a_password(
    sandbox: Sandbox, logged: pytest.LogCaptureFixture, option: str
) -> None:
    """OOM on writes, NOAUTH on everything."""
    with RedisServer(option) as server:
        _check_served_without_cache(server.url, sandbox, logged, 3.0)


def test_row_33_a_redis_that_is_loading(sandbox: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """LOADING on every command."""
    with refusing_redis(b"LOADING Redis is loading the dataset in memory") as url:
        _check_served_without_cache(url, sandbox, logged, 3.0)


def test_row_28_a_silent_memcached_is_left_alone(sandbox: Sandbox) -> None:
    """A stopped Memcached process: no answer takes longer than the timeout and the mint."""
    clock = ManualClock(time.time())
    with MemcachedServer() as server:
        client = client_of(make_app(sandbox, clock=clock, ANAM_CACHE=server.url), ADA)
        stored = _token(client)
        server.pause()
        begun = time.monotonic()
        assert _token(client) != stored
        assert time.monotonic() - begun < MAX_WAIT / 2
        server.resume()
        clock.move(5.1)
        assert _token(client) == stored
