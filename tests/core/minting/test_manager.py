"""The token lifecycle: what is reused, for whom, and for how long.

The manager alone, in one process. tests/faults/store/test_reuse_rules.py tests the same rules on
a whole app with each kind of cache, tests/glue/test_reuse_and_limits.py over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cachelib import SimpleCache
from core.conftest import BODY, ManagerHarness
from hosts import KEY, PERSONA

from flask_anam.core.minting.issuance import IssuedToken
from flask_anam.core.personas.mint_body import MintBody
from flask_anam.errors import AnamError, RateLimited


def body_of(**changes: Any) -> MintBody:
    """Return the body of a persona that differs in some fields."""
    return MintBody.of({"personaConfig": {**PERSONA, **changes}})


WHO: dict[str, dict[str, Any]] = {
    "slot": {"slot": "s1"},
    "idempotency key": {"idempotency_key": "k1"},
    "bare": {},
}


@pytest.mark.parametrize(
    ("mode", "who", "seconds"),
    [
        ("until_used", "slot", 3000),
        ("until_used", "idempotency key", 60),
        ("until_used", "bare", 3),
        ("until_expiry", "slot", 3000),
        ("until_expiry", "idempotency key", 3000),
        ("until_expiry", "bare", 3000),
        ("never", "slot", 0),
        ("never", "idempotency key", 0),
        ("never", "bare", 0),
    ],
)
def test_a_token_is_reused_for_as_long_as_the_table_says(
    harness: ManagerHarness, mode: str, who: str, seconds: int
) -> None:
    """Section 5, row by row: just before the end it is the same token, after it a new one."""
    harness.manager(ANAM_TOKEN_REUSE=mode)
    first = harness.ask(**WHO[who])
    harness.clock.move(max(0, seconds - 1))
    again = harness.ask(**WHO[who])
    assert again.reused is bool(seconds)
    assert (again.session_token == first.session_token) is bool(seconds)
    harness.clock.move(1.5)
    assert harness.ask(**WHO[who]).reused is False


@pytest.mark.parametrize(
    ("mode", "same"), [("until_used", False), ("until_expiry", True), ("never", False)]
)
@pytest.mark.parametrize(
    "other", [{"slot": "s2"}, {}, {"idempotency_key": "s1"}], ids=["slot", "bare", "key"]
)
def test_slots_tell_tabs_apart(harness: ManagerHarness, mode: str, same: bool, other: Any) -> None:
    """Another tab gets a token of its own, unless tokens may be used more than once."""
    harness.manager(ANAM_TOKEN_REUSE=mode)
    first = harness.ask(slot="s1")
    assert (harness.ask(**other).token_id == first.token_id) is same


@pytest.mark.parametrize("mode", ["until_used", "until_expiry", "never"])
def test_two_users_never_share_a_token(harness: ManagerHarness, mode: str) -> None:
    """Same persona, slot and key: each user gets one of its own."""
    harness.manager(ANAM_TOKEN_REUSE=mode)
    users = ["1", "01", "", "None", "0"]
    issued = [harness.ask(user, slot="s", idempotency_key="k").token_id for user in users]
    assert len(set(issued)) == len(users)


@pytest.mark.parametrize("mode", ["until_used", "until_expiry", "never"])
def test_without_a_user_nothing_is_stored(harness: ManagerHarness, mode: str) -> None:
    """Nobody else could be told from the owner."""
    harness.manager(ANAM_TOKEN_REUSE=mode)
    assert harness.ask(None, slot="s").token_id != harness.ask(None, slot="s").token_id
    assert isinstance(harness.cache, SimpleCache)
    assert harness.cache._cache == {}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            {"body": MintBody.of({"personaConfig": {**PERSONA, "name": "Bo"}})}, id="config"
        ),
        pytest.param(
            {"body": MintBody.of({**BODY, "sessionOptions": {"videoQuality": "auto"}})},
            id="options",
        ),
        pytest.param({"persona_type": "other"}, id="persona"),
    ],
)
def test_a_change_of_persona_means_a_new_token(
    harness: ManagerHarness, change: dict[str, Any]
) -> None:
    """Config, session options, persona: a stored token for another one is never handed out."""
    first = harness.ask(slot="s")
    assert harness.ask(slot="s", **change).token_id != first.token_id
    assert harness.ask(slot="s").token_id == first.token_id


def test_a_rotated_api_key_means_a_new_token(harness: ManagerHarness) -> None:
    """Tokens of the old key are not served from then on."""
    keys = [KEY]
    harness.manager(lambda: keys[0])
    first = harness.ask(slot="s")
    keys[0] = "other-key"
    harness.sandbox.fail_next(200, json={"sessionToken": "new"})
    assert harness.ask(slot="s").session_token == "new" != first.session_token


def test_a_token_is_not_handed_out_past_five_sixths_of_its_life(harness: ManagerHarness) -> None:
    """However long the cache timeout is."""
    harness.manager(ANAM_TOKEN_CACHE_TIMEOUT=86400)
    first = harness.ask(slot="s")
    harness.clock.move(2999)
    second = harness.ask(slot="s")
    assert (second.token_id, second.expires_in) == (first.token_id, 601)
    harness.clock.move(2)
    assert harness.ask(slot="s").reused is False


def test_a_refused_token_does_not_come_back(harness: ManagerHarness) -> None:
    """Only that one: a stale refusal leaves the newer token in place."""
    first = harness.ask(slot="s")
    second = harness.ask(slot="s", refused=first.token_id)
    assert second.token_id != first.token_id
    assert harness.ask(slot="s", refused=first.token_id).token_id == second.token_id
    assert harness.mints == 2


def test_a_refused_token_counts_against_the_limit(harness: ManagerHarness) -> None:
    """A loop of refusals enters the limit each time."""
    entered = []

    @contextmanager
    def limit() -> Iterator[None]:
        entered.append(1)
        yield

    token = harness.ask(slot="s", limit=limit)
    for _ in range(3):
        token = harness.ask(slot="s", limit=limit, refused=token.token_id)
    assert len(entered) == 4


def test_a_reported_start_uses_the_token_up(harness: ManagerHarness) -> None:
    """Once; the same report again changes nothing."""
    first = harness.ask(slot="s")
    assert harness.started("1", first.token_id) is True
    assert harness.started("1", first.token_id) is False
    assert harness.ask(slot="s").token_id != first.token_id


def test_a_foreign_or_unknown_report_does_nothing(harness: ManagerHarness) -> None:
    """Nobody can use up the token of another user."""
    first = harness.ask(slot="s")
    assert harness.started("2", first.token_id) is False
    assert harness.started("1", "x" * 16) is False
    assert harness.ask(slot="s").token_id == first.token_id


def test_a_late_report_leaves_the_newer_token(harness: ManagerHarness) -> None:
    """The report of a token that is long replaced is true, and evicts nothing."""
    first = harness.ask(slot="s")
    second = harness.ask(slot="s", refused=first.token_id)
    assert harness.started("1", first.token_id) is True
    assert harness.ask(slot="s").token_id == second.token_id


def test_tokens_of_many_uses_outlive_their_start(harness: ManagerHarness) -> None:
    """In the mode until_expiry a start evicts nothing and may be reported again."""
    harness.manager(ANAM_TOKEN_REUSE="until_expiry")
    first = harness.ask()
    assert harness.started("1", first.token_id) is True
    assert harness.started("1", first.token_id) is True
    assert harness.ask().token_id == first.token_id


@pytest.mark.parametrize("mode", ["never", "until_used"])
def test_a_start_can_be_reported_when_the_token_is_no_longer_kept(
    harness: ManagerHarness, mode: str
) -> None:
    """Who got it is remembered for as long as the token lives."""
    harness.manager(ANAM_TOKEN_REUSE=mode)
    first = harness.ask()
    harness.clock.move(1800)
    assert harness.started("1", first.token_id) is True


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        pytest.param({}, {"1a", "1b", "2a"}, id="all"),
        pytest.param({"persona_type": "a"}, {"1a", "2a"}, id="a persona"),
        pytest.param({"user_id": "1"}, {"1a", "1b"}, id="a user"),
        pytest.param({"user_id": "3"}, set(), id="a stranger"),
    ],
)
def test_clearing_forgets_what_was_asked_for(
    harness: ManagerHarness, which: Any, gone: set[str]
) -> None:
    """All, or those of a persona or of a user; what comes later is kept again."""

    def ask_all() -> dict[str, IssuedToken]:
        pairs = [("1", "a"), ("1", "b"), ("2", "a")]
        return {u + p: harness.ask(u, persona_type=p, slot="s") for u, p in pairs}

    harness.cache.set("of the host", "kept")
    ask_all()
    harness.clear(**which)
    assert {name for name, token in ask_all().items() if not token.reused} == gone
    assert all(token.reused for token in ask_all().values())
    assert harness.cache.get("of the host") == "kept"


def test_configs_with_secrets_are_never_stored(harness: ManagerHarness) -> None:
    """Their tokens embed something that may die sooner."""
    tool = {"type": "server", "name": "t", "headers": {"X": "1"}}
    body = body_of(tools=[tool])
    harness.sandbox.fail_next(200, json={"sessionToken": "one"})
    harness.sandbox.fail_next(200, json={"sessionToken": "two"})
    assert harness.ask(slot="s", body=body).session_token == "one"
    assert harness.ask(slot="s", body=body).session_token == "two"


def test_the_limit_is_entered_only_before_a_mint(harness: ManagerHarness) -> None:
    """A reused token costs nothing; a full limit stops the mint and nothing else."""
    events: list[str] = []

    @contextmanager
    def limit() -> Iterator[None]:
        events.append("in")
        try:
            yield
        except AnamError:
            events.append("given back")
            raise

    harness.ask(slot="s", limit=limit)
    harness.ask(slot="s", limit=limit)
    assert events == ["in"]
    harness.sandbox.fail_next(502, times=3)
    with pytest.raises(AnamError):
        harness.ask(slot="other", limit=limit)
    assert events == ["in", "in", "given back"]
    mints = harness.mints

    @contextmanager
    def full() -> Iterator[None]:
        raise RateLimited(limit=10, retry_after=60)
        yield

    with pytest.raises(RateLimited):
        harness.ask(slot="third", limit=full)
    assert harness.ask(slot="s", limit=full).reused
    assert harness.mints == mints
