"""The one table of settings: key, type, unit, default, check and a line of help.

`Settings` is that table: its fields make the frozen record, the start-up errors and the
configuration page of the docs. The key of a field is ``ANAM_`` and its name in capitals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from cachelib.base import BaseCache
from limits import parse_many

from flask_anam.errors import ConfigError

#: Takes the raw value, returns the checked one; raises `Refused` with what was expected.
Check = Callable[[Any], Any]


class Refused(ValueError):
    """A check says no; the text is what was expected, then optionally ``|`` and the cure."""


def setting(
    check: Check,
    *,
    default: object,
    help: str,  # noqa: A002 - the table's own word
    type: str,  # noqa: A002
    unit: str = "",
    secret: bool = False,
) -> Any:
    """Return a field of the table below; `default` is checked like any other value."""
    facts = {
        "check": check,
        "default": default,
        "help": help,
        "type": type,
        "unit": unit,
        "secret": secret,
    }
    return field(repr=not secret, metadata=facts)


def _api_key(value: Any) -> Any:
    cure = "Set it to the key from lab.anam.ai, or set ANAM_SANDBOX = True to work without one."
    if value is None or value == "":
        raise Refused(f"set: it is missing|{cure}")
    if callable(value):
        return value
    if not isinstance(value, str):
        raise Refused(
            "a string or a callable that returns one"
            "|If it comes from FLASK_ANAM_API_KEY, quote it: Flask reads such values as JSON."
        )
    if value != value.strip() or not value.isascii() or not value.isprintable():
        raise Refused(f"printable ASCII without spaces around it|{cure}")
    return value


def _number(low: float, high: float, *, whole: bool = False, above: bool = False) -> Check:
    """Return a check for a number from `low` (excluded when `above`) to `high`."""
    kind = "a whole number" if whole else "a number"
    span = f"{kind} {f'above {low:g}' if above else f'from {low:g}'} to {high:g}"

    def check(value: Any) -> Any:
        wanted = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise Refused(span)
        if not low <= value <= high or (above and value == low):
            raise Refused(span)
        return value if whole else float(value)

    return check


def _choice(*allowed: str) -> Check:
    names = ", ".join(f'"{name}"' for name in allowed)

    def check(value: Any) -> Any:
        if value not in allowed:
            raise Refused(f"one of {names}")
        return value

    return check


def _boolean(value: Any) -> Any:
    if not isinstance(value, bool):
        raise Refused("True or False")
    return value


def _path(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("/") or value != value.rstrip("/"):
        raise Refused('a path such as "/anam": a slash in front, none at the end')
    if "//" in value or any(c in value for c in "<>?# ") or not value.isprintable():
        raise Refused('a plain path such as "/anam", without "<", "?", "#" or spaces')
    return value


def _http_url(value: Any) -> Any:
    parts = _http_parts(value)
    if parts is None:
        raise Refused('a URL such as "https://api.anam.ai"')
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Refused("a URL without user, query or fragment")
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme == "http" and not local:
        raise Refused("an https URL: plain http would show the API key|Use https://")
    return value.rstrip("/")


def _split(value: Any) -> Any:
    try:
        return urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _http_parts(value: Any) -> Any:
    """Return the parts of an http or https URL with a host and a port that can be; else None."""
    parts = _split(value)
    try:
        usable = parts and parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # the port
        return None
    return parts if usable else None


def _origins(value: Any) -> Any:
    expected = 'a list of origins such as ["https://www.example.com"]'
    if isinstance(value, str | bytes) or not isinstance(value, list | tuple | set | frozenset):
        raise Refused(expected)
    for origin in value:
        parts = _http_parts(origin)
        if parts is None:
            raise Refused(f'{expected}; "*" cannot be used together with cookies')
        if origin != f"{parts.scheme}://{parts.netloc}":
            raise Refused(f"{expected}, without a path or a slash at the end")
    return frozenset(value)


def _rate_limit(value: Any) -> Any:
    cure = "|Use the notation of Flask-Limiter; several limits are separated by a semicolon."
    expected = 'a rate limit such as "10 per hour"'
    if not isinstance(value, str):
        raise Refused(expected + cure)
    try:
        items = parse_many(value)
    except ValueError:
        raise Refused(expected + cure) from None
    if any(item.amount < 1 for item in items):
        raise Refused(expected + " of at least 1" + cure)
    return value


def _personas(value: Any) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Refused('a mapping from persona type to persona config, e.g. {"support": {...}}')
    return dict(value)


def _optional_name(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or not value):
        raise Refused("the name of a persona, or None")
    return value


def _cache(value: Any) -> Any:
    if isinstance(value, BaseCache):
        return value
    known = ("memory", "redis", "rediss", "memcached", "file", "dynamodb", "mongodb", "null")
    parts = _split(value)
    if parts is None or parts.scheme not in known:
        names = ", ".join(f"{scheme}://" for scheme in known)
        raise Refused(f"a cachelib object or a URL that starts with one of {names}")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise Refused("a folder with three slashes in front, such as file:///var/lib/app")
    return value


def _storage(value: Any) -> Any:
    if not isinstance(value, str) or "://" not in value:
        raise Refused('a storage URL of the limits library, e.g. "redis://localhost:6379"')
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one app, checked; build it with `from_mapping`. Safe to print."""

    api_key: str | Callable[[], str] = setting(
        _api_key,
        default=None,
        secret=True,
        type="str or callable",
        help="Your Anam API key, or a callable that returns it (for rotation).",
    )
    base_url: str = setting(
        _http_url,
        default="https://api.anam.ai",
        type="str",
        help="Where the Anam API is; https, except on the loopback address.",
    )
    sandbox: bool = setting(
        _boolean,
        default=False,
        type="bool",
        help="True runs the sandbox in this process in place of Anam; it needs no API key.",
    )
    personas: dict[str, Mapping[str, Any]] = setting(
        _personas,
        default={},
        secret=True,
        type="mapping",
        help="Persona type to persona config; checked at start-up.",
    )
    default_persona: str | None = setting(
        _optional_name,
        default=None,
        type="str or None",
        help="The persona type used when a request names none.",
    )
    token_path: str = setting(
        _path,
        default="/api/session-token",
        type="str",
        help="The path of the token endpoint.",
    )
    url_prefix: str = setting(
        _path, default="/anam", type="str", help="The prefix of all other routes."
    )
    allowed_origins: frozenset[str] = setting(
        _origins,
        default=(),
        type="list of str",
        help="Origins besides our own whose pages may call (CORS, with cookies).",
    )
    token_reuse: str = setting(
        _choice("until_used", "until_expiry", "never"),
        default="until_used",
        type="str",
        help="When a stored token may be handed out again: until_used, until_expiry or never.",
    )
    token_cache_timeout: float = setting(
        _number(1, 86400),
        default=3000,
        type="number",
        unit="seconds",
        help="How long a stored token may be handed out; never past 5/6 of its life.",
    )
    replay_window: float = setting(
        _number(0, 60),
        default=3,
        type="number",
        unit="seconds",
        help="How long a caller without a slot gets the same answer again.",
    )
    idempotency_window: float = setting(
        _number(0, 3600),
        default=60,
        type="number",
        unit="seconds",
        help="The same for a caller that sends an Idempotency-Key.",
    )
    cache: BaseCache | str = setting(
        _cache,
        default="memory://",
        secret=True,
        type="cachelib object or URL",
        help="Where tokens are kept: memory://, redis://, memcached://, file:///path, "
        "dynamodb://, mongodb:// or null://.",
    )
    deadline: float = setting(
        _number(1, 60),
        default=8,
        type="number",
        unit="seconds",
        help="The longest that one request may take in all, waits and retries included.",
    )
    connect_timeout: float = setting(
        _number(0, 30, above=True),
        default=2,
        type="number",
        unit="seconds",
        help="The longest wait for a connection to Anam.",
    )
    read_timeout: float = setting(
        _number(0, 60, above=True),
        default=4,
        type="number",
        unit="seconds",
        help="The longest one attempt may take once connected.",
    )
    max_attempts: int = setting(
        _number(1, 10, whole=True),
        default=3,
        type="int",
        help="How often one mint is tried in all.",
    )
    max_in_flight: int = setting(
        _number(1, 10_000, whole=True),
        default=32,
        type="int",
        help="How many calls to Anam one process may have under way.",
    )
    token_rate_limit: str = setting(
        _rate_limit,
        default="10 per hour",
        type="str",
        help="New tokens per user; reused tokens and failed mints do not count.",
    )
    request_rate_limit: str = setting(
        _rate_limit, default="60 per minute", type="str", help="Token requests per user."
    )
    rate_limit_storage_uri: str = setting(
        _storage,
        default="memory://",
        secret=True,
        type="str",
        help="Where limits are counted when the app has no Limiter of its own.",
    )
    limiter_on_error: str = setting(
        _choice("local", "open", "closed"),
        default="local",
        type="str",
        help="What happens when that storage is down: count in this process (local), "
        "do not limit (open), answer 503 (closed).",
    )
    system_prompt_max_length: int = setting(
        _number(1, 1_000_000, whole=True),
        default=2000,
        type="int",
        unit="characters",
        help="The longest system prompt accepted. Anam itself publishes no limit.",
    )

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Settings:
        """Read and check all ``ANAM_`` keys of a mapping such as ``app.config``.

        Raises:
            ConfigError: a value is wrong; the text names the key, what was expected and the
                cure, and shows no secret.

        """
        known = {key_of(row): row for row in fields(cls)}
        _warn_of_typing_errors(config, known)
        given = {key: config.get(key, row.metadata["default"]) for key, row in known.items()}
        if given["ANAM_SANDBOX"] is True:
            given["ANAM_API_KEY"] = "none"  # the sandbox brings its own
        return cls(**{row.name: _checked(key, row, given[key]) for key, row in known.items()})


def key_of(row: Field[Any]) -> str:
    """Return the configuration key of a field of `Settings`."""
    return f"ANAM_{row.name.upper()}"


def _checked(key: str, row: Field[Any], value: Any) -> Any:
    try:
        return row.metadata["check"](value)
    except Refused as no:
        expected, _, cure = str(no).partition("|")
        hidden = row.metadata["secret"] or "@" in str(value)  # a URL may hold a password
        found = type(value).__name__ if hidden else repr(value)[:80]
        missing = expected.startswith("set:")
        text = f"{key} must be {expected}" + ("." if missing else f", got {found}.")
        raise ConfigError(f"{text} {cure}".rstrip()) from None


def _warn_of_typing_errors(config: Mapping[str, Any], known: Mapping[str, object]) -> None:
    for key in config:
        if key.startswith("ANAM_") and key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.85)
            if near:
                text = f"{key} is not a setting of Flask-Anam. Did you mean {near[0]}?"
                warnings.warn(text, stacklevel=5)
