"""What one user or persona does is not held against the others."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hosts import ADA, BOB, MINT, PERSONA, TOKEN_PATH, User, client_of, make_app

from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.state import get_state
from flask_anam.testing import ManualClock

CHECK = "/v1/sessions/concurrency"
OTHER_PERSONA = {**PERSONA, "name": "Other"}


def make(sandbox: Sandbox, clock: ManualClock, *users: User, **config: Any) -> Flask:
    """Return an app with two personas, of which users may choose the avatar's model."""
    anam = FlaskAnam(clock=clock)
    anam.add_persona("free", PERSONA, overrides=("avatarModel", "languageCode"))
    anam.add_persona("other", OTHER_PERSONA)
    return make_app(sandbox, *users, anam=anam, ANAM_PERSONAS={}, **config)


def ask(app: Flask, user: User, persona: str, slot: str = "tab", **more: Any) -> tuple[int, str]:
    """Ask for a token; return status and code."""
    body = {"personaType": persona, "slot": slot, **more}
    answer = client_of(app, user).post(TOKEN_PATH, json=body)
    return answer.status_code, (answer.get_json() or {}).get("code", "")


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock moved by hand."""
    return ManualClock()


@pytest.mark.parametrize("refusals", [1, 2, 5])
def test_a_refused_choice_locks_nobody_else_out(
    sandbox: Sandbox, clock: ManualClock, refusals: int
) -> None:
    """A 403 belongs to account and body: other personas, and the same without it, go on."""
    app = make(sandbox, clock)
    for number in range(refusals):
        sandbox.fail_next(403)
        choice = {"languageCode": f"e{chr(97 + number)}"}
        assert ask(app, ADA, "free", f"tab-{number}", overrides=choice) == (502, "anam_auth")
    assert ask(app, BOB, "other")[0] == 200
    assert ask(app, BOB, "free")[0] == 200
    assert ask(app, ADA, "other")[0] == 200


def test_a_refused_body_is_not_sent_again_by_anybody(sandbox: Sandbox, clock: ManualClock) -> None:
    """It cools down for 30 s, for all users and processes; then it is tried again."""
    app = make(sandbox, clock)
    sandbox.fail_next(403)
    assert ask(app, ADA, "free") == (502, "anam_auth")
    assert ask(app, BOB, "free") == (502, "anam_auth")
    assert sandbox.ledger.count(MINT) == 1
    clock.move(31)
    assert ask(app, BOB, "free")[0] == 200


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_everywhere_closes_the_account(
    sandbox: Sandbox, clock: ManualClock, status: int
) -> None:
    """A cheap call that is refused as well shows that it is the key: no more calls with it."""
    app = make(sandbox, clock)
    sandbox.fail_next(403)
    sandbox.fail_next(status, path=CHECK)
    assert ask(app, ADA, "free") == (502, "anam_auth")
    assert ask(app, BOB, "other") == (502, "anam_auth")
    assert sandbox.ledger.count(MINT) == 1


def test_a_key_without_other_permissions_is_a_good_key(
    sandbox: Sandbox, clock: ManualClock
) -> None:
    """It has minted a moment ago, so that a 403 for the cheap call says nothing."""
    app = make(sandbox, clock)
    assert ask(app, BOB, "other", "one")[0] == 200
    sandbox.fail_next(403)
    sandbox.fail_next(403, path=CHECK)
    assert ask(app, ADA, "free") == (502, "anam_auth")
    assert ask(app, BOB, "other", "two")[0] == 200


def test_refused_choices_cost_few_checks(sandbox: Sandbox, clock: ManualClock) -> None:
    """However many bodies are refused: one cheap call in 30 s."""
    app = make(sandbox, clock, ANAM_TOKEN_RATE_LIMIT="99 per hour")
    for number in range(8):
        sandbox.fail_next(403)
        ask(app, ADA, "free", overrides={"languageCode": f"e{chr(97 + number)}"})
    assert sandbox.ledger.count(CHECK) == 1


def test_the_text_of_a_403_does_not_blame_the_key_alone(
    sandbox: Sandbox, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It names plan and options first."""
    app = make(sandbox, clock)
    sandbox.fail_next(403)
    ask(app, ADA, "free")
    assert "the plan of the account does not permit this persona" in caplog.text


def test_500s_for_one_body_open_the_breaker_for_that_body_alone(
    sandbox: Sandbox, clock: ManualClock
) -> None:
    """However often one user asks, with however many bodies, the others get their tokens."""
    app = make(sandbox, clock, ANAM_TOKEN_RATE_LIMIT="99 per hour")
    for number in range(40):
        sandbox.fail_next(500, times=3)
        choice = {"languageCode": "en" if number % 2 else "de"}
        assert ask(app, ADA, "free", f"tab-{number}", overrides=choice)[0] == 503
        clock.move(1)
        sandbox.clear_failures()
        if number % 10 == 9:
            assert ask(app, BOB, "other", f"tab-{number}")[0] == 200
    assert sandbox.ledger.count(MINT) < 40


