"""`FlaskAnam`: builds what one app needs and wires it together; it holds no business rules."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask

from flask_anam.auth import Loaders, checked_user_id, user_id_of
from flask_anam.cli.commands import make_cli
from flask_anam.core.clock import Clock
from flask_anam.core.config.api_keys import KeyRing, KeySource
from flask_anam.core.config.settings import Settings
from flask_anam.core.metrics.recorder import MetricsRecorder
from flask_anam.core.minting.issuance import IssuedToken
from flask_anam.core.personas.overrides import Bounds
from flask_anam.core.personas.persona import Declarations, Source, make_persona
from flask_anam.core.personas.registry import PersonaRegistry, check_static
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.tokens.token import TokenStatus, check_token
from flask_anam.errors import AnamError, ConfigError
from flask_anam.metrics.collector import collector_of, open_shared_backend, read_metrics
from flask_anam.rate_limits.storage import CounterStorage, several_workers_are_likely
from flask_anam.session_control import probe_token, stop_any_session, stop_sessions_of
from flask_anam.state import AnamState, get_state
from flask_anam.web.player import add_to_templates, page_config
from flask_anam.web.responses import error_response
from flask_anam.web.routes import make_blueprint
from flask_anam.wiring import configured_personas, open_sandbox, signing_secret, wire

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from flask_anam.sandbox import Sandbox

log = logging.getLogger("flask_anam")
F = TypeVar("F", bound=Callable[..., Any])


class FlaskAnam:
    """Flask extension: session tokens for Anam personas.

    It holds the declarations made in code (personas, loaders) and no state of an app: one object
    may serve several apps. All methods are thread-safe once the app serves requests. Those that
    declare nothing need an app context.

    Args:
        app: the app to set up now; else call `init_app` later.
        clock: source of time; tests pass a `flask_anam.testing.ManualClock`.

    Example:
        >>> app = Flask("shop")
        >>> app.config.update(ANAM_SANDBOX=True, SECRET_KEY="change me")
        >>> anam = FlaskAnam(app)
        >>> anam.add_persona("host", {"personaId": "071b0286-4cce-4808-bee2-e642f1062de3"})
        >>> with app.app_context():
        ...     anam.create_token("host").persona_type
        'host'

    """

    def __init__(self, app: Flask | None = None, *, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._declarations = Declarations()
        self._loaders = Loaders()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Validate the configuration of an app, and add routes, error handlers and commands to it.

        Raises:
            ConfigError: a setting or persona is invalid, or the app is already set up. The text
                names the key and the cure.

        Example:
            >>> app = Flask("another shop")
            >>> app.config.update(ANAM_SANDBOX=True, SECRET_KEY="change me")
            >>> anam.init_app(app)

        """
        if "anam" in app.extensions:
            raise ConfigError(
                "Flask-Anam is already set up on this app. Keep one FlaskAnam object per app."
            )
        settings = Settings.from_mapping(app.config)
        secret = signing_secret(app, settings)
        sandbox = open_sandbox(secret) if settings.sandbox else None
        if sandbox:
            # Asking for the key is what comes before each call, in whichever process makes it.
            settings = replace(
                settings, base_url=sandbox.url, api_key=lambda: sandbox.ensure_running().api_key
            )
            weakref.finalize(app, sandbox.stop)
        app.extensions["anam"] = self._build(app, settings, secret, sandbox)
        app.register_blueprint(make_blueprint(settings))
        app.register_error_handler(AnamError, error_response)
        app.cli.add_command(make_cli())
        add_to_templates(app)
        if several_workers_are_likely() and settings.cache == "memory://":
            log.warning("ANAM_CACHE is memory://, so every worker keeps its own. Use redis://...")

    def persona(
        self,
        name: str,
        *,
        permission: str | None = None,
        label: str | None = None,
        overrides: Iterable[str] | Mapping[str, Bounds] = (),
        fallback: str | None = None,
        api_key: KeySource | None = None,
    ) -> Callable[[F], F]:
        """Decorate a callable that returns the persona config of a user: a persona per user.

        The callable gets the user object and returns a mapping. It runs at each token request, so
        it should be fast; if it raises or returns an invalid config, the answer is
        ``persona_invalid``.

        Args:
            name: the persona type, 1 to 100 characters.
            permission: a permission needed besides ``anam:talk``.
            label: the name shown to people; made from `name` when not given.
            overrides: camelCase names of persona fields that a browser may set; as a mapping,
                with the bounds of each: True, a list of allowed values, or a mapping with
                ``min``, ``max`` or ``maxLength``.
            fallback: the persona type used while Anam does not know this persona; None for none.
            api_key: the key of this persona's account: a str, or a callable that returns one and
                takes no arguments or persona type and user. Default: ``ANAM_API_KEY``.

        Raises:
            ConfigError: the name is taken, or an argument is invalid.

        Example:
            >>> @anam.persona("coach", label="Your coach", fallback="support")
            ... def coach(user):
            ...     return {"personaId": user.coach_id, "maxSessionLengthSeconds": 600}

        """

        def wrap(function: F) -> F:
            self.add_persona(
                name,
                function,
                permission=permission,
                label=label,
                overrides=overrides,
                fallback=fallback,
                api_key=api_key,
            )
            return function

        return wrap

    @scrubs_traceback
    def add_persona(
        self,
        name: str,
        config: Source,
        *,
        permission: str | None = None,
        label: str | None = None,
        overrides: Iterable[str] | Mapping[str, Bounds] = (),
        fallback: str | None = None,
        api_key: KeySource | None = None,
    ) -> None:
        """Declare a persona: static (a mapping) or per user (a callable).

        `config` has the fields of `PersonaConfigSchema`, and may have ``sessionOptions``,
        ``clientLabel`` and ``environment`` beside them. The other arguments are those of `persona`.

        Raises:
            ConfigError: the name is taken, an argument is invalid, or a static config is.

        Example:
            >>> anam.add_persona("host", {"personaId": "071b0286-4cce-4808-bee2-e642f1062de3"})

        """
        persona = make_persona(
            name,
            config,
            permission=permission,
            label=label,
            overrides=overrides,
            fallback=fallback,
            api_key=api_key,
        )
        check_static(persona)
        self._declarations.add(persona)

    def identity_loader(self, function: F) -> F:
        """Decorate a function that returns the user of the current request, or None.

        The default is Flask-Login's ``current_user``. A user object needs ``get_id()`` or ``id``.

        Example:
            >>> from flask import g
            >>> @anam.identity_loader
            ... def current_member():
            ...     return g.get("member")

        """
        self._loaders.identity = function
        return function

    def permission_loader(self, function: F) -> F:
        """Decorate a function that returns the permissions (iterable of str) of a user object.

        The default is ``user.permissions``, and ``anam:talk`` if ``user.can_access_personas`` is
        True.

        Example:
            >>> @anam.permission_loader
            ... def permissions(member):
            ...     return ["anam:talk", *member.roles]

        """
        self._loaders.permissions = function
        return function

    def create_token(
        self,
        persona_type: str | None = None,
        *,
        user_id: str | None = None,
        user: Any = None,
        slot: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        refused: str | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedToken:
        """Return a session token, in a request or outside one.

        Permissions are not checked; the user's token limit applies.

        Args:
            persona_type: which persona; None for the default one.
            user_id: who will get it, 1 to 255 characters; by default that of `user`. Without
                either, the token is neither stored nor counted against a limit.
            user: the user object, for a persona per user.
            slot: the browser tab, see the page on the token lifecycle.
            overrides: persona fields to set, of those that the persona allows.
            refused: token id of a token that failed to start, which must not be reused.
            idempotency_key: equal keys get the same token for ``ANAM_IDEMPOTENCY_WINDOW`` seconds.

        Raises:
            UnknownPersona, InvalidRequest: there is no such persona, or an override is invalid.
            PersonaInvalid: the persona's config is invalid.
            RateLimited: the user's token limit is used up.
            UpstreamError: Anam refused, failed or could not be reached.
            ConfigError: `user_id` is invalid, or the app is not set up.

        Example:
            >>> issued = anam.create_token("support", user_id="7")
            >>> issued.persona_type, issued.reused
            ('support', False)

        """
        state = get_state()
        if user_id is not None:
            user_id = checked_user_id(user_id)
        elif user is not None:
            user_id = user_id_of(user)
        return state.issuer.issue(
            state.registry.choose(persona_type),
            user=user,
            user_id=user_id,
            overrides=overrides or {},
            slot=slot,
            refused=refused,
            idempotency_key=idempotency_key,
            quota=None if user_id is None else state.limits.quota(user_id, counts_request=False),
        )

    def validate_token(self, session_token: str, *, probe: bool = False) -> TokenStatus:
        """Check a session token; the result is truthy when the token looks usable.

        Args:
            session_token: Anam's token.
            probe: False decodes the token (shape, ``exp``, ``type``) only. True starts and stops
                a session with it, within 5 seconds, which uses the token up (``.spent``).

        Example:
            >>> bool(anam.validate_token(anam.create_token("support").session_token))
            True

        """
        state = get_state()
        status = check_token(session_token, state.clock.time())
        return probe_token(state, session_token, status) if probe and status else status

    def get_metrics(self) -> dict[str, object]:
        """Return the metrics of this app by name; times in seconds.

        They are those of this process, or of all workers when the environment variable
        ``PROMETHEUS_MULTIPROC_DIR`` names a folder and ``prometheus_client`` is installed.

        Example:
            >>> anam.get_metrics()["sessions_active"]
            0

        """
        return read_metrics(get_state())

    def stop_session(self, session_id: str) -> bool:
        """Stop a session of any user at Anam.

        Returns False when no user is recorded with it, or Anam answers that it is not this app's.

        Raises:
            UpstreamError: Anam refused our key, or could not be reached.

        Example:
            >>> anam.stop_session("11111111-2222-4333-8444-555555555555")
            False

        """
        return stop_any_session(get_state(), session_id)

    def stop_user_sessions(self, user_id: str) -> int:
        """Stop all sessions of a user at Anam; return how many were stopped.

        That includes sessions whose start no browser has reported.

        Raises:
            UpstreamError: Anam refused our key, or could not be reached.

        Example:
            >>> anam.stop_user_sessions("7")
            0

        """
        return stop_sessions_of(get_state(), checked_user_id(user_id))

    def prometheus_collector(self, *apps: Flask) -> Collector:
        """Return a collector of our metrics for a Prometheus registry of your own.

        It is empty where workers share ``PROMETHEUS_MULTIPROC_DIR``: that folder has the metrics.

        Args:
            apps: the apps to collect from, each with its own name; by default the current app.

        Raises:
            ConfigError: ``prometheus_client`` is missing, an app is not set up, or two apps have
                the same name.

        Example:
            >>> from prometheus_client import CollectorRegistry
            >>> CollectorRegistry().register(anam.prometheus_collector(app))

        """
        return collector_of(*(get_state(app) for app in apps or (None,)))

    def clear_cache(self, *, persona_type: str | None = None, user_id: str | None = None) -> None:
        """Invalidate this app's stored tokens: all, or those of a persona or of a user.

        Tokens already handed out keep working, and other entries of a shared cache stay.

        Example:
            >>> anam.clear_cache(user_id="7")

        """
        get_state().manager.clear(persona_type=persona_type, user_id=user_id)

    def browser_config(self) -> dict[str, object]:
        """Return the public configuration of a page: paths and the URL of the Anam API.

        Example:
            >>> anam.browser_config()["tokenPath"]
            '/api/session-token'

        """
        return page_config(get_state())

    @scrubs_traceback
    def _build(
        self, app: Flask, settings: Settings, secret: bytes, sandbox: Sandbox | None
    ) -> AnamState:
        return wire(
            app,
            settings,
            secret=secret,
            clock=self._clock,
            metrics_recorder=MetricsRecorder(open_shared_backend(app.name)),
            registry=PersonaRegistry(
                configured_personas(settings),
                self._declarations,
                default=settings.default_persona,
                system_prompt_max_length=settings.system_prompt_max_length,
                unknown_values=settings.unknown_values,
            ),
            loaders=self._loaders,
            app_keys=KeyRing(settings.api_key, "ANAM_API_KEY"),
            counters=CounterStorage(app, settings, self._clock),
            sandbox=sandbox,
            one_key=False,
        )
