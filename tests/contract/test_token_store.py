"""What a `TokenStore` does, on memory, files, Redis and Memcached alike."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from contract.conftest import SECRET, Opened

from flask_anam.core.hashing import KeyHasher
from flask_anam.core.tokens.store import TokenStore
from flask_anam.core.tokens.token import SessionToken


def _token(opened: Opened, value: str = "one.two.three", lifetime: float = 3600) -> SessionToken:
    now = opened.clock.time()
    return SessionToken(value=value, minted_at=now, expires_at=now + lifetime)


def _kept(store: TokenStore, key: str) -> str | None:
    token = store.lookup(key).token
    return token.value if token else None


def test_what_is_put_is_found_whole(opened: Opened, keys: KeyHasher) -> None:
    """Value and times come back as they were; another key finds nothing."""
    token = _token(opened)
    opened.store.put(keys("token", "a"), token, 60)
    assert opened.store.lookup(keys("token", "a")).token == token
    assert opened.store.lookup(keys("token", "b")).token is None


def test_other_processes_find_it_where_the_kind_is_shared(opened: Opened, keys: KeyHasher) -> None:
    """A second opening of the same URL sees the token, except in memory."""
    opened.store.put(keys("a"), _token(opened), 60)
    assert (_kept(opened.again(), keys("a")) is None) is (opened.kind == "memory")


def test_a_kept_token_ends_when_told(opened: Opened, keys: KeyHasher) -> None:
    """By the store's own clock, to the second, whatever the backend does."""
    opened.store.put(keys("a"), _token(opened), 30)
    opened.clock.move(29.5)
    assert _kept(opened.store, keys("a"))
    opened.clock.move(1)
    assert _kept(opened.store, keys("a")) is None


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_time_of_nothing_is_not_for_ever(opened: Opened, keys: KeyHasher, seconds: float) -> None:
    """Zero would mean "for ever" to every backend, so nothing is kept."""
    opened.store.put(keys("a"), _token(opened), seconds)
    opened.store.put_text(keys("b"), "text", seconds)
    assert _kept(opened.store, keys("a")) is None
    assert opened.store.get_text(keys("b")) is None


def test_an_expired_token_is_not_found(opened: Opened, keys: KeyHasher) -> None:
    """However long it was to be kept."""
    opened.store.put(keys("a"), _token(opened, lifetime=10), 600)
    opened.clock.move(11)
    assert _kept(opened.store, keys("a")) is None


def test_a_token_from_the_future_is_not_found(opened: Opened, keys: KeyHasher) -> None:
    """A clock set back makes a miss of it; a minute between hosts does not."""
    opened.store.put(keys("a"), _token(opened), 600)
    opened.clock.move(-59)
    assert _kept(opened.store, keys("a"))
    opened.clock.move(-10)
    assert _kept(opened.store, keys("a")) is None


def test_evicting_spares_a_newer_token(opened: Opened, keys: KeyHasher) -> None:
    """Only the token with that id goes."""
    old, new = _token(opened, "old.to.ken"), _token(opened, "new.to.ken")
    opened.store.put(keys("a"), new, 60)
    opened.store.evict(keys("a"), old.id)
    assert _kept(opened.store, keys("a")) == "new.to.ken"
    opened.store.evict(keys("a"), new.id)
    assert _kept(opened.store, keys("a")) is None
    opened.store.evict(keys("a"), new.id)


def test_marks_make_misses_of_what_was_kept_before(opened: Opened, keys: KeyHasher) -> None:
    """A renewed mark hides older tokens under it, and no token kept after it or under others."""
    marks = (keys("all"), keys("user", "ada"))
    seen = opened.store.lookup(keys("a"), marks)
    assert seen.generation is not None
    opened.store.put(keys("a"), _token(opened), 60, seen.generation)
    opened.store.put(keys("b"), _token(opened), 60, "")
    assert opened.store.lookup(keys("a"), marks).token
    opened.store.bump_generation(marks[1])
    hidden = opened.store.lookup(keys("a"), marks)
    assert hidden.token is None
    assert opened.store.lookup(keys("b"), (keys("all"),)).token
    opened.store.put(keys("a"), _token(opened), 60, hidden.generation or "")
    assert opened.store.lookup(keys("a"), marks).token
    opened.store.bump_generation(marks[1])
    assert opened.store.lookup(keys("a"), marks).token is None


def test_notes_are_kept_found_together_and_forgotten(opened: Opened, keys: KeyHasher) -> None:
    """Texts of any characters; what is missing is None in its place."""
    opened.store.put_text(keys("a"), "first \u00e9 \n", 60)
    opened.store.put_text(keys("c"), "third", 60)
    assert opened.store.get_text(keys("a")) == "first \u00e9 \n"
    assert opened.store.get_texts(keys("a"), keys("b"), keys("c")) == [
        "first \u00e9 \n",
        None,
        "third",
    ]
    opened.store.delete(keys("a"))
    assert opened.store.get_text(keys("a")) is None
    opened.clock.move(61)
    assert opened.store.get_text(keys("c")) is None


