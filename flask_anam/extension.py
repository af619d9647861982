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
    """Session tokens for Anam personas, for a Flask app.

    Keeps declarations made in code (personas, loaders) and nothing of any app, so that one
    object may serve several apps. All methods are thread-safe once the app serves requests.

    Args:
        app: the app to set up now; else call `init_app` later.
        clock: time; tests pass one that they move by hand.

    """

    def __init__(self, app: Flask | None = None, *, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._declarations = Declarations()
        self._loaders = Loaders()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the configuration of an app, check it, and add routes, handlers and commands.

        Raises:
            ConfigError: a setting or persona is wrong, or the app is already set up. The text
                names the key and the cure.

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
        _warn_of_single_process_parts(settings)

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
        """Declare a persona that is made for each user, by decorating a callable.

        The callable gets the user object and returns a persona config. It runs at each request,
        so keep it quick; when it raises or returns nonsense the answer is ``persona_invalid``.

        Args:
            name: the persona type, 1 to 100 characters.
            permission: a permission needed besides ``anam:talk``.
            label: the name shown to people; made from `name` when not given.
            overrides: camelCase names of persona fields that a browser may set; as a mapping,
                with the bounds of each: True, a list of allowed values, or a mapping with
                ``min``, ``max`` or ``maxLength``.
            fallback: the persona type used while Anam does not know this persona.
            api_key: the key of this persona's account: a string, or a callable without arguments
                or of persona type and user. Default: ``ANAM_API_KEY``.

        Raises:
            ConfigError: the name is taken, or an argument is wrong.

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
        """Declare a persona, static (a mapping) or per user (a callable); see `persona`.

        Beside the fields of the persona config, `config` may hold ``sessionOptions``,
        ``clientLabel`` and ``environment``.

        Raises:
            ConfigError: the name is taken, an argument is wrong, or a static config is invalid.

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
        """Register a function that returns the user of the current request, or None.

        The default is Flask-Login's ``current_user``. A user needs ``get_id()`` or ``id``.
        """
        self._loaders.identity = function
        return function

    def permission_loader(self, function: F) -> F:
        """Register a function from the user to the permissions (strings) that the user holds.

        The default is ``anam:talk`` when ``user.can_access_personas`` is True, and whatever
        ``user.permissions`` holds.
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
        """Return a session token from code, in a request or outside one, in an app context.

        Permissions are the caller's business here; the user's token limit counts.

        Args:
            persona_type: which persona; the default one for None.
            user_id: who will get it; taken from `user` when not given. Without either, the token
                is neither stored nor counted against a limit.
            user: the user object, for a persona that is made for each user.
            slot: one browser tab, see the page on the token lifecycle.
            overrides: persona fields to set, of those that the persona allows.
            refused: token id of a token that failed to start, which must not come back.
            idempotency_key: the same key gets the same token for a minute.

        Raises:
            InvalidRequest, UnknownPersona: there is no such persona, or an override is wrong.
            PersonaInvalid: the persona's config is wrong.
            RateLimited: the user's token limit is used up.
            UpstreamError: Anam refused, failed or could not be reached.
            ConfigError: `user_id` is not a string, or the app is not set up.

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
        """Judge a session token; the result is truthy when it looks usable.

        Args:
            session_token: Anam's token.
            probe: False decodes the token here (shape, ``exp``, ``type``) and opens no session.
                True starts a session with it and stops that at once, within 5 seconds; that
                costs the token, which is said in ``.spent``.

        """
        state = get_state()
        status = check_token(session_token, state.clock.time())
        return probe_token(state, session_token, status) if probe and status else status

    def get_metrics(self) -> dict[str, object]:
        """Return the counters of this app; times in seconds.

        They are those of this process, or of all workers together when the environment variable
        ``PROMETHEUS_MULTIPROC_DIR`` names a folder and ``prometheus_client`` is installed.
        """
        return read_metrics(get_state())

    def stop_session(self, session_id: str) -> bool:
        """Stop a session at Anam, whoever of this app's users has it.

        Returns False when no user is known to have it, or Anam says it is not this app's.

        Raises:
            UpstreamError: Anam refused our key, or could not be asked.

        """
        return stop_any_session(get_state(), session_id)

    def stop_user_sessions(self, user_id: str) -> int:
        """Stop everything that a user has running at Anam; return how many sessions it was.

        Finds also those whose start no browser has reported.

        Raises:
            UpstreamError: Anam refused our key, or could not be asked.

        """
        return stop_sessions_of(get_state(), checked_user_id(user_id))

    def prometheus_collector(self, *apps: Flask) -> Collector:
        """Return what a Prometheus registry of your own may register.

        Where workers share ``PROMETHEUS_MULTIPROC_DIR`` it is empty, since there our counts are in
        that folder with those of everybody else.

        Args:
            apps: whose counters; the current app without any. Two need two names.

        Raises:
            ConfigError: ``prometheus_client`` is missing, an app is not set up, or two apps have
                one name.

        """
        return collector_of(*(get_state(app) for app in apps or (None,)))

    def clear_cache(self, *, persona_type: str | None = None, user_id: str | None = None) -> None:
        """Forget this app's stored tokens: all, or those of a persona or of a user.

        Tokens already handed out go on working. Nothing else in a shared cache is touched.
        """
        get_state().manager.clear(persona_type=persona_type, user_id=user_id)

    def browser_config(self) -> dict[str, object]:
        """Return what a page needs to know, safe to show: paths, and where the Anam API is."""
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


def _warn_of_single_process_parts(settings: Settings) -> None:
    """Warn where every worker keeps tokens of its own; limits warn at their first use."""
    if several_workers_are_likely() and settings.cache == "memory://":
        log.warning("ANAM_CACHE is memory://, so every worker keeps its own. Use redis://...")
