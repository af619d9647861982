"""The store: a distrustful layer over a cache that may fail."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from cachelib import SimpleCache
from core.conftest import store_on

from flask_anam.core.cache.backends import open_backend
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.tokens.store import TokenStore
from flask_anam.core.tokens.token import SessionToken
from flask_anam.testing import ManualClock

SECRET = b"app secret"


class Flaky(SimpleCache):
    """A cache that fails while it is told to, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.down:
            raise ConnectionError("redis://:SENTINEL@host is down")

    def get(self, key: str) -> Any:
        """Read, or fail."""
        self._ask()
        return super().get(key)

    def set(self, *args: Any, **kwargs: Any) -> bool | None:
        """Write, or fail."""
        self._ask()
        return super().set(*args, **kwargs)


@pytest.fixture
def cache() -> Flaky:
    """Return a cache that works, for now."""
    return Flaky()


@pytest.fixture
def store(cache: Flaky, clock: ManualClock) -> TokenStore:
    """Return a store on it."""
    return store_on(cache, clock, SECRET)


def token(clock: ManualClock, life: float = 3600.0) -> SessionToken:
    """Return a token minted now."""
    return SessionToken(value="a.b.c", minted_at=clock.time(), expires_at=clock.time() + life)


def test_a_failing_cache_is_left_alone_for_five_seconds(
    store: TokenStore, cache: Flaky, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A miss, one line in the log without the failure's text, and another try after that."""
    store.put("k", token(clock), 60)
    cache.down, cache.asked = True, 0
    for _ in range(3):
        lookup = store.lookup("k", ("mark",))
        assert (lookup.token, lookup.generation) == (None, None)
        store.put("k", token(clock), 60)
        store.evict("k", token(clock).id)
        store.bump_generation("mark")
        assert store.get_text("k") is None
    clock.move(4.9)
    store.lookup("k")
    assert cache.asked == 1
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "flask_anam")
    assert "ConnectionError" in record.getMessage()
    assert "SENTINEL" not in record.getMessage()
    clock.move(0.2)
    store.lookup("k")
    assert (cache.asked, len(caplog.records)) == (2, 2)
    cache.down = False
    clock.move(5.1)
    assert store.lookup("k").token is not None


def test_the_rest_does_not_hang_on_the_wall_clock(
    store: TokenStore, cache: Flaky, clock: ManualClock
) -> None:
    """A clock set back by an hour does not keep the cache out for an hour."""
    cache.down = True
    store.lookup("k")
    cache.down, cache.asked = False, 0
    clock.jump(-3600)
    clock.move(5.1)
    store.lookup("k")
    assert cache.asked == 1


@pytest.mark.parametrize(
    ("jump", "expected"), [(-59, True), (-61, False), (-3600, False), (3599, True), (3601, False)]
)
def test_a_clock_that_jumped_makes_a_miss(
    store: TokenStore, clock: ManualClock, jump: float, expected: bool
) -> None:
    """A token from the future is not believed; a small correction is."""
    store.put("k", token(clock), 86400)
    clock.jump(jump)
    assert (store.lookup("k").token is not None) is expected


def test_what_is_kept_shows_neither_user_nor_place(store: TokenStore, cache: Flaky) -> None:
    """Keys are keyed hashes: who reads the cache cannot tell or guess whose they are."""
    keys = KeyHasher(SECRET)
    key = keys("token", "user-4711", "support", {"systemPrompt": "secret"})
    assert key.startswith("anam1:token:")
    assert not any(part in key for part in ("4711", "support", "secret"))
    assert len(key) <= 250
    assert key.isascii()
    assert " " not in key
    assert key != KeyHasher(b"other")("token", "user-4711", "support", {"systemPrompt": "secret"})


