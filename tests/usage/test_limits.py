"""Minutes and sessions at once, as users meet them."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import ADA, BOB, PERSONA, make_app
from usage.conftest import World

import flask_anam
from flask_anam.core.usage.records import GRACE
from flask_anam.errors import ConfigError
from flask_anam.sandbox import Sandbox
from flask_anam.session_control import api_key_resolver

SHORT = {"support": {**PERSONA, "maxSessionLengthSeconds": 120}}


def longest(world: World) -> list[float | None]:
    """Return the longest session that each mint allowed."""
    configs = [mint.persona_config for mint in world.sandbox.ledger.mints]
    return [config.get("maxSessionLengthSeconds") for config in configs]


def code(answer: Any) -> str:
    """Return the code of a refusal."""
    assert answer.status_code == 429, answer.text
    return str(answer.get_json()["code"])


def test_without_limits_nothing_is_clamped(world: World, usage_url: str) -> None:
    """A persona's own longest time is sent as it is, and none where it has none."""
    personas = {"plain": PERSONA, **SHORT}
    world.make(usage_url, ANAM_PERSONAS=personas)
    for persona in personas:
        world.token(ADA, "tab", personaType=persona)
    assert longest(world) == [None, 120]


@pytest.mark.slow
def test_a_session_may_last_what_is_left(world: World, usage_url: str) -> None:
    """Used time counts as it was; nothing left is refused until the window ends."""
    world.make(usage_url, ANAM_MINUTES_LIMIT="10 per day", ANAM_PERSONAS=SHORT)
    for _ in range(4):
        session_id = world.talk(ADA)
        world.clock.move(100)
        world.end(ADA, session_id)
        world.clock.move(10)
    world.talk(ADA)
    world.clock.move(10)
    assert longest(world) == [120, 120, 120, 120, 120]
    world.talk(ADA)
    assert longest(world)[-1] == 600 - 400 - 120
    world.clock.move(10)
    answer = world.ask(ADA)
    assert code(answer) == "minutes_exhausted"
    left = 86400 - world.clock.now % 86400
    assert int(answer.headers["Retry-After"]) == answer.get_json()["retryAfter"] == left
    assert world.ask(BOB).status_code == 200
    world.clock.move(left)
    assert world.ask(ADA).status_code == 200
    assert longest(world)[-1] == 120


def test_several_windows_hold_together(world: World) -> None:
    """The scarcest one decides how long; any full one refuses."""
    world.make("memory://", ANAM_MINUTES_LIMIT="2 per hour; 3 per day")
    world.clock.move(86400 - world.clock.now % 86400)
    for minutes in (2, 1):
        session_id = world.talk(ADA)
        assert longest(world)[-1] == minutes * 60
        world.clock.move(3600)
        world.end(ADA, session_id)
    answer = world.ask(ADA)
    assert code(answer) == "minutes_exhausted"
    assert answer.get_json()["retryAfter"] == 22 * 3600


def test_a_reused_or_shared_token_reserves_once(world: World, usage_url: str) -> None:
    """The same tab, a replay and a repeated call hold one place."""
    world.make(usage_url, ANAM_CONCURRENT_SESSIONS=1)
    first = world.token(ADA, "tab")
    world.clock.move(2900)
    assert world.token(ADA, "tab")["tokenId"] == first["tokenId"]
    assert code(world.ask(ADA, "another")) == "too_many_sessions"
    assert world.token(BOB)["tokenId"] == world.token(BOB)["tokenId"]


def test_a_tab_that_outlives_its_token_keeps_its_place(world: World, usage_url: str) -> None:
    """The stored token is too old, its place not yet free: the new one takes it over."""
    world.make(usage_url, ANAM_CONCURRENT_SESSIONS=1)
    first = world.token(ADA, "tab")
    world.clock.move(3001)
    assert world.token(ADA, "tab")["tokenId"] != first["tokenId"]
    assert code(world.ask(ADA, "another")) == "too_many_sessions"


def test_a_place_is_free_again(world: World, usage_url: str) -> None:
    """After an end, a refusal, and the token's own end."""
    world.make(usage_url, ANAM_CONCURRENT_SESSIONS=1)
    session_id = world.talk(ADA, "a")
    answer = world.ask(ADA, "b")
    assert code(answer) == "too_many_sessions"
    assert answer.headers["Retry-After"] == "10"
    world.end(ADA, session_id)
    token = world.token(ADA, "b")
    assert code(world.ask(ADA, "c")) == "too_many_sessions"
    again = world.token(ADA, "b", refused=token["tokenId"])
    assert again["tokenId"] != token["tokenId"]
    world.clock.move(3600 + GRACE)
    assert world.ask(ADA, "c").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit", [{"ANAM_CONCURRENT_SESSIONS": 1}, {"ANAM_MINUTES_LIMIT": "1/day"}]
)
def test_a_mint_that_fails_gives_everything_back(
    world: World, usage_url: str, limit: dict[str, Any]
) -> None:
    """Place, minutes and the token limit; a refusal by these limits costs no mint either."""
    world.make(usage_url, ANAM_TOKEN_RATE_LIMIT="2 per hour", **limit)
    world.sandbox.fail_next(400)
    assert world.ask(ADA, "a").status_code == 502
    world.clock.move(11)
    assert world.ask(ADA, "a").status_code == 200
    for slot in "bcd":
        assert code(world.ask(ADA, slot)) in {"too_many_sessions", "minutes_exhausted"}
    world.end(ADA, world.talk(ADA, "a"))
    world.clock.move(0)
    remaining = int(world.ask(ADA, "a").headers.get("RateLimit-Remaining", "0"))
    assert remaining <= 1