def test_500s_for_different_users_and_bodies_open_it_for_all(
    sandbox: Sandbox, clock: ManualClock
) -> None:
    """Then it is Anam that fails: after five in a row there are no calls for 8 to 12 s."""
    app = make(sandbox, clock)
    sandbox.fail_next(500, times=99)
    ask(app, ADA, "free")
    ask(app, BOB, "other")
    calls = sandbox.ledger.count(MINT)
    assert calls >= 5
    assert ask(app, ADA, "other", "new") == (503, "anam_unavailable")
    assert sandbox.ledger.count(MINT) == calls


@pytest.mark.parametrize("status", [502, 503, 504])
def test_other_server_errors_count_at_once(
    sandbox: Sandbox, clock: ManualClock, status: int
) -> None:
    """They are Anam's, whatever was sent: the breaker opens for all."""
    app = make(sandbox, clock)
    sandbox.fail_next(status, times=99)
    for slot in ("one", "two"):
        ask(app, ADA, "free", slot)
    calls = sandbox.ledger.count(MINT)
    assert ask(app, BOB, "other") == (503, "anam_unavailable")
    assert sandbox.ledger.count(MINT) == calls == 5


def test_the_probe_is_not_the_body_that_failed_last(sandbox: Sandbox, clock: ManualClock) -> None:
    """When the breaker is half open, another body tries; nobody is kept out for that."""
    app = make(sandbox, clock)
    sandbox.fail_next(500, times=99)
    ask(app, ADA, "free")
    ask(app, BOB, "other")
    sandbox.clear_failures()
    clock.move(12.5)
    calls = sandbox.ledger.count(MINT)
    assert ask(app, BOB, "other", "new")[0] == 503
    assert sandbox.ledger.count(MINT) == calls
    assert ask(app, ADA, "free", "new")[0] == 200


def test_the_token_limit_bounds_what_a_user_has_refused(
    sandbox: Sandbox, clock: ManualClock
) -> None:
    """A mint that Anam refuses for the caller's own choice counts; others are given back."""
    app = make(sandbox, clock, ANAM_TOKEN_RATE_LIMIT="3 per hour")
    sandbox.fail_next(400, times=99)
    for number in range(3):
        choice = {"languageCode": f"e{chr(97 + number)}"}
        assert ask(app, ADA, "free", overrides=choice) == (502, "anam_rejected")
    assert ask(app, ADA, "free", overrides={"languageCode": "xx"}) == (429, "rate_limited")
    assert sandbox.ledger.count(MINT) == 3
    for _ in range(5):
        assert ask(app, BOB, "other") == (502, "anam_rejected")
        clock.move(11)
    sandbox.clear_failures()
    assert ask(app, BOB, "other")[0] == 200


@pytest.mark.parametrize("kind", ["persona", "key"])
def test_callables_of_the_host_run_within_the_request_limit(
    sandbox: Sandbox, clock: ManualClock, kind: str
) -> None:
    """A database query in a persona or key callable is no gift to a flood."""
    runs = 0

    def persona(user: object = None) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        return PERSONA

    def key(_persona: str, _user: object) -> str:
        nonlocal runs
        runs += 1
        return sandbox.api_key

    anam = FlaskAnam(clock=clock)
    if kind == "persona":
        anam.add_persona("own", persona)
    else:
        anam.add_persona("own", PERSONA, api_key=key)
    config: dict[str, Any] = {"ANAM_REQUEST_RATE_LIMIT": "2 per hour", "ANAM_PERSONAS": {}}
    app = make_app(sandbox, anam=anam, **config)
    statuses = [ask(app, ADA, "own")[0] for _ in range(50)]
    assert statuses == [200, 200] + 48 * [429]
    assert runs == 2


@pytest.mark.parametrize("where", ["user", "loader"])
def test_a_mapping_grants_nothing(sandbox: Sandbox, where: str) -> None:
    """`{"anam:talk": False}` is refused like a string, on the user and from the loader."""
    anam = FlaskAnam()
    user = User("mallory", may_talk=False, permissions={"anam:talk": False})
    if where == "loader":
        anam.permission_loader(lambda _user: {"anam:talk": False})
    app = make_app(sandbox, user, anam=anam)
    assert ask(app, user, "support") == (500, "config_error")
    assert sandbox.ledger.count(MINT) == 0


def test_no_admission_counts_twice(sandbox: Sandbox, clock: ManualClock) -> None:
    """A persona that is made per user costs one request, as a static persona does."""
    anam = FlaskAnam(clock=clock)
    anam.add_persona("own", lambda _user: PERSONA)
    config: dict[str, Any] = {"ANAM_REQUEST_RATE_LIMIT": "3 per hour", "ANAM_PERSONAS": {}}
    app = make_app(sandbox, anam=anam, **config)
    assert [ask(app, ADA, "own")[0] for _ in range(4)] == [200, 200, 200, 429]
    assert get_state(app).settings.request_rate_limit == "3 per hour"
