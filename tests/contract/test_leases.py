"""What the lease of each kind of cache is worth, and that `TRAITS` says so."""

from __future__ import annotations

import hashlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cachelib import DynamoDbCache, MongoDbCache, NullCache, SimpleCache
from cachelib.base import BaseCache
from contract.conftest import Opened
from faults.store.workers import workers
from servers.caches import file_url

from flask_anam.core.cache.backends import TRAITS, open_backend
from flask_anam.core.cache.locks import LEASE_MARGIN
from flask_anam.core.clock import Deadline
from flask_anam.core.minting.mint_lock import MAX_WAIT, MintLock
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy
from flask_anam.errors import ConfigError
from flask_anam.testing import ManualClock

#: Seconds that a holder asks for, and those that its lease lasts.
HOLD = 8.0
LIFETIME = HOLD + LEASE_MARGIN

SCRIPT = str(Path(__file__).parent / "lease_worker.py")


def _different_keys(count: int) -> list[str]:
    """Return keys that fall to different files of a file lease."""
    keys: dict[int, str] = {}
    for number in range(1000):
        key = f"key-{number}"
        keys.setdefault(hashlib.sha256(key.encode()).digest()[0], key)
    return list(keys.values())[:count]


def test_one_of_eight_threads_wins(shared: Opened) -> None:
    """In twenty rounds, each with a gate that lets all go at once."""
    gate = threading.Barrier(8)

    def compete(_number: int) -> list[bool]:
        won = []
        for key in _different_keys(20):
            gate.wait()
            won.append(shared.backend.lease.acquire(key, HOLD) is not None)
        return won

    with ThreadPoolExecutor(8) as pool:
        rounds = zip(*pool.map(compete, range(8)), strict=True)
        assert [sum(won) for won in rounds] == [1] * 20


@pytest.mark.slow
def test_one_of_four_processes_wins(shared: Opened) -> None:
    """In twenty rounds, while the winners hold what they won."""
    job = {"cache": shared.url, "keys": _different_keys(20)}
    with workers(SCRIPT, [job] * 4) as running:
        for worker in running:
            worker.go()
        rounds = zip(*[worker.line() for worker in running], strict=True)
        assert [sum(won) for won in rounds] == [1] * 20


def test_a_lease_given_back_is_free(shared: Opened) -> None:
    """At once, and only the one that is named; on real servers, unlike tests/core/cache."""
    first, other = _different_keys(2)
    lease = shared.backend.lease
    owner = lease.acquire(first, HOLD)
    assert owner is not None
    assert lease.acquire(other, HOLD) is not None
    lease.release(first, owner)
    assert lease.acquire(first, HOLD) is not None
    assert lease.acquire(other, HOLD) is None


@pytest.mark.slow
def test_a_killed_holder_holds_nobody_up(shared: Opened) -> None:
    """SIGKILL: files are free at once, elsewhere the next one goes on after three seconds."""
    place = CacheEntryPolicy(key="place", seconds=60, serve_stale=False, invalidation_keys=())
    job = {"cache": shared.url, "keys": ["place:lease"]}
    deadline = Deadline.after(shared.clock, 8)
    with workers(SCRIPT, [job]) as (holder,):
        holder.go()
        assert holder.line() == [True]
        held = MintLock(shared.store, place, shared.clock, deadline)
        assert not held.try_acquire()
        holder.kill()
    turn, begun = MintLock(shared.store, place, shared.clock, deadline), shared.clock.now
    while not turn.try_acquire():
        turn.wait()
    waited = shared.clock.now - begun
    if shared.kind == "file":
        assert waited == 0
    else:
        assert MAX_WAIT <= waited < MAX_WAIT + 0.3
    turn.release()


def test_a_lease_runs_out_by_its_own_word(adding: Opened) -> None:
    """After ten seconds another takes it, also where the cache has lost the expiry."""
    lease = adding.backend.lease
    assert lease.acquire("a", HOLD) is not None
    adding.backend.cache.set("a", adding.backend.cache.get("a"), timeout=3600)
    adding.clock.move(LIFETIME - 0.1)
    assert lease.acquire("a", HOLD) is None
    adding.clock.move(0.2)
    assert lease.acquire("a", HOLD) is not None


def test_a_holder_that_overslept_releases_nobody_elses(adding: Opened) -> None:
    """It comes back after its time, and the new holder keeps the lease."""
    lease = adding.backend.lease
    overslept = lease.acquire("a", HOLD)
    assert overslept is not None
    adding.clock.move(LIFETIME + 0.5)
    assert lease.acquire("a", HOLD) is not None
    lease.release("a", overslept)
    assert lease.acquire("a", HOLD) is None


def test_a_second_release_frees_nothing(shared: Opened) -> None:
    """A second release, and one by an invented owner, frees nothing of the next holder."""
    lease = shared.backend.lease
    first = lease.acquire("a", HOLD)
    assert first is not None
    lease.release("a", first)
    shared.clock.move(LIFETIME + 0.5)
    assert lease.acquire("a", HOLD) is not None
    lease.release("a", first)
    lease.release("a", "invented")
    assert lease.acquire("a", HOLD) is None


def test_in_the_last_second_a_lease_is_left_to_run_out(adding: Opened) -> None:
    """It may be another's by the time that the deletion arrives."""
    lease = adding.backend.lease
    owner = lease.acquire("a", HOLD)
    assert owner is not None
    adding.clock.move(LIFETIME - 0.5)
    lease.release("a", owner)
    assert lease.acquire("a", HOLD) is None


def _urls(folder: Path) -> dict[str, str]:
    return {kind: f"{kind}://127.0.0.1:1" for kind in TRAITS} | {
        "memory": "memory://",
        "null": "null://",
        "file": file_url(folder),
    }


@pytest.mark.parametrize("kind", [kind for kind in TRAITS if kind not in {"dynamodb", "mongodb"}])
def test_traits_tell_which_kinds_have_a_lease(kind: str, tmp_path: Path) -> None:
    """Kinds of "add" and "lock" lease among processes, those of "one process" do not."""
    backend = open_backend(_urls(tmp_path)[kind], ManualClock())
    assert backend.lease.shared is (TRAITS[kind].one_mint in {"add", "lock"})


@pytest.mark.parametrize("cls", [SimpleCache, NullCache, DynamoDbCache, MongoDbCache])
def test_kinds_without_a_sound_add_have_no_lease(cls: type[BaseCache]) -> None:
    """Also as ready objects; every caller has its turn there."""
    cache = cls.__new__(cls)  # DynamoDB and MongoDB would connect
    lease = open_backend(cache, ManualClock()).lease
    assert not lease.shared
    assert [lease.acquire("a", HOLD), lease.acquire("a", HOLD)] == ["", ""]
    lease.release("a", "")


def test_traits_say_what_is_proven() -> None:
    """The kinds of this suite are proven; what no server was there for is not."""
    proven = {kind for kind, traits in TRAITS.items() if traits.proven}
    assert proven == {"memory", "null", "file", "redis", "memcached"}
    assert {kind for kind, traits in TRAITS.items() if not traits.shared} == {"memory", "null"}


@pytest.mark.parametrize(
    ("kind", "package"), [("dynamodb", "boto3"), ("mongodb", "pymongo"), ("redis", "redis")]
)
def test_a_missing_package_is_named(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which package to install."""
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"{kind}://.*pip install .*{package}"):
        open_backend(f"{kind}://127.0.0.1:1/x", ManualClock())