def test_a_fallback_persona_reserves_once(world: World, usage_url: str) -> None:
    """The mint of the lost persona gives its place to that of the fallback."""
    lost = {"personaId": "5a0b2ba5-0a5b-4f3d-8d43-0a5a0f9a4c11", "fallback": "support"}
    world.make(
        usage_url, ANAM_PERSONAS={"support": PERSONA, "lost": lost}, ANAM_CONCURRENT_SESSIONS=1
    )
    world.sandbox.fail_next(404)
    assert world.token(ADA, "a", personaType="lost")["personaType"] == "support"
    records = world.recorder.store.pending(since=0.0)
    assert [record.persona_type for record in records] == ["support"]


def test_a_page_that_lies_gets_no_more_than_its_tokens(world: World, usage_url: str) -> None:
    """It says of each token that it failed, and talks with all; the next reconciliation counts."""
    world.make(usage_url, ANAM_MINUTES_LIMIT="10 per day", ANAM_TOKEN_RATE_LIMIT="3 per hour")
    token = world.token(ADA, "tab")
    sessions = [world.open(token)]
    for _ in range(2):
        token = world.token(ADA, "tab", refused=token["tokenId"])
        sessions.append(world.open(token))
    lie = world.ask(ADA, "tab", refused=token["tokenId"])
    assert code(lie) == "rate_limited"
    assert longest(world) == [600, 600, 600]
    world.clock.move(600)
    for session_id in sessions:
        world.hang_up(session_id)
    with world.app.app_context():
        assert world.state.reconciler.run(api_key_resolver(world.state)).settled == 3
    world.clock.move(3600)
    assert code(world.ask(ADA, "tab")) == "minutes_exhausted"


def test_code_without_a_user_is_not_limited(world: World) -> None:
    """There is nobody to count for; the mint is recorded all the same."""
    world.make("memory://", ANAM_CONCURRENT_SESSIONS=1, ANAM_MINUTES_LIMIT="1 per day")
    with world.app.app_context():
        for _ in range(3):
            world.anam.create_token("support")
    assert [r.user_id for r in world.recorder.store.pending(since=0.0)] == [None] * 3


def test_limits_are_signalled(world: World) -> None:
    """limit_reached names which one."""
    world.make("memory://", ANAM_CONCURRENT_SESSIONS=1)
    received: list[Any] = []

    def receive(sender: Any, **facts: Any) -> None:
        received.append(facts)

    flask_anam.limit_reached.connect(receive, sender=world.app)
    world.token(ADA, "a")
    world.ask(ADA, "b")
    assert received == [{"user_id": "ada", "limit": "sessions", "retry_after": 10}]


def test_a_session_that_anam_has_ended_frees_its_place(world: World, usage_url: str) -> None:
    """Before a user is refused, Anam is asked: a crashed tab reports no end."""
    world.make(usage_url, ANAM_CONCURRENT_SESSIONS=1)
    crashed = world.talk(ADA, "a")
    world.clock.move(30)
    assert code(world.ask(ADA, "b")) == "too_many_sessions"
    world.hang_up(crashed)
    assert code(world.ask(ADA, "b")) == "too_many_sessions"  # asked a moment ago
    world.clock.move(10)
    assert world.ask(ADA, "b").status_code == 200
    (record,) = world.recorder.store.find(session_id=crashed)
    assert (record.source, record.seconds) == ("anam", 30.0)


def test_tokens_that_may_be_used_again_cannot_be_limited(sandbox: Sandbox) -> None:
    """It is said at start-up, with the cure."""
    for limit in ({"ANAM_CONCURRENT_SESSIONS": 1}, {"ANAM_MINUTES_LIMIT": "1/day"}):
        with pytest.raises(ConfigError, match='Use "until_used"'):
            make_app(sandbox, ANAM_TOKEN_REUSE="until_expiry", **limit)


def test_limits_in_memory_are_warned_of(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    """Where several workers are likely, each would keep them for itself."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    make_app(sandbox, ANAM_CONCURRENT_SESSIONS=1)
    assert "every worker keeps ANAM_MINUTES_LIMIT and" in logged.text
