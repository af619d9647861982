"""Settings: one table with key, type, unit, default, validator and help of each.

The fields of `Settings` define the frozen record, the start-up errors and the configuration page
of the docs. The key of a field is ``ANAM_`` and its name in capitals.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from cachelib.base import BaseCache

from flask_anam.core.config import validators
from flask_anam.core.config.api_keys import KeySource
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.errors import ConfigError


def setting(
    validator: validators.Validator,
    *,
    default: object,
    help: str,  # noqa: A002 - the table's own word
    type: str,  # noqa: A002
    unit: str = "",
    secret: bool = False,
) -> Any:
    """Return a field of `Settings`; `default` is validated like any other value."""
    facts = {
        "validator": validator,
        "default": default,
        "help": help,
        "type": type,
        "unit": unit,
        "secret": secret,
    }
    return field(repr=not secret, metadata=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Validated settings of one app, made by `from_mapping`. Immutable; its repr has no secret."""

    api_key: KeySource = setting(
        validators.api_key,
        default=None,
        secret=True,
        type="str or callable",
        help="Your Anam API key; or a callable that returns it, without arguments (for rotation) "
        "or of persona type and user (for several accounts).",
    )
    base_url: str = setting(
        validators.http_url,
        default="https://api.anam.ai",
        type="str",
        help="Where the Anam API is; https, except on the loopback address.",
    )
    sandbox: bool = setting(
        validators.boolean,
        default=False,
        type="bool",
        help="True runs the sandbox in this process in place of Anam; it needs no API key.",
    )
    personas: dict[str, Mapping[str, Any]] = setting(
        validators.personas,
        default={},
        secret=True,
        type="mapping",
        help="Persona type to persona config; checked at start-up.",
    )
    personas_file: str | None = setting(
        validators.optional_path,
        default=None,
        type="str or None",
        help="A TOML or JSON file with more personas, or a folder with one file each.",
    )
    default_persona: str | None = setting(
        validators.optional_name,
        default=None,
        type="str or None",
        help="The persona type used when a request names none.",
    )
    token_path: str = setting(
        validators.path,
        default="/api/session-token",
        type="str",
        help="The path of the token endpoint.",
    )
    url_prefix: str = setting(
        validators.path, default="/anam", type="str", help="The prefix of all other routes."
    )
    allowed_origins: frozenset[str] = setting(
        validators.origins,
        default=(),
        type="list of str",
        help="Origins besides our own whose pages may call (CORS, with cookies).",
    )
    token_reuse: str = setting(
        validators.choice("until_used", "until_expiry", "never"),
        default="until_used",
        type="str",
        help="When a stored token may be handed out again: until_used, until_expiry or never.",
    )
    token_cache_timeout: float = setting(
        validators.number(1, 86400),
        default=3000,
        type="number",
        unit="seconds",
        help="How long a stored token may be handed out; never past 5/6 of its life.",
    )
    replay_window: float = setting(
        validators.number(0, 60),
        default=3,
        type="number",
        unit="seconds",
        help="How long a caller without a slot gets the same answer again.",
    )
    idempotency_window: float = setting(
        validators.number(0, 3600),
        default=60,
        type="number",
        unit="seconds",
        help="The same for a caller that sends an Idempotency-Key.",
    )
    cache: BaseCache | str = setting(
        validators.cache,
        default="memory://",
        secret=True,
        type="cachelib object or URL",
        help="Where tokens are kept: memory://, redis://, memcached://, file:///path, "
        "dynamodb://, mongodb:// or null://.",
    )
    deadline: float = setting(
        validators.number(1, 60),
        default=8,
        type="number",
        unit="seconds",
        help="The longest that one request may take in all, waits and retries included.",
    )
    connect_timeout: float = setting(
        validators.number(0, 30, above=True),
        default=2,
        type="number",
        unit="seconds",
        help="The longest wait for a connection to Anam.",
    )
    read_timeout: float = setting(
        validators.number(0, 60, above=True),
        default=4,
        type="number",
        unit="seconds",
        help="The longest one attempt may take once connected.",
    )
    max_attempts: int = setting(
        validators.number(1, 10, whole=True),
        default=3,
        type="int",
        help="How often one mint is tried in all.",
    )
    max_in_flight: int = setting(
        validators.number(1, 10_000, whole=True),
        default=32,
        type="int",
        help="How many calls to Anam one process may have under way.",
    )
    token_rate_limit: str = setting(
        validators.rate_limit,
        default="10 per hour",
        type="str",
        help="New tokens per user; reused tokens and failed mints do not count.",
    )
    request_rate_limit: str = setting(
        validators.rate_limit, default="60 per minute", type="str", help="Token requests per user."
    )
    rate_limit_storage_uri: str = setting(
        validators.storage,
        default="memory://",
        secret=True,
        type="str",
        help="Where limits are counted when the app has no Limiter of its own.",
    )
    limiter_on_error: str = setting(
        validators.choice("local", "open", "closed"),
        default="local",
        type="str",
        help="What happens when that storage is down: count in this process (local), "
        "do not limit (open), answer 503 (closed).",
    )
    usage_url: str | None = setting(
        validators.optional_usage_url,
        default=None,
        secret=True,
        type="str or None",
        help="Where sessions are recorded: memory://, or a database URL (sqlite:///path, "
        "postgresql://, mysql://, mariadb://). None means a SQLite file in the instance folder "
        "when the extra analytics is installed, else memory://.",
    )
    usage_user_ids: str = setting(
        validators.choice("plain", "hashed"),
        default="plain",
        type="str",
        help="How user ids are recorded: plain, or as a keyed hash made with SECRET_KEY (hashed).",
    )
    minutes_limit: str | None = setting(
        validators.optional_rate_limit,
        default=None,
        type="str or None",
        help='Minutes of conversation per user, such as "60 per day"; None for no limit.',
    )
    concurrent_sessions: int | None = setting(
        validators.optional_number(1, 1000),
        default=None,
        type="int or None",
        help="Sessions that one user may have at once; None for no limit.",
    )
    stop_orphans: bool = setting(
        validators.boolean,
        default=False,
        type="bool",
        help="True stops what a tab has left running (its page crashed or was reloaded) when the "
        "same tab asks for a new token of the same persona.",
    )
    concurrency_precheck: bool = setting(
        validators.boolean,
        default=False,
        type="bool",
        help="True refuses a new token early, with anam_at_capacity, while Anam says that all "
        "sessions of the account are taken.",
    )
    system_prompt_max_length: int = setting(
        validators.number(1, 1_000_000, whole=True),
        default=2000,
        type="int",
        unit="characters",
        help="The longest system prompt accepted. Anam itself publishes no limit.",
    )

    unknown_values: str = setting(
        validators.choice("error", "warn"),
        default="error",
        type="str",
        help="What happens to a value outside a list that Anam has published: refused (error), or "
        "sent on with a warning (warn).",
    )

    dashboard: bool = setting(
        validators.boolean,
        default=False,
        type="bool",
        help="True adds the dashboard, a page for people with the permission anam:metrics.",
    )

    @classmethod
    @scrubs_traceback
    def from_mapping(cls, config: Mapping[str, Any]) -> Settings:
        """Read and validate all ``ANAM_`` keys of a mapping such as ``app.config``.

        Raises:
            ConfigError: a value is invalid; the text names the key, the expected value and the
                cure, and shows no secret.

        """
        known = {key_of(row): row for row in fields(cls)}
        _warn_of_typing_errors(config, known)
        given = {key: config.get(key, row.metadata["default"]) for key, row in known.items()}
        if given["ANAM_SANDBOX"] is True:
            given["ANAM_API_KEY"] = "none"  # the sandbox has one of its own
        return cls(**{row.name: _validated(key, row, given[key]) for key, row in known.items()})


def key_of(row: Field[Any]) -> str:
    """Return the configuration key of a field of `Settings`."""
    return f"ANAM_{row.name.upper()}"


def _validated(key: str, row: Field[Any], value: Any) -> Any:
    try:
        return row.metadata["validator"](value)
    except validators.InvalidSetting as exc:
        hidden = row.metadata["secret"] or "@" in str(value)  # a URL may hold a password
        shown = type(value).__name__ if hidden else repr(value)[:80]
        text = f"{key} must be {exc.expected}" + (f", got {shown}." if exc.shows_value else ".")
        raise ConfigError(f"{text} {exc.cure}".rstrip()) from None


def _warn_of_typing_errors(config: Mapping[str, Any], known: Mapping[str, object]) -> None:
    for key in config:
        if key.startswith("ANAM_") and key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.85)
            if near:
                text = f"{key} is not a setting of Flask-Anam. Did you mean {near[0]}?"
                warnings.warn(text, stacklevel=6)
