"""Puts the parts of one app together, each made from the settings and from those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_anam.core.cache.backends import open_backend
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.minting.manager import SessionTokenManager
from flask_anam.core.tokens.store import TokenStore
from flask_anam.core.upstream.client import AnamClient
from flask_anam.core.upstream.concurrency import ConcurrencyMonitor
from flask_anam.core.upstream.transport import Transport
from flask_anam.core.usage.reconciler import Reconciler
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


def assemble(
    app: Flask,
    settings: Settings,
    *,
    secret: bytes,
    clock: Clock,
    metrics_recorder: MetricsRecorder,
    registry: PersonaRegistry,
    loaders: Loaders,
    keys: KeyRing,
    sandbox: Sandbox | None,
    counts_for: Flask,
    kind: type[AnamState] = AnamState,
) -> AnamState:
    """Return the state of an app; nothing is connected to before it is used.

    Args:
        app: the app.
        settings: checked settings.
        secret: what cache keys and signatures of entries are made with.
        clock: time.
        metrics_recorder: counts what happens.
        registry: the personas.
        loaders: the host's own loaders.
        keys: the API key of the app.
        sandbox: in place of Anam, if any.
        counts_for: the app whose Flask-Limiter lends its storage.
        kind: the class of the state.

    Raises:
        ConfigError: the cache, the storage of the limits or the database cannot be used.

    """
    hide = KeyHasher(secret)
    timeouts = {"connect_timeout": settings.connect_timeout, "read_timeout": settings.read_timeout}
    client = AnamClient(
        Transport(settings.base_url, pool_size=settings.max_in_flight, **timeouts),
        clock=clock,
        max_attempts=settings.max_attempts,
        max_in_flight=settings.max_in_flight,
        observer=metrics_recorder,
    )
    counters = CounterStorage(counts_for, settings, clock)
    concurrency = ConcurrencyMonitor(client, hide, clock)
    recorder = make_recorder(app, settings, hide, clock, metrics_recorder)
    announcer = EventPublisher(app, metrics_recorder, recorder)
    reconciler = Reconciler(
        client, recorder, clock, lambda: Deadline.after(clock, settings.deadline)
    )
    return kind(
        app=app,
        settings=settings,
        registry=registry,
        loaders=loaders,
        keys=keys,
        client=client,
        manager=SessionTokenManager(
            client=client,
            store=TokenStore(open_backend(settings.cache, clock), secret, clock),
            keys=hide,
            settings=settings,
            clock=clock,
            observer=announcer,
            recorder=recorder,
            caretaker=reconciler,
            precheck=concurrency.raise_if_full if settings.concurrency_precheck else None,
        ),
        recorder=recorder,
        reconciler=reconciler,
        concurrency=concurrency,
        metrics_recorder=metrics_recorder,
        limits=UserRateLimits(settings, counters, hide, clock, announcer.limit_reached),
        clock=clock,
        sandbox=sandbox,
    )
