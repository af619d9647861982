"""What the tests of the pure core share: a frozen clock and clients on a real sandbox."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from cachelib import SimpleCache
from cachelib.base import BaseCache
from hosts import KEY, MINT, PERSONA
from marshmallow import Schema, ValidationError

from flask_anam.core.cache.backends import Backend
from flask_anam.core.cache.locks import NoLease
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.metrics.recorder import MetricsRecorder
from flask_anam.core.minting.issuance import Issuance, IssuedToken
from flask_anam.core.minting.manager import SessionTokenManager
from flask_anam.core.personas.mint_body import MintBody
from flask_anam.core.personas.persona import Declarations, Persona
from flask_anam.core.personas.registry import PersonaRegistry
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.core.tokens.reuse_policy import TokenRequest
from flask_anam.core.tokens.store import DeferredLookup, TokenStore
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.transport import Transport
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.recorder import UsageRecorder
from flask_anam.errors import AnamError
from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog
from flask_anam.testing import ManualClock

UUID = catalog.OTHER_AVATAR_ID
BODY = {"personaConfig": PERSONA}


def jwt(**claims: object) -> str:
    """Return an unsigned JSON Web Token with these claims."""
    return ".".join(_part(part) for part in ({"alg": "none"}, claims)) + ".c2ln"


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def messages(data: Any, schema: Schema | None = None) -> dict[str, Any]:
    """Return what a schema says against some data."""
    with pytest.raises(ValidationError) as caught:
        (schema or PersonaConfigSchema()).load(data)
    result = caught.value.messages
    assert isinstance(result, dict)
    return result


def registry(configured: dict[str, object], *declared: Persona, **options: Any) -> PersonaRegistry:
    """Return a registry of configured and declared personas."""
    declarations = Declarations()
    for persona in declared:
        declarations.add(persona)
    return PersonaRegistry(configured, declarations, **options)


def body_of(personas: PersonaRegistry, name: str, user: object = None, /, **overrides: Any) -> Any:
    """Return the body for a persona."""
    return personas.body_for(personas.choose(name), user, overrides)


@pytest.fixture
def deadline(clock: ManualClock) -> Deadline:
    """Return the deadline of a request that began now."""
    return Deadline.after(clock, 8.0)


ClientMaker = Callable[..., AnamClient]


@pytest.fixture
def make_client(sandbox: Sandbox, clock: ManualClock) -> Iterator[ClientMaker]:
    """Return a maker of clients on the sandbox; all are closed after the test."""
    made: list[AnamClient] = []

    def make(
        *,
        base_url: str | None = None,
        read_timeout: float = 3.0,
        **options: Any,
    ) -> AnamClient:
        transport = Transport(
            base_url or sandbox.url, connect_timeout=1.0, read_timeout=read_timeout, pool_size=32
        )
        options = {"max_attempts": 3, "max_in_flight": 32, "observer": MetricsRecorder(), **options}
        made.append(AnamClient(transport, clock=clock, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


SECRET = b"app secret"
STATIC = MintBody.of(BODY)


class Events:
    """An event sink that keeps what it receives."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def token_issued(self, request: TokenRequest, issuance: Issuance, seconds: float) -> None:
        self.log.append((issuance.source, issuance.token.id))

    def token_failed(self, request: TokenRequest, error: AnamError, seconds: float) -> None:
        self.log.append(("failed", error.code))

    def persona_missing(self, request: TokenRequest, fallback: str) -> None:
        self.log.append(("persona_missing", fallback))


class TokenLimit:
    """A quota whose token limit is a context manager; it counts no requests."""

    def __init__(self, charge: Callable[[], AbstractContextManager[object]]) -> None:
        self._charge = charge

    def charge(self, is_final: Callable[[BaseException], bool]) -> AbstractContextManager[object]:
        """Enter the limit."""
        return self._charge()

    def admit(self, lookup: DeferredLookup | None) -> None:
        """Count nothing."""


class Broken(BaseCache):
    """A cache whose every operation fails."""

    def get_many(self, *keys: str) -> list[Any]:
        raise ConnectionError

    def get(self, key: str) -> Any:
        raise ConnectionError

    def set(self, *args: Any, **kwargs: Any) -> bool | None:
        raise ConnectionError


def store_on(cache: BaseCache, clock: Clock, secret: bytes = SECRET) -> TokenStore:
    """Return a store on a cache that processes do not agree through."""
    return TokenStore(Backend(cache, NoLease()), secret, clock)


class ManagerHarness:
    """A manager with all its real parts, and short ways to ask it."""

    def __init__(self, make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock) -> None:
        self._make_client = make_client
        self.sandbox = sandbox
        self.clock = clock
        self.events = Events()
        self.cache: BaseCache = SimpleCache()

    def manager(self, api_key: Callable[[], str] = lambda: KEY, **config: Any) -> None:
        self._api_key = api_key
        settings = Settings.from_mapping({"ANAM_API_KEY": "k", **config})
        keys = KeyHasher(SECRET)
        self.recorder = UsageRecorder(
            MemorySessionStore(),
            settings=settings,
            keys=keys,
            clock=self.clock,
            on_lost=lambda number: None,
        )
        self._manager = SessionTokenManager(
            client=self._make_client(),
            store=store_on(self.cache, self.clock),
            keys=keys,
            settings=settings,
            clock=self.clock,
            events=self.events,
            recorder=self.recorder,
            reconciler=None,
            concurrency=None,
        )

    def ask(
        self,
        user_id: str | None = "1",
        body: MintBody = STATIC,
        limit: Callable[[], AbstractContextManager[object]] | None = None,
        **more: Any,
    ) -> IssuedToken:
        more = {"persona_type": "support", "api_key": self._api_key(), **more}
        account = self._manager.account_of(more["api_key"])
        request = TokenRequest(user_id=user_id, body=body, account=account, **more)
        return self._manager.create_token(request, TokenLimit(limit) if limit else None)

    def started(self, user_id: str, token_id: str) -> bool:
        return self._manager.report_started(user_id, token_id)

    def clear(self, **which: str) -> None:
        self._manager.clear(**which)

    @property
    def mints(self) -> int:
        return self.sandbox.ledger.count(MINT)


@pytest.fixture
def harness(make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock) -> ManagerHarness:
    """Return a manager with the default settings."""
    made = ManagerHarness(make_client, sandbox, clock)
    made.manager()
    return made
