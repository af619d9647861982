"""The circuit breaker: when it opens, what passes while it is open, and what closes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from faults.upstream.asking import ask, at_once, crowd, mints_of
from flask import Flask
from hosts import make_app

from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

USERS = crowd(40)


@pytest.fixture
def app(sandbox: Sandbox, clock: ManualClock) -> Flask:
    """Return an app that tries each mint once, so that calls and requests are the same number."""
    return make_app(sandbox, *USERS, clock=clock, ANAM_MAX_ATTEMPTS=1)


def _fail(app: Flask, times: int, first_user: int = 0) -> Iterator[int]:
    """Ask as one user after the other; yield what each is told to wait."""
    for user in USERS[first_user : first_user + times]:
        asked = ask(app, user)
        assert (asked.status, asked.code) == (503, "anam_unavailable")
        yield int(asked.headers["Retry-After"])


def test_it_opens_after_five_failures_in_a_row(app: Flask, sandbox: Sandbox) -> None:
    """Four failures and a success change nothing; five failures stop all calls."""
    sandbox.fail_next(503, times=4)
    assert list(_fail(app, 4)) == [2] * 4
    assert ask(app, USERS[4]).status == 200
    sandbox.fail_next(503, times=99)
    assert list(_fail(app, 5, 5)) == [2] * 5
    assert all(8 <= wait <= 12 for wait in _fail(app, 10, 10))
    assert mints_of(sandbox) == 10


@pytest.mark.parametrize("status", [400, 401, 402, 404, 408, 409, 422, 425, 429])
def test_a_refusal_is_a_sign_of_life(
    app: Flask, sandbox: Sandbox, clock: ManualClock, status: int
) -> None:
    """Any 4xx counts as success: four failures, one refusal, four failures, and calls go on."""
    sandbox.fail_next(503, times=4)
    assert len(list(_fail(app, 4))) == 4
    sandbox.fail_next(status, json={"error": "no"})
    assert ask(app, USERS[4]).status in {502, 503}
    clock.move(301)  # past any cool-down
    sandbox.fail_next(503, times=4)
    assert len(list(_fail(app, 4, 5))) == 4
    assert ask(app, USERS[9]).status == 200
    assert mints_of(sandbox) == 10


def test_its_pause_doubles_up_to_a_minute(app: Flask, sandbox: Sandbox, clock: ManualClock) -> None:
    """10, 20, 40, 60, 60 seconds, each a fifth more or less; one call at the end of each."""
    sandbox.fail_next(503, times=99)
    assert len(list(_fail(app, 5))) == 5
    for number, pause in enumerate([10, 20, 40, 60, 60]):
        clock.move(pause * 0.8 - 0.1)
        assert ask(app, USERS[6]).code == "anam_unavailable"
        assert mints_of(sandbox) == 5 + number
        clock.move(pause * 0.4 + 0.1)
        assert ask(app, USERS[6]).code == "anam_unavailable"
        assert mints_of(sandbox) == 6 + number


def test_a_success_closes_it_and_resets_its_pause(
    app: Flask, sandbox: Sandbox, clock: ManualClock
) -> None:
    """After a probe that works, it takes five failures again, and ten seconds again."""
    sandbox.fail_next(503, times=6)
    assert len(list(_fail(app, 5))) == 5
    clock.move(12.1)
    assert len(list(_fail(app, 1, 5))) == 1
    clock.move(24.1)
    assert [ask(app, user).status for user in USERS[6:9]] == [200, 200, 200]
    sandbox.fail_next(503, times=5)
    assert len(list(_fail(app, 5, 10))) == 5
    clock.move(12.1)
    assert ask(app, USERS[20]).status == 200


def test_one_probe_passes_at_a_time(app: Flask, sandbox: Sandbox, clock: ManualClock) -> None:
    """When the pause is over, twenty callers at once cost one call."""
    sandbox.fail_next(503, times=5)
    assert len(list(_fail(app, 5))) == 5
    clock.move(12.1)
    sandbox.fail_next(503, delay=1.0)
    asked = at_once([lambda user=user: ask(app, user) for user in USERS[10:30]])  # type: ignore[misc]
    assert {answer.code for answer in asked} == {"anam_unavailable"}
    assert mints_of(sandbox) == 6


@pytest.mark.slow
def test_calls_that_were_under_way_do_not_double_its_pause(
    app: Flask, sandbox: Sandbox, clock: ManualClock
) -> None:
    """Thirty callers run into one outage together: it is one outage, so ten seconds."""
    sandbox.fail_next(503, times=30, delay=2.0)
    asked = at_once([lambda user=user: ask(app, user) for user in USERS[:30]])  # type: ignore[misc]
    assert {answer.code for answer in asked} == {"anam_unavailable"}
    assert mints_of(sandbox) == 30
    assert all(wait <= 12 for wait in _fail(app, 1, 31))
    clock.move(12.1)
    assert ask(app, USERS[32]).status == 200


@pytest.mark.slow
def test_a_straggler_does_not_let_a_second_probe_through(
    app: Flask, sandbox: Sandbox, clock: ManualClock
) -> None:
    """A call from before the outage that fails during the probe says nothing about the probe."""
    sandbox.fail_next(503, delay=1.2)
    slow = threading.Thread(target=ask, args=(app, USERS[0]))
    slow.start()
    assert sandbox.ledger.wait_for("/v1/auth/session-token", 1)
    sandbox.fail_next(503, times=5)
    assert len(list(_fail(app, 5, 1))) == 5
    clock.move(12.1)
    sandbox.fail_next(503, delay=2.5)
    probe = threading.Thread(target=ask, args=(app, USERS[10]))
    probe.start()
    assert sandbox.ledger.wait_for("/v1/auth/session-token", 7)
    slow.join()
    assert ask(app, USERS[11]).code == "anam_unavailable"
    assert mints_of(sandbox) == 7
    probe.join()


@pytest.mark.slow
def test_a_probe_that_finds_no_answer_counts_as_failed(sandbox: Sandbox) -> None:
    """Silence opens it and keeps it open, as a server error does."""
    clock = ManualClock()
    app = make_app(sandbox, *USERS, clock=clock, ANAM_MAX_ATTEMPTS=1, ANAM_READ_TIMEOUT=0.4)
    sandbox.fail_next(silent=True, times=6)
    assert [ask(app, user).code for user in USERS[:6]] == ["anam_timeout"] * 5 + [
        "anam_unavailable"
    ]
    clock.move(12.1)
    assert ask(app, USERS[7]).code == "anam_timeout"
    clock.move(15.9)
    assert ask(app, USERS[8]).code == "anam_unavailable"
    assert mints_of(sandbox) == 6
    clock.move(8.2)
    assert ask(app, USERS[9]).status == 200