def test_a_note_is_no_token_and_a_token_no_note(opened: Opened, keys: KeyHasher) -> None:
    """Each reads as missing where the other is looked for."""
    opened.store.put_text(keys("a"), "text", 60)
    opened.store.put(keys("b"), _token(opened), 60)
    assert _kept(opened.store, keys("a")) is None
    assert opened.store.get_text(keys("b")) is None


def test_another_secret_finds_nothing(opened: Opened, keys: KeyHasher) -> None:
    """What was signed with one secret is a miss for a store with another."""
    opened.store.put(keys("a"), _token(opened), 60)
    other = TokenStore(opened.backend, b"another secret", opened.clock)
    assert _kept(other, keys("a")) is None
    assert _kept(opened.store, keys("a"))


def test_a_value_moved_to_another_key_is_a_miss(opened: Opened, keys: KeyHasher) -> None:
    """Whoever can write to the cache cannot give Bob the token of Ada."""
    opened.store.put(keys("ada"), _token(opened), 60)
    opened.backend.cache.set(keys("bob"), opened.backend.cache.get(keys("ada")), timeout=60)
    assert _kept(opened.store, keys("bob")) is None
    assert _kept(opened.store, keys("ada"))


@pytest.mark.parametrize("part", [0, 1, 10, 0.5, -1])
def test_a_cut_or_changed_value_is_a_miss(opened: Opened, keys: KeyHasher, part: float) -> None:
    """However much of it is left; and the store goes on."""
    opened.store.put(keys("a"), _token(opened), 60)
    whole = opened.backend.cache.get(keys("a"))
    cut = int(len(whole) * part) if isinstance(part, float) else part
    opened.backend.cache.set(keys("a"), whole[:cut], timeout=60)
    assert _kept(opened.store, keys("a")) is None
    opened.backend.cache.set(keys("a"), whole.replace(type(whole)(whole[:1]), whole[1:2], 1), 60)
    assert _kept(opened.store, keys("a")) is None
    assert not opened.store.is_down
    opened.store.put(keys("a"), _token(opened), 60)
    assert _kept(opened.store, keys("a"))


@pytest.mark.parametrize("odd", [{"t": "x"}, ["x"], 7, True, None, "", "[" * 100_000])
def test_a_value_of_another_type_is_a_miss(opened: Opened, keys: KeyHasher, odd: object) -> None:
    """Numbers, lists, mappings and text that is not ours; nothing is raised."""
    planted = odd if isinstance(odd, str) or opened.kind != "memcached" else str(odd)
    opened.backend.cache.set(keys("a"), planted, timeout=60)
    assert _kept(opened.store, keys("a")) is None
    assert opened.store.get_text(keys("a")) is None
    assert not opened.store.is_down


class _Planted:
    """Something that leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._mark,)


def test_a_planted_pickle_never_runs(shared: Opened, keys: KeyHasher, tmp_path: Path) -> None:
    """Written over our entry, in each form that the kind knows for a pickle: a miss, no more."""
    assert shared.plant is not None
    mark, bomb = tmp_path / "ran", pickle.dumps(_Planted(tmp_path / "ran"))
    pickle.loads(bomb)  # noqa: S301 - it does what it should
    assert mark.exists()
    mark.unlink()
    shared.store.put(keys("a"), _token(shared), 60)
    shared.store.put_text(keys("b"), "text", 60)
    planting = zip(shared.plant(keys("a"), bomb), shared.plant(keys("b"), bomb), strict=True)
    for _ in planting:
        assert shared.store.get_texts(keys("a"), keys("b")) == [None, None]
        assert _kept(shared.store, keys("a")) is None
        assert shared.store.get_text(keys("b")) is None
        assert not mark.exists()
    shared.store.put(keys("a"), _token(shared), 60)
    assert _kept(shared.store, keys("a"))


def test_keys_tell_nothing_and_fit_every_backend() -> None:
    """A hash that needs the secret: short, without spaces, and different for different parts."""
    make = KeyHasher(SECRET)
    parts: list[tuple[object, ...]] = [
        ("token", "ada"),
        ("token", "ad", "a"),
        ("token", ["ada"]),
        ("token", 1),
        ("token", "1"),
        ("token", None),
        ("token", ""),
        ("note", "ada"),
        ("token", "x" * 100_000),
        ("token", "\u00e9 \ud800"),
    ]
    made = [make(str(kind), *rest) for kind, *rest in parts]
    assert len(set(made)) == len(parts)
    assert all(re.fullmatch(r"anam1:[a-z]+:[A-Za-z0-9_-]{24}", key) for key in made)
    assert made == [KeyHasher(SECRET)(str(kind), *rest) for kind, *rest in parts]
    assert KeyHasher(b"other")("token", "ada") not in made
