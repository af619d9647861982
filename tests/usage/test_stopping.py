"""Stopping sessions at Anam: one's own, by code, and what a tab has left running."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hosts import ADA, BOB, EVE, KEY, PERSONA, User, client_of
from usage.conftest import World

from flask_anam.errors import AnamUnavailable
from flask_anam.metrics.collector import read_metrics
from flask_anam.sandbox import Sandbox

SHOP = "https://shop.example"


def exit_of(world: World, session_id: str) -> str | None:
    """Return how the sandbox's session ended; None while it runs."""
    status = world.sandbox_sessions.get(session_id)["exitStatus"]
    return None if status is None else str(status)


def delete(world: World, user: User | None, session_id: str, **headers: str) -> Any:
    """Ask for the stop of a session."""
    client = client_of(world.app, user)
    return client.delete(f"/anam/sessions/{session_id}", headers=headers)


def test_users_stop_their_own_sessions(world: World, usage_url: str) -> None:
    """The session is over at Anam, and its end is recorded; again is as good as once."""
    world.make(usage_url)
    session_id = world.talk(ADA, "tab")
    world.clock.move(20)
    assert delete(world, ADA, session_id).status_code == 204
    assert exit_of(world, session_id) == "CLOSED_BY_ENGINE"
    (record,) = world.recorder.store.find(session_id=session_id)
    assert (record.seconds, record.exit_status, record.source) == (20.0, "STOPPED", "report")
    assert delete(world, ADA, session_id).status_code == 204
    assert read_metrics(world.state)["sessions_ended"] == 1


def test_foreign_and_unknown_sessions_look_alike(world: World, usage_url: str) -> None:
    """Both are a 404 of the same words, and Anam is not asked."""
    world.make(usage_url)
    session_id = world.talk(ADA, "tab")
    asked = len(world.sandbox.ledger.requests)
    foreign, unknown = delete(world, BOB, session_id), delete(world, BOB, "no-such-session")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.get_json() == unknown.get_json()
    assert len(world.sandbox.ledger.requests) == asked
    assert exit_of(world, session_id) is None


def test_a_stolen_session_id_stops_nothing(world: World, usage_url: str) -> None:
    """Claimed by a start report of somebody else's own token, it still belongs to its label."""
    world.make(usage_url, ADA, BOB)
    token = world.token(ADA, "tab")
    session_id = world.open(token)
    world.report(BOB, world.token(BOB, "tab"), session_id)
    assert delete(world, BOB, session_id).status_code == 404
    assert exit_of(world, session_id) is None
    world.report(ADA, token, session_id)
    assert delete(world, ADA, session_id).status_code == 204


def test_a_forged_report_does_not_make_a_session_look_over(world: World, usage_url: str) -> None:
    """A claim that was settled as unknown to Anam says nothing of the session itself."""
    world.make(usage_url)
    session_id = world.talk(ADA)
    forged = world.token(BOB, "forged")
    world.report(BOB, forged, session_id)
    (claim,) = world.recorder.find_session(session_id, "bob")
    end = {"ended_at": claim.started_at, "seconds": 0.0, "exit_status": "NOT_FOUND"}
    world.recorder.store.change(claim.id, source="anam", **end)
    with world.app.app_context():
        assert world.anam.stop_session(session_id)
    assert exit_of(world, session_id) is not None


def test_a_session_claimed_for_many_tokens_costs_one_question(world: World, usage_url: str) -> None:
    """The true token's claim stops it, wherever it stands among the others."""
    world.make(usage_url)
    tokens = [world.token(ADA, f"tab {number}") for number in range(4)]
    session_id = world.open(tokens[2])
    for token in tokens:
        world.report(ADA, token, session_id)
        world.report(ADA, token, "invented")
    asked = len(world.sandbox.ledger.requests)
    assert delete(world, ADA, "invented").status_code == 404
    assert delete(world, ADA, session_id).status_code == 204
    assert len(world.sandbox.ledger.requests) - asked <= 3  # a look for each, and the stop
    assert exit_of(world, session_id) == "CLOSED_BY_ENGINE"
    ended = [r.token_id for r in world.recorder.store.find(session_id=session_id) if r.ended_at]
    assert ended == [tokens[2]["tokenId"]]


