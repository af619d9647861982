"""Validators of single settings: each takes a raw value and returns the validated one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any
from urllib.parse import urlsplit

from cachelib.base import BaseCache
from limits import parse_many

from flask_anam.core.config.api_keys import is_key

#: Takes the raw value, returns the validated one; raises `InvalidSetting`.
Validator = Callable[[Any], Any]


class InvalidSetting(ValueError):
    """A setting has a wrong value.

    Args:
        expected: what the value must be, as the end of "... must be".
        cure: a sentence that says how to correct it, or nothing.
        shows_value: whether the message ends with the value that was given.

    """

    def __init__(self, expected: str, cure: str = "", *, shows_value: bool = True) -> None:
        super().__init__(expected)
        self.expected = expected
        self.cure = cure
        self.shows_value = shows_value


def api_key(value: Any) -> Any:
    """Accept a key, or a callable that returns one."""
    cure = "Set it to the key from lab.anam.ai, or set ANAM_SANDBOX = True to work without one."
    if value is None or value == "":
        raise InvalidSetting("set: it is missing", cure, shows_value=False)
    if not isinstance(value, str) and not callable(value):
        raise InvalidSetting(
            "a string or a callable that returns one",
            "If it comes from FLASK_ANAM_API_KEY, quote it: Flask reads such values as JSON.",
        )
    if isinstance(value, str) and not is_key(value):
        raise InvalidSetting("printable ASCII without spaces around it", cure)
    return value


def number(low: float, high: float, *, whole: bool = False, above: bool = False) -> Validator:
    """Return a validator for a number from `low` (excluded when `above`) to `high` (included)."""
    kind = "a whole number" if whole else "a number"
    span = f"{kind} {f'above {low:g}' if above else f'from {low:g}'} to {high:g}"

    def check(value: Any) -> Any:
        wanted = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise InvalidSetting(span)
        if not low <= value <= high or (above and value == low):
            raise InvalidSetting(span)
        return value if whole else float(value)

    return check


def choice(*allowed: str) -> Validator:
    """Return a validator for one of a few strings."""
    names = ", ".join(f'"{name}"' for name in allowed)

    def check(value: Any) -> Any:
        if value not in allowed:
            raise InvalidSetting(f"one of {names}")
        return value

    return check


def boolean(value: Any) -> Any:
    """Accept True or False."""
    if not isinstance(value, bool):
        raise InvalidSetting("True or False")
    return value


def path(value: Any) -> Any:
    """Accept a URL path."""
    if not isinstance(value, str) or not value.startswith("/") or value != value.rstrip("/"):
        raise InvalidSetting('a path such as "/anam": a slash in front, none at the end')
    if "//" in value or any(c in value for c in "<>?# ") or not value.isprintable():
        raise InvalidSetting('a plain path such as "/anam", without "<", "?", "#" or spaces')
    return value


def http_url(value: Any) -> Any:
    """Accept a base URL; plain http on the loopback address only."""
    parts = _http_parts(value)
    if parts is None:
        raise InvalidSetting('a URL such as "https://api.anam.ai"')
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidSetting("a URL without user, query or fragment")
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme == "http" and not local:
        raise InvalidSetting("an https URL: plain http would show the API key", "Use https://")
    return value.rstrip("/")


def _split(value: Any) -> Any:
    try:
        return urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _http_parts(value: Any) -> Any:
    """Return the parts of an http or https URL with a host and a valid port, else None."""
    parts = _split(value)
    try:
        usable = parts and parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # the port
        return None
    return parts if usable else None


def origins(value: Any) -> Any:
    """Accept a list of origins."""
    expected = 'a list of origins such as ["https://www.example.com"]'
    if isinstance(value, str | bytes) or not isinstance(value, list | tuple | set | frozenset):
        raise InvalidSetting(expected)
    for origin in value:
        parts = _http_parts(origin)
        if parts is None:
            raise InvalidSetting(f'{expected}; "*" cannot be used together with cookies')
        if origin != f"{parts.scheme}://{parts.netloc}":
            raise InvalidSetting(f"{expected}, without a path or a slash at the end")
        if origin != _as_sent(parts):
            raise InvalidSetting(
                f"{expected}, spelt as a browser does: {_as_sent(parts)!r}; no wildcard, no user"
            )
    return frozenset(value)


def _as_sent(parts: Any) -> str:
    """Return an origin as browsers write it: lower case, ASCII, without user and default port."""
    default = {"http": 80, "https": 443}[parts.scheme]
    host = parts.hostname.replace("*", "www")
    try:
        name = host if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        name = "example.com"
    name = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{name}" + ("" if parts.port in {None, default} else f":{parts.port}")


def rate_limit(value: Any) -> Any:
    """Accept limits in the notation of Flask-Limiter."""
    cure = "Use the notation of Flask-Limiter; several limits are separated by a semicolon."
    expected = 'a rate limit such as "10 per hour"'
    if not isinstance(value, str):
        raise InvalidSetting(expected, cure)
    try:
        items = parse_many(value)
    except ValueError:
        raise InvalidSetting(expected, cure) from None
    if any(item.amount < 1 for item in items):
        raise InvalidSetting(expected + " of at least 1", cure)
    return value


def optional_rate_limit(value: Any) -> Any:
    """Accept limits in the notation of Flask-Limiter, or None."""
    return None if value is None else rate_limit(value)


def optional_number(low: int, high: int) -> Validator:
    """Return a validator for a whole number from `low` to `high` (included), or None."""
    check = number(low, high, whole=True)

    def optional(value: Any) -> Any:
        return None if value is None else check(value)

    return optional


def optional_usage_url(value: Any) -> Any:
    """Accept the URL of a database, ``memory://``, or None."""
    known = ("memory", "sqlite", "postgresql", "postgres", "mysql", "mariadb")
    scheme, separator, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    if value is not None and not (separator and scheme.partition("+")[0] in known):
        names = ", ".join(f"{name}://" for name in known)
        raise InvalidSetting(f"None or a URL that starts with one of {names}")
    if scheme.partition("+")[0] == "sqlite" and (":memory:" in rest or len(rest) < 2):
        raise InvalidSetting(
            "a file, such as sqlite:////var/lib/app/usage.sqlite", "Or use memory://."
        )
    return value


def personas(value: Any) -> Any:
    """Accept a mapping from persona type to entry."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidSetting(
            'a mapping from persona type to persona config, e.g. {"support": {...}}'
        )
    return dict(value)


def optional_name(value: Any) -> Any:
    """Accept a name or None."""
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidSetting("the name of a persona, or None")
    return value


def optional_path(value: Any) -> Any:
    """Accept a path or None."""
    if value is None:
        return None
    if not isinstance(value, str | PathLike) or not str(value):
        raise InvalidSetting("the path of a file or folder, or None")
    return str(value)


def cache(value: Any) -> Any:
    """Accept a cachelib object or the URL of a cache."""
    if isinstance(value, BaseCache):
        return value
    known = ("memory", "redis", "rediss", "memcached", "file", "dynamodb", "mongodb", "null")
    parts = _split(value)
    if parts is None or parts.scheme not in known:
        names = ", ".join(f"{scheme}://" for scheme in known)
        raise InvalidSetting(f"a cachelib object or a URL that starts with one of {names}")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise InvalidSetting("a folder with three slashes in front, such as file:///var/lib/app")
    return value


def storage(value: Any) -> Any:
    """Accept the URL of a storage of the limits library."""
    if not isinstance(value, str) or "://" not in value:
        raise InvalidSetting('a storage URL of the limits library, e.g. "redis://localhost:6379"')
    return value