@pytest.mark.parametrize(
    ("first", "other"),
    [
        pytest.param(("token", 1), ("token", "1"), id="number and text"),
        pytest.param(("token", "a", "b"), ("token", "ab"), id="joined"),
        pytest.param(("token", ["a"], "b"), ("token", "a", ["b"]), id="nested"),
        pytest.param(("token", None), ("token", "None"), id="None"),
        pytest.param(("token", "a"), ("user", "a"), id="kind"),
    ],
)
def test_different_parts_make_different_keys(
    first: tuple[str, object], other: tuple[str, object]
) -> None:
    """No two users, slots or kinds can meet in one key."""
    keys = KeyHasher(SECRET)
    assert keys(*first) == keys(*first)
    assert keys(*first) != keys(*other)


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"v": 2}, id="another version"),
        pytest.param({"t": "a.b.c"}, id="no times"),
        pytest.param({"t": "a.b.c", "m": "x", "e": 9e9, "g": ""}, id="bad time"),
        pytest.param({"t": "a.b.c", "m": None, "e": 9e9, "g": ""}, id="null time"),
        pytest.param({"t": "a.b.c", "m": 1.8e9, "e": 9e9, "g": "other"}, id="generation"),
        pytest.param({"t": "a.b.c", "m": 1.8e9, "e": 9e9, "g": "", "k": "x"}, id="key"),
        pytest.param({"t": "a.b.c", "m": 1.8e9, "e": 9e9, "g": "", "x": "9e9"}, id="end"),
        pytest.param({"t": "a.b.c", "m": 1.8e9, "e": 9e9, "g": "", "x": None}, id="no end"),
    ],
)
def test_a_signed_value_of_another_shape_is_a_miss(
    store: TokenStore, cache: Flaky, clock: ManualClock, facts: dict[str, object]
) -> None:
    """Our own signature does not make an older or newer form a token."""
    entry = {"k": "k", "x": clock.time() + 60, **facts}
    cache.set("k", store._signer.sign(json.dumps(entry)).decode())
    lookup = store.lookup("k")
    assert (lookup.token, lookup.generation) == (None, "")
    store.evict("k", token(clock).id)


def test_the_shape_of_a_kept_firstis_what_that_test_thinks(
    store: TokenStore, cache: Flaky, clock: ManualClock
) -> None:
    """The same entry without a mistake is a hit; it is JSON that holds its own key."""
    entry = {"t": "a.b.c", "m": clock.time(), "e": 9e9, "g": "", "k": "k", "x": 9e9}
    cache.set("k", store._signer.sign(json.dumps(entry)).decode())
    assert store.lookup("k").token is not None


@pytest.mark.parametrize("changed", range(0, 120, 7))
def test_a_changed_character_breaks_the_signature(
    store: TokenStore, cache: Flaky, clock: ManualClock, changed: int
) -> None:
    """Wherever it is."""
    store.put("k", token(clock), 60)
    stored = cache.get("k")
    other = "A" if stored[changed] != "A" else "B"
    cache.set("k", stored[:changed] + other + stored[changed + 1 :])
    assert store.lookup("k").token is None


def test_tokens_kept_while_marks_change_are_misses(store: TokenStore, clock: ManualClock) -> None:
    """A mint that began before a clearing is not kept beyond it."""
    generation = store.lookup("k", ("mark",)).generation
    assert generation is not None
    store.bump_generation("mark")
    store.put("k", token(clock), 60, generation)
    assert store.lookup("k", ("mark",)).token is None


def test_a_forked_child_gets_a_memory_of_its_own(clock: ManualClock) -> None:
    """The parent's lock might be held for ever; other caches are used as they are."""
    store = TokenStore(open_backend("memory://", clock), SECRET, clock)
    store.put("k", token(clock), 60)
    store.reinit_after_fork()
    assert store.lookup("k").token is None
    store.put("k", token(clock), 60)
    assert store.lookup("k").token is not None
    own = store_on(SimpleCache(), clock)
    own.put("k", token(clock), 60)
    own.reinit_after_fork()
    assert own.lookup("k").token is not None


def test_several_notes_are_read_at_once(store: TokenStore, cache: Flaky) -> None:
    """In the order of their keys; what is not there, or not a note, is None."""
    store.put_text("a", "one", 60)
    cache.set("b", "junk")
    assert store.get_texts("b", "a", "c") == [None, "one", None]
    cache.down = True
    assert store.get_texts("a", "b") == [None, None]
