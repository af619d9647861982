"""Security audit of the configuration that an app runs with.

``flask anam doctor`` prints the findings. Nothing is sent to Anam. One CORS preflight request is
sent to the app itself, in this process, as a browser on a foreign page would send it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cachelib.base import BaseCache
from cachelib.serializers import BaseSerializer, JSONSerializer

from flask_anam.core.cache.backends import is_shared
from flask_anam.core.upstream.account_check import Finding

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.core.config.settings import Settings
    from flask_anam.state import AnamState

#: Characters that a secret key must have at least.
MIN_KEY_LENGTH = 16
#: Different characters that a secret key must have at least.
MIN_KEY_VARIETY = 8
#: Prefixes of environment variables that front-end build tools put into public pages.
PUBLIC_PREFIXES = ("NEXT_PUBLIC_", "VITE_", "REACT_APP_", "PUBLIC_", "EXPO_PUBLIC_", "GATSBY_")
#: An origin that no app allows on purpose.
UNKNOWN_ORIGIN = "https://stranger.invalid"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_NEW_KEY = "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def examine(app: Flask, state: AnamState, *, workers: int | None) -> list[Finding]:
    """Return dangerous settings ("error"), doubtful ones ("warning") and good ones ("ok").

    Args:
        app: the app, with the extension initialised.
        state: the state of the extension for this app.
        workers: number of processes that serve the app; None takes it from the environment.

    """
    context = _Context(
        app, state, state.settings, workers_from_environment() if workers is None else workers
    )
    checks = (_debug, _secret_key, _cookies, _sandbox, _api_key, _origins, _reuse, _limits, _cache)
    return [finding for check in checks for finding in check(context)]


def workers_from_environment() -> int:
    """Return the number of workers that the environment sets for a server; 1 if it sets none."""
    options = re.search(
        r"(?:--workers[ =]|-w ?)([0-9]{1,4})", os.environ.get("GUNICORN_CMD_ARGS", "")
    )
    text = options[1] if options else os.environ.get("WEB_CONCURRENCY", "")
    return max(1, int(text)) if text.isascii() and text.isdecimal() else 1


@dataclass(frozen=True, slots=True)
class _Context:
    """Audit context: what the checks look at."""

    app: Flask
    state: AnamState
    settings: Settings
    workers: int

    @property
    def in_development(self) -> bool:
        """Whether the app runs in debug mode or in a test, where some risks are acceptable."""
        return self.app.debug or self.app.testing


def _debug(context: _Context) -> Iterator[Finding]:
    if context.app.debug:
        yield Finding(
            "error",
            "debug mode",
            "is on: the debugger runs code that a visitor types, and error pages show source. "
            "Turn it off where others can reach the app: no --debug, no FLASK_DEBUG.",
        )
    else:
        yield Finding("ok", "debug mode", "is off")


def _secret_key(context: _Context) -> Iterator[Finding]:
    key = context.app.secret_key
    if not key:
        yield Finding(
            "error",
            "SECRET_KEY",
            f"is not set: nobody can log in, and limits start again at each restart. {_NEW_KEY}",
        )
    elif len(key) < MIN_KEY_LENGTH or len(set(key)) < MIN_KEY_VARIETY:
        yield Finding(
            "error",
            "SECRET_KEY",
            "can be guessed: logins and stored tokens are signed with it. It should be "
            f"{MIN_KEY_LENGTH} or more random characters. {_NEW_KEY}",
        )
    else:
        yield Finding("ok", "SECRET_KEY", "is set and long enough")


def _cookies(context: _Context) -> Iterator[Finding]:
    if context.state.loaders.identity is not None:
        return  # the app identifies its users in its own way
    cookie = "the session cookie"
    fine = Finding("ok", cookie, "is Secure, HttpOnly and SameSite")
    yield from list(_cookie_findings(context.app.config, cookie)) or [fine]


def _cookie_findings(config: Any, cookie: str) -> Iterator[Finding]:
    if not config["SESSION_COOKIE_SECURE"]:
        text = "is sent over plain http too, where it can be read. Set SESSION_COOKIE_SECURE = True"
        yield Finding("error", cookie, f"{text} where the app is served over https.")
    if not config["SESSION_COOKIE_HTTPONLY"]:
        text = "can be read by any script on a page. Set SESSION_COOKIE_HTTPONLY = True."
        yield Finding("error", cookie, text)
    same_site = config["SESSION_COOKIE_SAMESITE"]
    if same_site is None or str(same_site).lower() == "none":
        yield Finding(
            "warning",
            cookie,
            "goes along with requests from other sites. Flask-Anam refuses those on its own "
            'routes; your forms may not. Set SESSION_COOKIE_SAMESITE = "Lax", unless a page of '
            "another site must log in.",
        )


def _sandbox(context: _Context) -> Iterator[Finding]:
    if context.settings.sandbox and not context.in_development:
        yield Finding(
            "error",
            "ANAM_SANDBOX",
            "is on outside debug mode: visitors talk to a stand-in, and its API listens on this "
            "machine. Set ANAM_API_KEY and leave ANAM_SANDBOX out.",
        )
    elif context.settings.sandbox:
        yield Finding("ok", "ANAM_SANDBOX", "is on, for development")
    elif urlsplit(context.settings.base_url).scheme == "http":
        yield Finding(
            "warning",
            "ANAM_BASE_URL",
            "is plain http to this machine: a program that listens there gets the API key. Use "
            "https://api.anam.ai unless that is your sandbox.",
        )
    else:
        yield Finding("ok", "ANAM_BASE_URL", "is https")


def _api_key(context: _Context) -> Iterator[Finding]:
    key = context.settings.api_key
    if context.settings.sandbox or not isinstance(key, str):
        return
    for name, value in sorted(os.environ.items()):
        if value == key and name.startswith(PUBLIC_PREFIXES):
            yield Finding(
                "error",
                name,
                "holds the API key, and front-end tools put variables of such names into their "
                "pages. Rename it, rebuild the pages, and replace the key at lab.anam.ai.",
            )


def _origins(context: _Context) -> Iterator[Finding]:
    name = "ANAM_ALLOWED_ORIGINS"
    for origin in sorted(context.settings.allowed_origins):
        parts = urlsplit(origin)
        if parts.hostname in _LOOPBACK:
            if not context.in_development:
                text = f"lists {origin}, a page on the visitor's own machine. Remove it here."
                yield Finding("warning", name, text)
        elif parts.scheme == "http":
            text = f"lists {origin}: anybody on its network can inject scripts. Use https."
            yield Finding("error", name, text)
    if _allows_unknown_origin(context):
        yield Finding(
            "error",
            "CORS",
            "lets every page read answers with the visitor's cookies "
            f"({UNKNOWN_ORIGIN} was allowed). That comes from your app, for instance "
            "from Flask-CORS with supports_credentials and origins of '*'. "
            "List the origins you mean.",
        )
    else:
        yield Finding("ok", "CORS", "pages of unknown origins may not read answers with cookies")


def _allows_unknown_origin(context: _Context) -> bool:
    """Whether the app allows an unknown origin, whichever extension sets the CORS headers."""
    preflight = {"Origin": UNKNOWN_ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = context.app.test_client().options(context.settings.token_path, headers=preflight)
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    with_cookies = answer.headers.get("Access-Control-Allow-Credentials") == "true"
    return allowed == UNKNOWN_ORIGIN and with_cookies


def _reuse(context: _Context) -> Iterator[Finding]:
    mode = context.settings.token_reuse
    if mode == "until_expiry":
        yield Finding(
            "warning",
            "ANAM_TOKEN_REUSE",
            "is until_expiry: a token that was used is handed out again. That is right only for "
            "accounts whose tokens may start several sessions; otherwise leave it out.",
        )
    else:
        yield Finding("ok", "ANAM_TOKEN_REUSE", f"is {mode}")


def _limits(context: _Context) -> Iterator[Finding]:
    name, n = "the limits", context.workers
    cure = "set ANAM_RATE_LIMIT_STORAGE_URI, or the storage_uri of your Limiter, to redis://..."
    if context.state.limits.counters.are_shared:
        yield Finding("ok", name, "are counted for all workers together")
    elif n > 1:
        text = f"are counted in each process: {n} workers allow {n} times as much."
        yield Finding("error", name, f"{text} To cure it, {cure}")
    else:
        text = "are counted in this process only. That is right for one worker; for more,"
        yield Finding("warning", name, f"{text} {cure}")
    if context.settings.limiter_on_error == "open":
        yield Finding(
            "warning",
            "ANAM_LIMITER_ON_ERROR",
            "is open: anybody who can stop the storage can mint without limit. Remove it, or set "
            'it to "closed".',
        )


def _unpickles(cache: BaseCache) -> bool:
    serializer = getattr(cache, "serializer", None)
    return isinstance(serializer, BaseSerializer) and not isinstance(serializer, JSONSerializer)


def _cache(context: _Context) -> Iterator[Finding]:
    cache, name = context.settings.cache, "ANAM_CACHE"
    if context.workers > 1 and not is_shared(cache):
        text = "is the memory of one process: each worker mints its own tokens. Use redis://..."
        yield Finding("warning", name, text)
    if isinstance(cache, BaseCache):
        if is_shared(cache) and _unpickles(cache):
            yield Finding(
                "warning",
                name,
                "is a cachelib object that unpickles: anybody who can write to it can run code in "
                "your app. Use the URL of the cache instead, or protect it like the code.",
            )
        return
    parts = urlsplit(cache)
    if parts.scheme in {"redis", "memcached"} and parts.hostname not in _LOOPBACK:
        yield Finding(
            "warning",
            name,
            "is reached without TLS: anybody on that network can read session tokens. Use "
            "rediss://..., or a network of your own.",
        )
