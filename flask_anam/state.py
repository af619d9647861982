"""What Flask-Anam keeps for one app: a frozen record in ``app.extensions["anam"]``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flask import current_app, request

from flask_anam import signals
from flask_anam.auth import Caller, Loaders, load_caller
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.minting.manager import IssuedToken
from flask_anam.core.tokens.reuse_policy import TokenRequest
from flask_anam.errors import AnamRejected, ConfigError

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.core.config.api_keys import KeyRing
    from flask_anam.core.config.settings import Settings
    from flask_anam.core.metrics.recorder import MetricsRecorder
    from flask_anam.core.minting.manager import SessionTokenManager
    from flask_anam.core.personas.persona import Persona
    from flask_anam.core.personas.registry import PersonaRegistry
    from flask_anam.core.upstream.client import AnamClient
    from flask_anam.core.upstream.concurrency import ConcurrencyMonitor
    from flask_anam.core.usage.reconciler import Reconciler
    from flask_anam.core.usage.recorder import UsageRecorder
    from flask_anam.rate_limits.limiter import RequestQuota, UserRateLimits
    from flask_anam.sandbox import Sandbox


#: Where a request keeps who is calling.
_CALLER = "_flask_anam_caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnamState:
    """Everything of one app. Never changes after ``init_app``; its parts are thread-safe."""

    app: Flask = field(repr=False)
    settings: Settings
    registry: PersonaRegistry
    loaders: Loaders
    keys: KeyRing = field(repr=False)
    client: AnamClient = field(repr=False)
    manager: SessionTokenManager = field(repr=False)
    concurrency: ConcurrencyMonitor = field(repr=False)
    metrics_recorder: MetricsRecorder = field(repr=False)
    limits: UserRateLimits = field(repr=False)
    recorder: UsageRecorder = field(repr=False)
    reconciler: Reconciler = field(repr=False)
    clock: Clock = field(repr=False)
    sandbox: Sandbox | None = None

    def caller(self) -> Caller:
        """Return who is calling, loaded once per request.

        Raises:
            Unauthenticated: nobody is logged in.

        """
        # Kept on the request: `g` outlives it where an app context was pushed for good.
        caller: Caller | None = getattr(request, _CALLER, None)
        if caller is None:
            caller = load_caller(self.loaders)
            setattr(request, _CALLER, caller)
        return caller

    def metrics(self) -> dict[str, object]:
        """Return the counters of this process, and how many sessions run as far as is known."""
        active = self.recorder.active()
        return self.metrics_recorder.metrics() | (
            {} if active is None else {"sessions_active": active}
        )

    def deadline(self) -> Deadline:
        """Return the deadline of a request that begins now."""
        return Deadline.after(self.clock, self.settings.deadline)

    def issue_token(
        self,
        persona: Persona,
        *,
        user: object,
        user_id: str | None,
        overrides: Mapping[str, object],
        slot: str | None = None,
        idempotency_key: str | None = None,
        refused: str | None = None,
        allowance: RequestQuota | None = None,
    ) -> IssuedToken:
        """Hand out a token for a persona.

        With an `allowance` the request is counted against it, once the persona is known to be
        valid; without one only the token limit of the user counts.
        """
        counted = allowance or (self.limits.allowance(user_id) if user_id is not None else None)
        request = TokenRequest(
            user_id=user_id,
            persona_type=persona.name,
            body=self.registry.body_for(persona, user, overrides),
            api_key=self.api_key(persona, user),
            slot=slot,
            idempotency_key=idempotency_key,
            refused=refused,
            has_fallback=persona.fallback is not None,
            limit=counted.charged if counted else nullcontext,
        )
        first = self.manager.first_look(request)
        if allowance is not None:
            allowance.admit(first and first.glance)
        try:
            return self.manager.create_token(request, first)
        except AnamRejected as error:
            fallback = self.registry.fallback_of(persona) if error.persona_missing else None
            if fallback is None:
                raise
            facts = {"persona_type": persona.name, "fallback": fallback.name}
            signals.send(signals.persona_missing, self.app, user_id=user_id, **facts)
            # The browser chose its overrides for the other persona: this one allows some of them.
            kept = {k: v for k, v in overrides.items() if fallback.allows(k, v)}
            other = replace(
                request,
                persona_type=fallback.name,
                body=self.registry.body_for(fallback, user, kept),
                api_key=self.api_key(fallback, user),
                has_fallback=fallback.fallback is not None,
            )
            return self.manager.create_token(other)

    def api_key(self, persona: Persona | None = None, user: object = None) -> str:
        """Return the API key for a persona and user, or that of the app.

        Raises:
            AnamAuthError: it comes from a callable that raised or returned no key.

        """
        keys = persona.keys if persona and persona.keys else self.keys
        return keys.key_for(persona.name if persona else None, user)


def get_state(app: Flask | None = None) -> AnamState:
    """Return the state of an app, by default the current one.

    Raises:
        ConfigError: Flask-Anam is not set up on it.

    """
    state = (app or current_app).extensions.get("anam")
    if not isinstance(state, AnamState):
        raise ConfigError("Flask-Anam is not set up on this app. Call FlaskAnam(app) first.")
    return state
