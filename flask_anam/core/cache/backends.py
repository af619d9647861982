"""Cache backends: opens the cachelib backend of an ``ANAM_CACHE`` URL, with safe options."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

from cachelib import FileSystemCache, MemcachedCache, NullCache, RedisCache, SimpleCache
from cachelib.base import BaseCache

from flask_anam.core.cache.locks import AddLease, FileLease, Lease, NoLease
from flask_anam.core.cache.memory import MemoryCache
from flask_anam.core.clock import Clock
from flask_anam.errors import ConfigError

#: Capacity of a memory or file cache, in entries; a full cache evicts.
THRESHOLD = 10_000
#: Timeout of one operation on Redis or memcached, in seconds.
NETWORK_TIMEOUT = 0.25


class PlainJson:
    """JSON serializer for cachelib, in place of pickle: planted pickles are never loaded."""

    def dumps(self, value: Any) -> bytes:
        """Return a value as bytes."""
        return json.dumps(value, separators=(",", ":")).encode()

    def loads(self, data: bytes | None) -> Any:
        """Return the value, or None for anything that is not JSON."""
        try:
            return None if data is None else json.loads(data)
        except (ValueError, RecursionError):
            return None

    def dump(self, value: Any, f: IO[bytes]) -> None:
        """Write a value to a file."""
        f.write(self.dumps(value))

    def load(self, f: IO[bytes]) -> Any:
        """Read a value from a file."""
        return self.loads(f.read())


class OwnRedisCache(RedisCache):
    """Redis cache that was opened here: it stores JSON, and its reads may join other commands."""

    def __init__(self, client: Any) -> None:
        super().__init__(host=client)
        self.serializer = PlainJson()  # type: ignore[assignment]
        #: Where it is, see `redis_address`.
        self.address = redis_address(client)


def redis_address(client: Any) -> tuple[str, ...]:
    """Return an address that is equal for two clients of Redis when they see the same data."""
    options = client.connection_pool.connection_kwargs
    names = ("host", "port", "path", "db", "username", "password")
    return tuple(str(options.get(name) or "") for name in names)


@dataclass(frozen=True, slots=True)
class Traits:
    """Guarantees of a kind of cache.

    Attributes:
        shared: whether other processes read it.
        one_mint: how processes elect the one that mints: by an atomic "add", by a file "lock", or
            not at all ("one process").
        proven: whether the contract tests run against a real one.

    """

    shared: bool
    one_mint: str
    proven: bool


#: Guarantees by URL scheme; the docs show this table and the contract tests prove it.
TRAITS = {
    "memory": Traits(shared=False, one_mint="one process", proven=True),
    "null": Traits(shared=False, one_mint="one process", proven=True),
    "file": Traits(shared=True, one_mint="lock", proven=True),
    "redis": Traits(shared=True, one_mint="add", proven=True),
    "rediss": Traits(shared=True, one_mint="add", proven=False),
    "memcached": Traits(shared=True, one_mint="add", proven=True),
    "dynamodb": Traits(shared=True, one_mint="one process", proven=False),
    "mongodb": Traits(shared=True, one_mint="one process", proven=False),
}


@dataclass(frozen=True, slots=True)
class Backend:
    """A cache with its lease.

    Attributes:
        reopen: opens both again in a forked child; None when the child may use its parent's.

    """

    cache: BaseCache
    lease: Lease
    reopen: Callable[[], Backend] | None = None


def open_backend(where: BaseCache | str, clock: Clock) -> Backend:
    """Return the backend for a URL, or for a cachelib object, which is used as it is.

    Raises:
        ConfigError: the folder is not writable, the client library is not installed, or the URL
            is not valid.

    """
    if isinstance(where, BaseCache):
        return Backend(where, _lease_of(where, clock))
    scheme = urlsplit(where).scheme
    try:
        cache = _OPENERS[scheme](where)
    except ValueError:  # its text may contain the URL, and with it a password
        raise ConfigError(
            f"ANAM_CACHE starts with {scheme}:// but is not a valid URL. Correct host, port or "
            "options."
        ) from None
    if scheme == "file":
        leases = _folder_of(where) / "leases"
        leases.mkdir(mode=0o700, exist_ok=True)
        return Backend(cache, FileLease(leases) if FileLease.possible else NoLease())
    # After a fork, locks of the parent may stay locked and its connections would be shared. These
    # four connect at first use, so that a child can reopen them without waiting.
    lazy = scheme in {"memory", "redis", "rediss", "memcached"}
    reopen = partial(open_backend, where, clock) if lazy else None
    return Backend(cache, _lease_of(cache, clock), reopen)


def _lease_of(cache: BaseCache, clock: Clock) -> Lease:
    atomic = isinstance(cache, RedisCache | MemcachedCache)
    return AddLease(cache, clock) if atomic else NoLease()


def is_shared(where: BaseCache | str) -> bool:
    """Whether other processes read this cache, so that its signatures need a fixed secret."""
    if isinstance(where, BaseCache):
        return not isinstance(where, SimpleCache | MemoryCache | NullCache)
    return TRAITS[urlsplit(where).scheme].shared


def _memory(_url: str) -> BaseCache:
    return MemoryCache(THRESHOLD)


def _null(_url: str) -> BaseCache:
    return NullCache()


def _folder_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _file(url: str) -> BaseCache:
    folder = _folder_of(url)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A unique name: several workers may start at the same time.
        with NamedTemporaryFile(prefix=".flask-anam-write-test-", dir=folder):
            pass
    except OSError as exc:
        raise ConfigError(
            f"ANAM_CACHE names the folder {folder}, which cannot be written "
            f"({exc.strerror}). Create it and give this user the right to write in it."
        ) from None
    # A subfolder, since cachelib takes every other file beside its own for an entry.
    tokens = folder / "tokens"
    tokens.mkdir(mode=0o700, exist_ok=True)
    cache = FileSystemCache(str(tokens), threshold=THRESHOLD, mode=0o600)
    cache.serializer = PlainJson()  # type: ignore[assignment]
    return cache


def _redis(url: str) -> BaseCache:
    try:
        import redis
    except ImportError:
        raise ConfigError(_install("redis://", "Flask-Anam[redis]")) from None
    return OwnRedisCache(redis.Redis.from_url(url, **redis_options()))


def redis_options() -> dict[str, Any]:
    """Return the options of every client of Redis: a short timeout, and no retries."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_timeout": NETWORK_TIMEOUT,
        "socket_connect_timeout": NETWORK_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
    }


