"""Settings: the default of each, and which values are refused with which message."""

from __future__ import annotations

import warnings
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from cachelib import NullCache

from flask_anam.core.config.settings import Settings, key_of
from flask_anam.errors import ConfigError

SECRET = "SENTINEL-secret"
DEFAULTS: dict[str, object] = {
    "ANAM_BASE_URL": "https://api.anam.ai",
    "ANAM_SANDBOX": False,
    "ANAM_CONCURRENCY_PRECHECK": False,
    "ANAM_PERSONAS": {},
    "ANAM_PERSONAS_FILE": None,
    "ANAM_DEFAULT_PERSONA": None,
    "ANAM_TOKEN_PATH": "/api/session-token",
    "ANAM_URL_PREFIX": "/anam",
    "ANAM_ALLOWED_ORIGINS": frozenset(),
    "ANAM_TOKEN_REUSE": "until_used",
    "ANAM_TOKEN_CACHE_TIMEOUT": 3000.0,
    "ANAM_REPLAY_WINDOW": 3.0,
    "ANAM_IDEMPOTENCY_WINDOW": 60.0,
    "ANAM_CACHE": "memory://",
    "ANAM_DEADLINE": 8.0,
    "ANAM_CONNECT_TIMEOUT": 2.0,
    "ANAM_READ_TIMEOUT": 4.0,
    "ANAM_MAX_ATTEMPTS": 3,
    "ANAM_MAX_IN_FLIGHT": 32,
    "ANAM_TOKEN_RATE_LIMIT": "10 per hour",
    "ANAM_REQUEST_RATE_LIMIT": "60 per minute",
    "ANAM_RATE_LIMIT_STORAGE_URI": "memory://",
    "ANAM_LIMITER_ON_ERROR": "local",
    "ANAM_SYSTEM_PROMPT_MAX_LENGTH": 2000,
    "ANAM_UNKNOWN_VALUES": "error",
    "ANAM_USAGE_URL": None,
    "ANAM_USAGE_USER_IDS": "plain",
    "ANAM_MINUTES_LIMIT": None,
    "ANAM_CONCURRENT_SESSIONS": None,
    "ANAM_STOP_ORPHANS": False,
    "ANAM_DASHBOARD": False,
}


def load(**config: object) -> Settings:
    """Return the settings of a configuration that has a key."""
    return Settings.from_mapping({"ANAM_API_KEY": SECRET, **config})


def refusal(**config: object) -> str:
    """Return the words with which a configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        load(**config)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return caught.value.text


def value_of(settings: Settings, key: str) -> object:
    """Return the value of a key."""
    return getattr(settings, key.removeprefix("ANAM_").lower())


def test_the_table_has_these_rows() -> None:
    """Adding a row means adding its default, and its refusals, here."""
    assert {key_of(row) for row in fields(Settings)} == {*DEFAULTS, "ANAM_API_KEY"}


@pytest.mark.parametrize("key", DEFAULTS)
def test_each_row_has_the_default_of_the_design(key: str) -> None:
    """An app that sets nothing but the key gets these."""
    assert value_of(load(), key) == DEFAULTS[key]


@pytest.mark.parametrize("row", fields(Settings), ids=key_of)
def test_each_row_is_documented(row: Any) -> None:
    """The docs page is made of these: a type and a sentence for each; times have a unit."""
    facts = row.metadata
    assert facts["type"]
    assert facts["help"].endswith(".")
    if any(word in row.name for word in ("timeout", "window", "deadline")):
        assert facts["unit"] == "seconds"


def test_a_cachelib_object_is_taken_as_it_is() -> None:
    """The host may bring its own cache."""
    cache = NullCache()
    assert load(ANAM_CACHE=cache).cache is cache


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(None, "it is missing", id="missing"),
        pytest.param("", "it is missing", id="empty"),
        pytest.param(123e5, "quote it", id="number from the environment"),
        pytest.param(False, "quote it", id="boolean"),
        pytest.param(b"key", "quote it", id="bytes"),
        pytest.param(f" {SECRET}", "without spaces", id="space in front"),
        pytest.param(f"{SECRET}\n", "without spaces", id="line break"),
        pytest.param(f"{SECRET}\x00x", "printable ASCII", id="control character"),
        pytest.param(f"{SECRET}é", "printable ASCII", id="not ASCII"),
    ],
)
def test_a_bad_api_key_is_refused_and_not_shown(value: object, words: str) -> None:
    """The cure is in the message, the key is not."""
    text = refusal(ANAM_API_KEY=value)
    assert text.startswith("ANAM_API_KEY must be ")
    assert words in text
    assert SECRET not in text


def test_without_key_and_sandbox_the_start_is_refused() -> None:
    """The sandbox is never on by accident; the message names both ways out."""
    with pytest.raises(ConfigError, match=r"lab\.anam\.ai.*ANAM_SANDBOX = True"):
        Settings.from_mapping({})


def test_the_sandbox_switch_needs_no_key() -> None:
    """ANAM_SANDBOX = True is enough, and a key that is set is not used.

    What an app does then: the test of this name in tests/glue/test_extension.py.
    """
    assert Settings.from_mapping({"ANAM_SANDBOX": True}).sandbox is True
    assert load(ANAM_SANDBOX=True).api_key != SECRET


def test_the_key_may_be_a_callable() -> None:
    """It is kept as it is, and asked at each call."""

    def rotating() -> str:
        return SECRET

    assert load(ANAM_API_KEY=rotating).api_key is rotating


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ANAM_API_KEY", SECRET + "\n"),
        ("ANAM_PERSONAS", [SECRET]),
        ("ANAM_CACHE", f"sqlite://u:{SECRET}@h"),
        ("ANAM_RATE_LIMIT_STORAGE_URI", f"redis:u:{SECRET}@h"),
        ("ANAM_BASE_URL", f"https://u:{SECRET}@h"),
        ("ANAM_BASE_URL", f"https://:{SECRET}@h"),
    ],
)
def test_a_refusal_shows_no_secret(key: str, value: object) -> None:
    """Only the type of such a value is told."""
    text = refusal(**{key: value})
    assert key in text
    assert SECRET not in text


def test_settings_are_safe_to_print() -> None:
    """Key, prompts and URLs with passwords stay out of repr; the rest is there."""
    settings = load(
        ANAM_PERSONAS={"a": {"systemPrompt": SECRET}},
        ANAM_CACHE=f"redis://:{SECRET}@h",
        ANAM_RATE_LIMIT_STORAGE_URI=f"redis://:{SECRET}@h",
    )
    assert SECRET not in repr(settings) + str(settings)
    assert "token_reuse='until_used'" in repr(settings)


def test_settings_do_not_change() -> None:
    """One frozen record per app."""
    with pytest.raises(FrozenInstanceError):
        load().deadline = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ANAM_APIKEY", "ANAM_API_KEY"),
        ("ANAM_PERSONA", "ANAM_PERSONAS"),
        ("ANAM_TOKEN_RATELIMIT", "ANAM_TOKEN_RATE_LIMIT"),
    ],
)
def test_a_typing_error_is_warned_of(wrong: str, right: str) -> None:
    """A key that is nearly one of ours names its neighbour."""
    with pytest.warns(UserWarning, match=f"^{wrong} is not a setting.* {right}\\?$"):
        load(**{wrong: SECRET})


def test_keys_of_others_are_left_alone() -> None:
    """The host's own keys, even with our prefix, cause no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(SECRET_KEY="x", ANAM_OF_MY_OWN_WIDGET=1, ANAMNESIS=2)
