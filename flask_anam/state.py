"""What Flask-Anam keeps for one app: a frozen record in ``app.extensions["anam"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from flask import current_app, g

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.manager import IssuedToken, TokenRequest
from flask_anam.errors import ConfigError
from flask_anam.identity import Caller, Loaders, load_caller

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.core.client import AnamClient
    from flask_anam.core.manager import SessionTokenManager
    from flask_anam.core.personas import Persona, PersonaRegistry
    from flask_anam.core.settings import Settings
    from flask_anam.core.usage import UsageCounters
    from flask_anam.ratelimit import UserLimit
    from flask_anam.sandbox import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class AnamState:
    """Everything of one app. Never changes after ``init_app``; its parts are thread-safe."""

    app: Flask = field(repr=False)
    settings: Settings
    registry: PersonaRegistry
    loaders: Loaders
    client: AnamClient = field(repr=False)
    manager: SessionTokenManager = field(repr=False)
    usage: UsageCounters = field(repr=False)
    token_limit: UserLimit = field(repr=False)
    request_limit: UserLimit = field(repr=False)
    clock: Clock = field(repr=False)
    sandbox: Sandbox | None = None

    def caller(self) -> Caller:
        """Return who is calling, loaded once per request.

        Raises:
            Unauthenticated: nobody is logged in.

        """
        caller: Caller | None = g.get("_anam_caller")
        if caller is None:
            caller = g._anam_caller = load_caller(self.loaders)  # noqa: SLF001 - our own name
        return caller

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
        before: Callable[[], object] = lambda: None,
    ) -> IssuedToken:
        """Hand out a token for a persona; `before` runs when the persona is known to be valid."""
        body = self.registry.body_for(persona, user, overrides)
        before()
        limit = nullcontext if user_id is None else partial(self.token_limit.charged, user_id)
        return self.manager.create_token(
            TokenRequest(
                user_id=user_id,
                persona_type=persona.name,
                body=body,
                slot=slot,
                idempotency_key=idempotency_key,
                refused=refused,
                limit=limit,
            )
        )


def get_state(app: Flask | None = None) -> AnamState:
    """Return the state of an app, by default the current one.

    Raises:
        ConfigError: Flask-Anam is not set up on it.

    """
    state = (app or current_app).extensions.get("anam")
    if not isinstance(state, AnamState):
        raise ConfigError("Flask-Anam is not set up on this app. Call FlaskAnam(app) first.")
    return state