def _memcached(url: str) -> BaseCache:
    try:
        from pymemcache.client.hash import HashClient
    except ImportError:
        raise ConfigError(_install("memcached://", "pymemcache")) from None
    servers = [_host_port(part, 11211) for part in urlsplit(url).netloc.split(",")]
    # A client without a serde returns bytes and unpickles nothing. It must not mark servers as
    # dead by itself, with silent misses for up to a minute: the outage guard of the store does.
    client = HashClient(
        servers,
        connect_timeout=NETWORK_TIMEOUT,
        timeout=NETWORK_TIMEOUT,
        use_pooling=True,
        max_pool_size=64,
        retry_timeout=0,
        dead_timeout=0,
        # Wait for each answer: else every add() would seem to win, and no write to fail.
        default_noreply=False,
    )
    cache = MemcachedCache(servers=client)
    weakref.finalize(cache, _close_here, client, os.getpid())
    return cache


def _close_here(client: Any, process_id: int) -> None:
    """Close a client in the process that opened it; in a child its lock may be locked for ever."""
    if os.getpid() == process_id:
        client.close()


def _host_port(part: str, default: int) -> tuple[str, int]:
    host, _, port = part.partition(":")
    return host or "127.0.0.1", int(port or default)


def _dynamodb(url: str) -> BaseCache:
    from cachelib import DynamoDbCache

    try:
        cache = DynamoDbCache(table_name=urlsplit(url).netloc or "flask-anam")
    except RuntimeError:  # cachelib raises it when the package is missing
        raise ConfigError(_install("dynamodb://", "boto3")) from None
    cache.serializer = PlainJson()  # type: ignore[assignment]
    return cache


def _mongodb(url: str) -> BaseCache:
    from cachelib import MongoDbCache

    parts = urlsplit(url)
    options = parse_qs(parts.query)
    try:
        cache = MongoDbCache(
            client=url,
            db=parts.path.strip("/") or "flask_anam",
            collection=options.get("collection", ["tokens"])[0],
        )
    except RuntimeError:  # cachelib raises it when the package is missing
        raise ConfigError(_install("mongodb://", "pymongo")) from None
    cache.serializer = PlainJson()  # type: ignore[assignment]
    return cache


def _install(scheme: str, package: str) -> str:
    return f"ANAM_CACHE starts with {scheme}, which needs a package: pip install {package}"


_OPENERS: dict[str, Callable[[str], BaseCache]] = {
    "memory": _memory,
    "null": _null,
    "file": _file,
    "redis": _redis,
    "rediss": _redis,
    "memcached": _memcached,
    "dynamodb": _dynamodb,
    "mongodb": _mongodb,
}
