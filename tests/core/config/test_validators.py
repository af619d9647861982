"""Validators: the values that each setting takes, and those it refuses with which message."""

from __future__ import annotations

from pathlib import Path

import pytest
from core.config.test_settings import DEFAULTS, load, refusal, value_of

ACCEPTED: list[tuple[str, object, object]] = [
    ("ANAM_BASE_URL", "https://api.anam.ai/", "https://api.anam.ai"),
    ("ANAM_BASE_URL", "http://127.0.0.1:5005", "http://127.0.0.1:5005"),
    ("ANAM_BASE_URL", "http://[::1]:5005", "http://[::1]:5005"),
    ("ANAM_BASE_URL", "http://localhost/base", "http://localhost/base"),
    ("ANAM_PERSONAS", {"a": {}}, {"a": {}}),
    ("ANAM_PERSONAS_FILE", "personas.toml", "personas.toml"),
    ("ANAM_PERSONAS_FILE", Path("personas"), "personas"),
    ("ANAM_DEFAULT_PERSONA", "a", "a"),
    ("ANAM_TOKEN_PATH", "/t", "/t"),
    ("ANAM_ALLOWED_ORIGINS", ["https://a.example:8443"], frozenset({"https://a.example:8443"})),
    ("ANAM_TOKEN_REUSE", "until_expiry", "until_expiry"),
    ("ANAM_TOKEN_REUSE", "never", "never"),
    ("ANAM_TOKEN_CACHE_TIMEOUT", 1, 1.0),
    ("ANAM_REPLAY_WINDOW", 0, 0.0),
    ("ANAM_DEADLINE", 1.5, 1.5),
    ("ANAM_MAX_ATTEMPTS", 1, 1),
    ("ANAM_TOKEN_RATE_LIMIT", "1/second; 5 per day", "1/second; 5 per day"),
    ("ANAM_CACHE", "file:///var/lib/x", "file:///var/lib/x"),
    ("ANAM_CACHE", "redis://localhost:6379/0", "redis://localhost:6379/0"),
    ("ANAM_CACHE", "rediss://localhost", "rediss://localhost"),
    ("ANAM_CACHE", "memcached://a:1,b:2", "memcached://a:1,b:2"),
    ("ANAM_CACHE", "dynamodb://t", "dynamodb://t"),
    ("ANAM_CACHE", "mongodb://h/db", "mongodb://h/db"),
    ("ANAM_CACHE", "null://", "null://"),
    ("ANAM_RATE_LIMIT_STORAGE_URI", "redis://localhost", "redis://localhost"),
    ("ANAM_LIMITER_ON_ERROR", "closed", "closed"),
    ("ANAM_UNKNOWN_VALUES", "warn", "warn"),
    ("ANAM_USAGE_URL", "memory://", "memory://"),
    ("ANAM_USAGE_URL", "sqlite:////var/lib/u.db", "sqlite:////var/lib/u.db"),
    ("ANAM_USAGE_URL", "postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
    ("ANAM_MINUTES_LIMIT", "60 per day; 300 per month", "60 per day; 300 per month"),
    ("ANAM_CONCURRENT_SESSIONS", 2, 2),
    ("ANAM_STOP_ORPHANS", True, True),
    ("ANAM_DASHBOARD", True, True),
]


@pytest.mark.parametrize(
    ("key", "given", "expected"), ACCEPTED, ids=[f"{key} {given}" for key, given, _ in ACCEPTED]
)
def test_good_values_are_taken(key: str, given: object, expected: object) -> None:
    """They come out checked, numbers as numbers of one type."""
    result = value_of(load(**{key: given}), key)
    assert result == expected
    assert type(result) is type(expected)


#: Key, refused values, and words of the message that say what to write instead.
REFUSED: list[tuple[str, list[object], str]] = [
    ("ANAM_BASE_URL", [None, 5, b"https://x", "api.anam.ai", "https://", "ftp://x"], "https://api"),
    ("ANAM_BASE_URL", ["https://[::1", "https://x:99999", "https://x:0", "https://x:a"], "https:"),
    ("ANAM_BASE_URL", ["https://x/?a=1", "https://x/#a"], "without user, query or fragment"),
    ("ANAM_BASE_URL", ["http://api.anam.ai", "http://127.0.0.1.example.com"], "Use https://"),
    ("ANAM_SANDBOX", [None, 1, "True", "false"], "True or False"),
    ("ANAM_CONCURRENCY_PRECHECK", [None, 1, "True", "false"], "True or False"),
    ("ANAM_PERSONAS", [None, [], "x", {1: {}}], "a mapping from persona type"),
    ("ANAM_PERSONAS_FILE", ["", 5, b"x.toml", ["x.toml"]], "the path of a file or folder"),
    ("ANAM_DEFAULT_PERSONA", ["", 5, ["a"]], "the name of a persona, or None"),
    ("ANAM_TOKEN_PATH", [None, 5, "", "t", "/", "/t/"], 'a path such as "/anam"'),
    ("ANAM_TOKEN_PATH", ["/a//b", "/a?b", "/<x>", "/a b", "/a#b", "/a\nb"], "a plain path"),
    ("ANAM_URL_PREFIX", [None, "", "anam", "/anam/"], 'a path such as "/anam"'),
    ("ANAM_ALLOWED_ORIGINS", [None, "https://a", {"https://a": 1}, 5], "a list of origins"),
    ("ANAM_ALLOWED_ORIGINS", [["*"], [None], [5], ["a.example"]], '"*" cannot be used'),
    ("ANAM_ALLOWED_ORIGINS", [["https://a:99999"], ["https://[a"]], "a list of origins"),
    ("ANAM_ALLOWED_ORIGINS", [["https://a/"], ["https://a/b"]], "without a path or a slash"),
    ("ANAM_TOKEN_REUSE", [None, True, "", "always"], '"until_used", "until_expiry", "never"'),
    ("ANAM_TOKEN_CACHE_TIMEOUT", [None, "3000", True, 0, -1, 86401], "a number from 1 to 86400"),
    ("ANAM_TOKEN_CACHE_TIMEOUT", [float("nan"), float("inf"), 10**400], "a number from 1 to 86400"),
    ("ANAM_REPLAY_WINDOW", [None, "3", -0.1, 61, False], "a number from 0 to 60"),
    ("ANAM_IDEMPOTENCY_WINDOW", [None, [], -1, 3601], "a number from 0 to 3600"),
    ("ANAM_CACHE", [None, 5, "", "memory", "sqlite://x", "redis"], "memory://, redis://"),
    ("ANAM_CACHE", ["file://relative", "file:relative", "file://"], "three slashes"),
    ("ANAM_DEADLINE", [None, "8", 0.9, 61, -(10**400)], "a number from 1 to 60"),
    ("ANAM_CONNECT_TIMEOUT", [None, (1, 2), 0, 31], "a number above 0 to 30"),
    ("ANAM_READ_TIMEOUT", [None, "4", 0, 61], "a number above 0 to 60"),
    ("ANAM_MAX_ATTEMPTS", [None, "3", 2.0, 0, 11, True], "a whole number from 1 to 10"),
    ("ANAM_MAX_IN_FLIGHT", [None, 1.5, 0, 10_001], "a whole number from 1 to 10000"),
    ("ANAM_TOKEN_RATE_LIMIT", [None, 10, "", "ten per hour", "10"], "Flask-Limiter"),
    ("ANAM_TOKEN_RATE_LIMIT", ["0 per hour", "5/minute;0/hour"], "of at least 1"),
    ("ANAM_REQUEST_RATE_LIMIT", [None, ["1/s"], "often"], "Flask-Limiter"),
    ("ANAM_RATE_LIMIT_STORAGE_URI", [None, 5, "", "redis"], '"redis://localhost:6379"'),
    ("ANAM_LIMITER_ON_ERROR", [None, False, "fail"], '"local", "open", "closed"'),
    ("ANAM_SYSTEM_PROMPT_MAX_LENGTH", [None, "9", 0, 1e3, 1_000_001], "a whole number from 1 to"),
    ("ANAM_UNKNOWN_VALUES", [None, True, "", "ignore"], '"error", "warn"'),
    ("ANAM_USAGE_URL", [5, "", "usage.db", "redis://x"], "memory://, sqlite://"),
    ("ANAM_USAGE_URL", ["sqlite://", "sqlite:///", "sqlite:///:memory:"], "Or use memory://"),
    ("ANAM_USAGE_USER_IDS", [None, True, "hash"], '"plain", "hashed"'),
    ("ANAM_MINUTES_LIMIT", [60, "", "sixty per day", "0 per day"], "Flask-Limiter"),
    ("ANAM_CONCURRENT_SESSIONS", ["2", 0, 1.5, True], "a whole number from 1 to 1000"),
    ("ANAM_STOP_ORPHANS", [None, 1], "True or False"),
    ("ANAM_DASHBOARD", [None, 1, "yes"], "True or False"),
]
CASES = [(key, value, cure) for key, values, cure in REFUSED for value in values]


@pytest.mark.parametrize(
    ("key", "value", "cure"), CASES, ids=[f"{key} {value!r:.30}" for key, value, _ in CASES]
)
def test_bad_values_are_refused_with_the_key_and_the_cure(
    key: str, value: object, cure: str
) -> None:
    """The message begins with the key and says what is wanted; it is short enough to read."""
    text = refusal(**{key: value})
    assert text.startswith(f"{key} must be ")
    assert cure in text
    assert len(text) < 300


def test_every_row_has_refusals() -> None:
    """No row accepts just anything."""
    assert {key for key, _, _ in REFUSED} == set(DEFAULTS)
