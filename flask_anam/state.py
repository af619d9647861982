"""Application state: the frozen record of one app in ``app.extensions["anam"]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import current_app

from flask_anam.core.clock import Clock, Deadline
from flask_anam.errors import ConfigError

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.auth import Loaders
    from flask_anam.core.config.settings import Settings
    from flask_anam.core.metrics.recorder import MetricsRecorder
    from flask_anam.core.minting.manager import SessionTokenManager, TokenIssuer
    from flask_anam.core.personas.registry import PersonaRegistry
    from flask_anam.core.upstream.client import AnamClient
    from flask_anam.core.upstream.concurrency import ConcurrencyMonitor
    from flask_anam.core.usage.reconciler import Reconciler
    from flask_anam.core.usage.recorder import UsageRecorder
    from flask_anam.rate_limits.limiter import UserRateLimits
    from flask_anam.sandbox import Sandbox
    from flask_anam.signals import EventPublisher


@dataclass(frozen=True, slots=True, kw_only=True)
class AnamState:
    """Everything of one app. Never changes after ``init_app``; its parts are thread-safe."""

    app: Flask = field(repr=False)
    settings: Settings
    registry: PersonaRegistry
    loaders: Loaders
    client: AnamClient = field(repr=False)
    issuer: TokenIssuer = field(repr=False)
    manager: SessionTokenManager = field(repr=False)
    concurrency: ConcurrencyMonitor = field(repr=False)
    metrics_recorder: MetricsRecorder = field(repr=False)
    events: EventPublisher = field(repr=False)
    limits: UserRateLimits = field(repr=False)
    recorder: UsageRecorder = field(repr=False)
    reconciler: Reconciler = field(repr=False)
    clock: Clock = field(repr=False)
    sandbox: Sandbox | None = None

    def deadline(self) -> Deadline:
        """Return the deadline of a request that begins now."""
        return Deadline.after(self.clock, self.settings.deadline)


def get_state(app: Flask | None = None) -> AnamState:
    """Return the state of an app, by default the current one.

    Raises:
        ConfigError: Flask-Anam is not set up on it.

    """
    state = (app or current_app).extensions.get("anam")
    if not isinstance(state, AnamState):
        raise ConfigError("Flask-Anam is not set up on this app. Call FlaskAnam(app) first.")
    return state
