"""Composition root: makes the parts of one app from its settings, and puts them together."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from flask_anam.core.cache.backends import is_shared, open_backend
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.minting.manager import SessionTokenManager, TokenIssuer
from flask_anam.core.personas.files import read_personas
from flask_anam.core.redaction import SecretBytes
from flask_anam.core.tokens.store import TokenStore
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.concurrency import ConcurrencyMonitor
from flask_anam.core.upstream.transport import Transport
from flask_anam.core.usage.reconciler import Reconciler
from flask_anam.errors import ConfigError
from flask_anam.rate_limits.limiter import UserRateLimits
from flask_anam.rate_limits.storage import CounterStorage
from flask_anam.session_control import make_recorder
from flask_anam.signals import EventPublisher
from flask_anam.state import AnamState

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.auth import Loaders
    from flask_anam.core.config.api_keys import KeyRing
    from flask_anam.core.config.settings import Settings
    from flask_anam.core.metrics.recorder import MetricsRecorder
    from flask_anam.core.personas.registry import PersonaRegistry
    from flask_anam.sandbox import Sandbox

log = logging.getLogger("flask_anam")


def configured_personas(settings: Settings) -> dict[str, object]:
    """Return the personas of ANAM_PERSONAS and of ANAM_PERSONAS_FILE.

    Raises:
        ConfigError: a file is wrong, or a persona is in both places.

    """
    in_files = read_personas(settings.personas_file) if settings.personas_file else {}
    twice = sorted(set(in_files) & set(settings.personas))
    if twice:
        raise ConfigError(
            f"Persona {twice[0]!r} is both in ANAM_PERSONAS and in ANAM_PERSONAS_FILE. "
            "Remove one of the two."
        )
    return {**settings.personas, **in_files}


def signing_secret(app: Flask, settings: Settings) -> bytes:
    """Return the secret that signs cache keys and values: the app's ``SECRET_KEY``.

    Raises:
        ConfigError: there is none, and the cache or the counters are shared between processes.

    """
    secret = app.secret_key
    if secret:
        return SecretBytes(secret.encode() if isinstance(secret, str) else secret)
    limits_shared = settings.rate_limit_storage_uri != "memory://"
    if limits_shared or is_shared(settings.cache):
        key = "ANAM_RATE_LIMIT_STORAGE_URI" if limits_shared else "ANAM_CACHE"
        raise ConfigError(
            f"SECRET_KEY must be set, since {key} is shared between processes and its entries "
            "are signed or named with it. Set app.secret_key before init_app()."
        )
    return SecretBytes(secrets.token_bytes(32))


def open_sandbox(secret: bytes) -> Sandbox:
    """Return a sandbox that takes the place of Anam, and log a warning."""
    from flask_anam.sandbox import Sandbox  # an app in production never needs it

    log.warning(
        "ANAM_SANDBOX is on: a local stand-in takes the place of Anam. ANAM_API_KEY and "
        "ANAM_BASE_URL are not used."
    )
    keys = KeyHasher(secret)
    # Made from the app's secret, so that several workers accept each other's tokens.
    return Sandbox(api_key=keys("sandbox-key")[-24:], token_secret=keys("sandbox-secret"))


def wire(
    app: Flask,
    settings: Settings,
    *,
    secret: bytes,
    clock: Clock,
    metrics_recorder: MetricsRecorder,
    registry: PersonaRegistry,
    loaders: Loaders,
    app_keys: KeyRing,
    counters: CounterStorage,
    sandbox: Sandbox | None,
    one_key: bool,
) -> AnamState:
    """Return the state of an app; nothing is connected to before it is used.

    Args:
        app: the app.
        settings: checked settings.
        secret: what cache keys and signatures of entries are made with.
        clock: time.
        metrics_recorder: counts events for the metrics.
        registry: the personas.
        loaders: the host's own loaders.
        app_keys: the API key of the app.
        counters: the storage of the rate limits.
        sandbox: in place of Anam, if any.
        one_key: whether personas' own API keys are ignored.

    Raises:
        ConfigError: the cache or the database cannot be used.

    """
    keys = KeyHasher(secret)
    timeouts = {"connect_timeout": settings.connect_timeout, "read_timeout": settings.read_timeout}
    client = AnamClient(
        Transport(settings.base_url, pool_size=settings.max_in_flight, **timeouts),
        clock=clock,
        max_attempts=settings.max_attempts,
        max_in_flight=settings.max_in_flight,
        observer=metrics_recorder,
    )
    concurrency = ConcurrencyMonitor(client, keys, clock)
    recorder = make_recorder(app, settings, keys, clock, metrics_recorder)
    events = EventPublisher(app, metrics_recorder, recorder.counts)
    reconciler = Reconciler(
        client, recorder, clock, lambda: Deadline.after(clock, settings.deadline)
    )
    manager = SessionTokenManager(
        client=client,
        store=TokenStore(open_backend(settings.cache, clock), secret, clock),
        keys=keys,
        settings=settings,
        clock=clock,
        events=events,
        recorder=recorder,
        reconciler=reconciler,
        concurrency=concurrency if settings.concurrency_precheck else None,
    )
    return AnamState(
        app=app,
        settings=settings,
        registry=registry,
        loaders=loaders,
        client=client,
        issuer=TokenIssuer(
            registry=registry, app_keys=app_keys, manager=manager, events=events, one_key=one_key
        ),
        manager=manager,
        concurrency=concurrency,
        metrics_recorder=metrics_recorder,
        events=events,
        limits=UserRateLimits(settings, counters, keys, clock, events.limit_reached),
        recorder=recorder,
        reconciler=reconciler,
        clock=clock,
        sandbox=sandbox,
    )
