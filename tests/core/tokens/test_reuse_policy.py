"""The reuse table: under what a token is kept, for how long, and when it is stale."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import BODY, SECRET, STATIC
from hosts import KEY, PERSONA

from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.personas.mint_body import MintBody
from flask_anam.core.tokens.reuse_policy import CacheEntryPolicy, ReusePolicy, TokenRequest
from flask_anam.core.tokens.token import SessionToken

NOW = 1_800_000_000.0
MODES = ["until_expiry", "until_used", "never"]


def policy_of(mode: str = "until_used", **config: Any) -> ReusePolicy:
    """Return the rules of an app."""
    given = {"ANAM_API_KEY": "k", "ANAM_TOKEN_REUSE": mode, **config}
    return ReusePolicy(Settings.from_mapping(given), KeyHasher(SECRET))


def wanted(policy: ReusePolicy, **more: Any) -> TokenRequest:
    """Return a request of user 1 for the static persona."""
    base = {"user_id": "1", "persona_type": "support", "body": STATIC, "api_key": KEY, **more}
    return TokenRequest(**base, account=policy.account_of(base["api_key"]))


def entry_for(policy: ReusePolicy, **more: Any) -> CacheEntryPolicy:
    """Return the cache entry of a request that has one."""
    entry = policy.entry_for(wanted(policy, **more))
    assert entry is not None
    return entry


SLOT, IDEMPOTENT = {"slot": "s"}, {"idempotency_key": "k"}
TABLE: list[tuple[str, dict[str, str], float, bool]] = [
    ("until_expiry", {}, 3000, True),
    ("until_expiry", SLOT, 3000, True),
    ("until_expiry", IDEMPOTENT, 3000, True),
    ("until_used", SLOT, 3000, True),
    ("until_used", {**SLOT, **IDEMPOTENT}, 3000, True),
    ("until_used", IDEMPOTENT, 60, False),
    ("until_used", {}, 3, False),
    ("never", {}, 0, False),
    ("never", SLOT, 0, False),
    ("never", IDEMPOTENT, 0, False),
]


@pytest.mark.parametrize(("mode", "who", "seconds", "outlives"), TABLE, ids=str)
def test_each_row_has_its_time(
    mode: str, who: dict[str, str], seconds: float, outlives: bool
) -> None:
    """The cache timeout, the idempotency window, the replay window, or nothing."""
    entry = entry_for(policy_of(mode), **who)
    assert (entry.seconds, entry.serve_stale) == (seconds, outlives)


def test_each_time_is_a_setting() -> None:
    """Of the app."""
    policy = policy_of(
        ANAM_TOKEN_CACHE_TIMEOUT=100, ANAM_IDEMPOTENCY_WINDOW=20, ANAM_REPLAY_WINDOW=1
    )
    assert [entry_for(policy, **who).seconds for who in (SLOT, IDEMPOTENT, {})] == [100, 20, 1]


OTHERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"slot": "t"}, {"until_used", "never"}),
    ({"slot": None}, {"until_used", "never"}),
    ({"idempotency_key": "k2"}, {"never"}),
    ({"user_id": "2"}, set(MODES)),
    ({"user_id": "01"}, set(MODES)),
    ({"persona_type": "other"}, set(MODES)),
    ({"body": MintBody.of({**BODY, "clientLabel": "x"})}, set(MODES)),
    ({"api_key": "rotated"}, set(MODES)),
    ({"refused": "x" * 16}, set()),
    ({"has_fallback": True}, set()),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("other", "apart"), OTHERS, ids=[str(sorted(o)) for o, _ in OTHERS])
def test_tokens_are_told_apart_as_the_table_says(
    mode: str, other: dict[str, Any], apart: set[str]
) -> None:
    """User, config and key of the account always; slot and idempotency key by mode."""
    policy = policy_of(mode)
    first = entry_for(policy, slot="s", idempotency_key="k")
    second = entry_for(policy, **{"slot": "s", "idempotency_key": "k", **other})
    assert (first.key != second.key) is (mode in apart)


def test_a_slot_is_no_idempotency_key() -> None:
    """Equal texts of different meaning do not meet, nor do modes and base URLs."""
    policy = policy_of()
    entries = [
        entry_for(policy, slot="x"),
        entry_for(policy, idempotency_key="x"),
        entry_for(policy),
    ]
    entries += [entry_for(policy_of(mode)) for mode in ("never", "until_expiry")]
    entries += [entry_for(policy_of(ANAM_BASE_URL="https://other.example"))]
    assert len({entry.key for entry in entries}) == 6


@pytest.mark.parametrize("mode", MODES)
def test_without_a_user_there_is_no_place(mode: str) -> None:
    """Nobody else could be told from the owner."""
    policy = policy_of(mode)
    assert policy.entry_for(wanted(policy, user_id=None, slot="s")) is None


@pytest.mark.parametrize("mode", MODES)
def test_a_body_with_secrets_is_only_shared_in_flight(mode: str) -> None:
    """It has an entry, so that callers at once share a mint, and stays there for no time."""
    tool = {"type": "client", "name": "t", "headers": {"X": "1"}}
    body = MintBody.of({"personaConfig": {**PERSONA, "tools": [tool]}})
    entry = entry_for(policy_of(mode), slot="s", body=body)
    assert (entry.seconds, entry.serve_stale) == (0, False)


def test_keys_and_requests_tell_no_secret() -> None:
    """Neither the API key nor who asked."""
    entry = entry_for(policy_of(), slot="s")
    assert not any(word in str(entry) for word in (KEY, "support", "Alex"))
    assert KEY not in repr(wanted(policy_of()))


def test_the_marks_are_those_of_all_a_persona_and_a_user() -> None:
    """In that order; what is not named has none."""
    policy = policy_of()
    assert len(set(policy.invalidation_keys("support", "1"))) == 3
    assert entry_for(policy).invalidation_keys == policy.invalidation_keys("support", "1")
    assert policy.invalidation_keys(None, None) == policy.invalidation_keys("support", "1")[:1]
    assert policy.invalidation_keys(None, "1")[1] != policy.invalidation_keys("1", None)[1]


def token(life: float = 3600.0) -> SessionToken:
    """Return a token minted now."""
    return SessionToken(value="a.b.c", minted_at=NOW, expires_at=NOW + life)


@pytest.mark.parametrize(
    ("life", "fresh_for", "stale_until", "kept_for"),
    [(3600, 3000, 3480, 3480), (900, 750, 780, 780), (600, 500, 480, 500), (60, 50, -60, 50)],
)
def test_a_mintedis_fresh_then_stale_then_gone(
    life: float, fresh_for: float, stale_until: float, kept_for: float
) -> None:
    """Fresh up to 5/6 of its life; stale, for want of a new one, until 120 s before its end."""
    entry = entry_for(policy_of(), slot="s")
    minted = token(life)
    assert entry.is_fresh(minted, NOW + fresh_for - 0.1)
    assert not entry.is_fresh(minted, NOW + fresh_for)
    assert entry.is_stale(minted, NOW + stale_until - 0.1)
    assert not entry.is_stale(minted, NOW + stale_until)
    assert entry.ttl_for(minted) == kept_for


def test_a_short_replay_is_never_stale() -> None:
    """A caller without a slot gets nothing older than the window."""
    for entry in (entry_for(policy_of()), entry_for(policy_of(), idempotency_key="k")):
        assert not entry.is_stale(token(), NOW + 1)
        assert entry.ttl_for(token()) == entry.seconds
        assert not entry.is_fresh(token(), NOW + entry.seconds)
