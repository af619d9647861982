"""API keys: a fixed one, one that rotates, one per persona and user; none is ever shown."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hosts import KEY

from flask_anam.core.config.api_keys import KeyRing, is_key
from flask_anam.errors import AnamAuthError, ConfigError

NO_KEYS: list[Any] = [None, "", 5, b"x", "é", "a\nb", "a\x00", " a", "a\n"]


def test_a_fixed_key_is_always_the_same() -> None:
    """Whoever asks."""
    ring = KeyRing(KEY, "ANAM_API_KEY")
    assert {ring.key_for(), ring.key_for("a"), ring.key_for("b", object())} == {KEY}


def test_a_callable_is_asked_at_each_call() -> None:
    """A rotated key is used at once."""
    keys = ["new", "old"]
    ring = KeyRing(lambda: keys.pop(), "ANAM_API_KEY")
    assert [ring.key_for(), ring.key_for("a", "7")] == ["old", "new"]


def test_a_callable_of_two_is_told_persona_and_user() -> None:
    """For several accounts."""
    user = object()
    asked: list[object] = []

    def account(persona_type: str | None, user: object) -> str:
        asked.append((persona_type, user))
        return KEY

    ring = KeyRing(account, "ANAM_API_KEY")
    assert [ring.key_for("coach", user), ring.key_for()] == [KEY, KEY]
    assert asked == [("coach", user), (None, None)]


class Vault:
    """A callable object, and one whose arguments are optional."""

    def __call__(self) -> str:
        return "called"

    def read(self, persona: str | None = "default", user: object = None) -> str:
        return str(persona)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        (Vault(), "called"),
        (Vault().read, "default"),
        (partial(Vault().read, "bound"), "bound"),
        (lambda *arguments: f"{len(arguments)}", "0"),
        ("key".strip, "key"),
    ],
    ids=["object", "optional arguments", "partial", "any arguments", "built-in"],
)
def test_a_callable_that_needs_no_arguments_gets_none(source: Any, key: str) -> None:
    """Also when it could take some."""
    assert KeyRing(source, "ANAM_API_KEY").key_for("coach", "7") == key


@pytest.mark.parametrize("source", [lambda a: a, lambda a, b, c: a, lambda *, a: a])
def test_a_callable_of_another_shape_is_refused_at_the_start(source: Any) -> None:
    """Naming the setting and both shapes."""
    with pytest.raises(ConfigError, match="ANAM_API_KEY: the callable must take no arguments, or"):
        KeyRing(source, "ANAM_API_KEY")


@pytest.mark.parametrize("source", NO_KEYS, ids=repr)
def test_what_is_no_key_is_refused_at_the_start(source: Any) -> None:
    """Naming where it stands."""
    with pytest.raises(ConfigError, match="api_key of persona 'a' must be a non-empty"):
        KeyRing(source, "api_key of persona 'a'")
    assert is_key(source) is False


@pytest.mark.parametrize("key", NO_KEYS, ids=repr)
def test_a_key_callable_that_returns_nonsense_is_told(key: Any) -> None:
    """The text names the setting; it is our key that is wrong, so it is a 502."""
    with pytest.raises(AnamAuthError, match="callable in ANAM_API_KEY must return"):
        KeyRing(lambda: key, "ANAM_API_KEY").key_for()


def test_a_key_callable_that_raises_is_told_by_its_type() -> None:
    """Its text may hold the key and is not told."""

    def vault() -> str:
        raise LookupError(KEY)

    with pytest.raises(AnamAuthError) as caught:
        KeyRing(vault, "ANAM_API_KEY").key_for()
    assert caught.value.text == "The callable in ANAM_API_KEY raised LookupError."
    assert caught.value.__suppress_context__


def test_a_key_ring_shows_no_key() -> None:
    """Tracebacks may print it."""
    assert KEY not in repr(KeyRing(KEY, "ANAM_API_KEY"))