@pytest.mark.parametrize(
    ("user", "headers", "status"),
    [
        (None, {}, 401),
        (EVE, {}, 403),
        (ADA, {"Origin": "https://evil.test"}, 403),
        (ADA, {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=["nobody", "no permission", "another origin", "another site"],
)
def test_a_stop_is_checked_like_everything_else(
    world: World, user: User | None, headers: dict[str, str], status: int
) -> None:
    """Login, permission and site come first."""
    world.make("memory://", ADA, EVE)
    session_id = world.talk(ADA, "tab")
    assert delete(world, user, session_id, **headers).status_code == status
    assert exit_of(world, session_id) is None


def test_a_listed_origin_may_stop(world: World) -> None:
    """The preflight allows DELETE there, and tells others nothing."""
    world.make("memory://", ANAM_ALLOWED_ORIGINS=[SHOP])
    path = "/anam/sessions/some-id"
    asked = {"Access-Control-Request-Method": "DELETE"}
    answer = client_of(world.app).options(path, headers={"Origin": SHOP, **asked})
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    answer = client_of(world.app).options(path, headers={"Origin": "https://evil.test", **asked})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    session_id = world.talk(ADA, "tab")
    assert delete(world, ADA, session_id, Origin=SHOP).status_code == 204


def test_stops_count_against_the_request_limit(world: World) -> None:
    """Each costs calls to Anam."""
    world.make("memory://", ANAM_REQUEST_RATE_LIMIT="1 per hour")
    assert delete(world, ADA, "x").status_code == 404
    assert delete(world, ADA, "x").status_code == 429


def test_a_failure_of_anam_is_told(world: World) -> None:
    """And the session is still taken to run."""
    world.make("memory://")
    session_id = world.talk(ADA, "tab")
    world.sandbox.fail_next(503, path=f"/v1/sessions/{session_id}")
    assert delete(world, ADA, session_id).status_code == 503
    (record,) = world.recorder.store.find(session_id=session_id)
    assert record.ended_at is None


def test_code_stops_sessions(world: World, usage_url: str) -> None:
    """By session, or all of a user's, reported or not; nobody else's."""
    world.make(usage_url, ANAM_USAGE_USER_IDS="hashed")
    reported = world.talk(ADA, "a")
    silent = world.open(world.token(ADA, "b"))
    others = [world.talk(BOB, "a"), world.talk(BOB, "b")]
    with world.app.app_context():
        assert world.anam.stop_session("no-such-session") is False
        assert world.anam.stop_session(others[0]) is True
        assert world.anam.stop_user_sessions("ada") == 2
        assert world.anam.stop_user_sessions("ada") == 0
        world.sandbox.fail_next(503, path=f"/v1/sessions/{others[1]}")
        with pytest.raises(AnamUnavailable):
            world.anam.stop_session(others[1])
    ended = [exit_of(world, session) is not None for session in (reported, silent, *others)]
    assert ended == [True, True, True, False]


def test_a_persona_with_its_own_key_is_stopped_with_that(world: World) -> None:
    """The key that depends on the user is found for the user who has the session."""
    with Sandbox(api_key="sandbox-other-key", clock=world.clock.time) as other:
        keys = {"ada": other.api_key}

        def key_for(persona_type: str | None, user: Any) -> str:
            return keys.get(getattr(user, "id", ""), KEY)

        own = {**PERSONA, "apiKey": key_for}
        world.make("memory://", ANAM_PERSONAS={"own": own}, ANAM_BASE_URL=other.url)
        here, world.sandbox = world.sandbox, other
        session_id = world.talk(ADA, "tab")
        with world.app.app_context():
            assert world.anam.stop_session(session_id) is True
        assert exit_of(world, session_id) == "CLOSED_BY_ENGINE"
        world.sandbox = here


def two_tabs(world: World, **config: Any) -> tuple[str, str]:
    """Talk in two tabs."""
    world.make("memory://", ANAM_STOP_ORPHANS=True, **config)
    return world.talk(ADA, "crashed"), world.talk(ADA, "live")


def test_a_tab_that_comes_back_stops_what_it_left(world: World) -> None:
    """Only its own: a second tab, another persona and another user go on."""
    personas = {"support": PERSONA, "coach": PERSONA}
    world.make("memory://", ANAM_STOP_ORPHANS=True, ANAM_PERSONAS=personas)
    gone = world.talk(ADA, "tab", personaType="support")
    coach = world.talk(ADA, "tab", personaType="coach")
    other = world.talk(ADA, "other", personaType="support")
    bob = world.talk(BOB, "tab", personaType="support")
    world.token(ADA, "tab", personaType="support")
    assert [exit_of(world, session) is None for session in (gone, coach, other, bob)] == [
        False,
        True,
        True,
        True,
    ]
    assert read_metrics(world.state)["sessions_active"] == 3


def test_a_place_is_free_once_the_orphan_is_stopped(world: World) -> None:
    """With a limit of one, the tab that crashed gets its next token at once."""
    world.make("memory://", ANAM_STOP_ORPHANS=True, ANAM_CONCURRENT_SESSIONS=1)
    gone = world.talk(ADA, "tab")
    assert world.ask(ADA, "live").status_code == 429
    assert exit_of(world, gone) is None
    assert world.ask(ADA, "tab").status_code == 200
    assert exit_of(world, gone) == "CLOSED_BY_ENGINE"


def test_orphans_are_left_alone_by_default(world: World) -> None:
    """Nothing is stopped that nobody asked to stop; nor without a slot."""
    world.make("memory://")
    left = world.talk(ADA, "tab")
    world.token(ADA, "tab")
    world.make("memory://", ANAM_STOP_ORPHANS=True)
    unnamed = world.talk(ADA)
    world.clock.move(10)
    world.token(ADA)
    assert [exit_of(world, session) for session in (left, unnamed)] == [None, None]


def test_an_orphan_that_cannot_be_stopped_costs_no_token(
    world: World, logged: pytest.LogCaptureFixture
) -> None:
    """It is logged, and tried again with the next one."""
    world.make("memory://", ANAM_STOP_ORPHANS=True)
    left = world.talk(ADA, "tab")
    world.sandbox.fail_next(503, path=f"/v1/sessions/{left}")
    token = world.token(ADA, "tab")
    assert "could not be stopped: anam_unavailable" in logged.text
    world.token(ADA, "tab", refused=token["tokenId"])
    assert exit_of(world, left) == "CLOSED_BY_ENGINE"


def test_a_stolen_id_is_no_orphan(world: World) -> None:
    """Reporting somebody's session as one's own, and coming back, stops nothing."""
    world.make("memory://", ADA, BOB, ANAM_STOP_ORPHANS=True)
    session_id = world.open(world.token(ADA, "tab"))
    world.report(BOB, world.token(BOB, "tab"), session_id)
    world.token(BOB, "tab")
    assert exit_of(world, session_id) is None
    assert isinstance(world.app, Flask)
