"""One set of promises, kept over memory, files, Redis and memcached alike."""

from __future__ import annotations

import logging
import threading
import uuid

import pytest

from flask_anam.core import backends
from flask_anam.core.backends import Backend
from flask_anam.core.store import KeyMaker, TokenStore
from flask_anam.core.tokens import SessionToken

from .conftest import FrozenClock, Opener

SECRET = b"app secret"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a busy machine time: how long a slow cache may take is tested elsewhere."""
    monkeypatch.setattr(backends, "IO_TIMEOUT", 10.0)


@pytest.fixture
def store(backend: Backend, clock: FrozenClock) -> TokenStore:
    """Return a store on the backend."""
    return TokenStore(backend, SECRET, clock)


@pytest.fixture
def key() -> str:
    """Return a key of our own form that no other test uses."""
    return KeyMaker(SECRET)("token", uuid.uuid4().hex)


def token(clock: FrozenClock, value: str = "a.b.c", life: float = 3600.0) -> SessionToken:
    """Return a token minted now."""
    return SessionToken(value=value, minted_at=clock.time(), expires_at=clock.time() + life)


class TestEveryBackend:
    """What the store promises, whatever is below."""

    def test_what_was_kept_is_found(self, store: TokenStore, clock: FrozenClock, key: str) -> None:
        """The same token comes back, times to the fraction of a second."""
        assert store.lookup(key).token is None
        kept = token(clock)
        store.put(key, kept, 60)
        assert store.lookup(key).token == kept

    def test_a_kept_token_expires(self, store: TokenStore, clock: FrozenClock, key: str) -> None:
        """By the injected clock, at the second it was kept for."""
        store.put(key, token(clock), 60)
        clock.move(59.9)
        assert store.lookup(key).token is not None
        clock.move(0.2)
        assert store.lookup(key).token is None

    def test_a_short_stay_is_kept_at_all(
        self, store: TokenStore, clock: FrozenClock, key: str
    ) -> None:
        """Less than a second is neither refused nor turned into for ever."""
        store.put(key, token(clock), 0.5)
        assert store.lookup(key).token is not None
        clock.move(0.6)
        assert store.lookup(key).token is None

    @pytest.mark.parametrize("seconds", [0, -1, -0.5])
    def test_no_time_means_not_kept(
        self, store: TokenStore, clock: FrozenClock, key: str, seconds: float
    ) -> None:
        """Backends take 0 for ever; here nothing is written."""
        store.put(key, token(clock), seconds)
        assert store.lookup(key).token is None

    def test_a_later_token_takes_the_place(
        self, store: TokenStore, clock: FrozenClock, key: str
    ) -> None:
        """The newest wins."""
        store.put(key, token(clock, "old"), 60)
        store.put(key, token(clock, "new"), 60)
        found = store.lookup(key).token
        assert found is not None
        assert found.value == "new"

    def test_only_the_token_meant_is_evicted(
        self, store: TokenStore, clock: FrozenClock, key: str
    ) -> None:
        """A late report for an older token leaves the newer one."""
        old, new = token(clock, "old"), token(clock, "new")
        store.put(key, new, 60)
        store.evict(key, old.id)
        assert store.lookup(key).token == new
        store.evict(key, new.id)
        assert store.lookup(key).token is None
        store.evict(key, new.id)

    def test_notes_are_kept_and_forgotten(
        self, store: TokenStore, clock: FrozenClock, key: str
    ) -> None:
        """A short text under a key, for its time; forgetting twice does no harm."""
        assert store.noted(key) is None
        store.note(key, "place", 60)
        assert store.noted(key) == "place"
        store.forget(key)
        store.forget(key)
        assert store.noted(key) is None
        store.note(key, "place", 60)
        clock.move(61)
        assert store.noted(key) is None

    def test_invalidating_a_mark_forgets_what_was_kept_before(
        self, store: TokenStore, clock: FrozenClock, key: str
    ) -> None:
        """Any of the marks; what is kept afterwards is found."""
        marks = (f"{key}-all", f"{key}-user")
        for mark in marks:
            before = store.lookup(key, marks).generation
            assert before is not None
            store.put(key, token(clock), 60, before)
            assert store.lookup(key, marks).token is not None
            store.invalidate(mark)
            after = store.lookup(key, marks)
            assert after.token is None
            assert after.generation not in (None, before)

    def test_another_secret_reads_nothing(
        self, store: TokenStore, backend: Backend, clock: FrozenClock, key: str
    ) -> None:
        """Values are signed: another app on the same cache is a miss."""
        store.put(key, token(clock), 60)
        assert TokenStore(backend, b"other", clock).lookup(key).token is None

    def test_a_value_under_a_foreign_key_is_a_miss(
        self, store: TokenStore, backend: Backend, clock: FrozenClock, key: str
    ) -> None:
        """Somebody who can write to the cache cannot hand one user's token to another."""
        store.put(key, token(clock), 60)
        backend.cache.set(f"{key}-mine", backend.cache.get(key), timeout=60)
        assert store.lookup(f"{key}-mine").token is None

    @pytest.mark.parametrize(
        "planted", ["", "x", "{}", '{"k":1}.sig', "1", "null"], ids=lambda text: text or "empty"
    )
    def test_junk_is_a_miss(
        self, store: TokenStore, backend: Backend, key: str, planted: str
    ) -> None:
        """A value that is not ours is nothing, and no failure of the cache."""
        backend.cache.set(key, planted, timeout=60)
        found = store.lookup(key)
        assert found.token is None
        assert found.generation == ""
        store.evict(key, "x" * 16)
        assert store.noted(key) is None

    @pytest.mark.parametrize("cut", [1, 10, -1])
    def test_a_cut_value_is_a_miss(
        self, store: TokenStore, backend: Backend, clock: FrozenClock, key: str, cut: int
    ) -> None:
        """Half a value never counts as a whole one."""
        store.put(key, token(clock), 60)
        backend.cache.set(key, backend.cache.get(key)[:cut], timeout=60)
        assert store.lookup(key).token is None

    def test_threads_may_share_a_store(
        self, store: TokenStore, clock: FrozenClock, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Eight threads read and write at once; each finds its own, nothing fails."""
        wrong: list[str] = []

        def work(name: str) -> None:
            mine = token(clock, name)
            for _ in range(20):
                store.put(f"{key}-{name}", mine, 60)
                if store.lookup(f"{key}-{name}").token != mine:
                    wrong.append(name)

        threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert caplog.records == []

    def test_misses_are_silent(
        self, store: TokenStore, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An empty place is no news, not even for cachelib."""
        caplog.set_level(logging.INFO)
        store.lookup(key, (f"{key}-mark",))
        store.noted(key)
        assert caplog.records == []


def test_processes_share_what_is_not_memory(
    url: str, opened: Opener, clock: FrozenClock, key: str
) -> None:
    """A second client of the same file, Redis or memcached finds the token; memory is alone."""
    kept = token(clock)
    TokenStore(opened(url), SECRET, clock).put(key, kept, 60)
    found = TokenStore(opened(url), SECRET, clock).lookup(key).token
    assert found == (None if url == "memory://" else kept)
