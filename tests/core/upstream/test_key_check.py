"""The key check: asked seldom, once for everybody, and right about keys that are in use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from core.conftest import ClientMaker
from hosts import KEY

from flask_anam.core.clock import Deadline
from flask_anam.core.upstream.key_check import CHECK_PAUSE, MAX_REMEMBERED, KeyCheck
from flask_anam.errors import AnamAuthError, AnamRejected
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

PATH = "/v1/sessions/concurrency"


@pytest.fixture
def check(make_client: ClientMaker, clock: ManualClock) -> KeyCheck:
    """Return a key check on the sandbox."""
    return KeyCheck(make_client(), clock)


def blames_key(check: KeyCheck, deadline: Deadline, account: str = "account") -> bool:
    """Return whether a 403 is attributed to the key."""
    error = AnamAuthError()
    error.of_request = True
    check.attribute(error, account, KEY, deadline)
    return not error.of_request


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_a_cheap_call_is_refused_for_is_bad(
    check: KeyCheck, deadline: Deadline, sandbox: Sandbox, status: int
) -> None:
    """The refusal is remembered for 30 s."""
    sandbox.fail_next(status, path=PATH)
    assert [blames_key(check, deadline) for _ in range(3)] == [True] * 3
    assert sandbox.ledger.count(PATH) == 1


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"reset": True}], ids=str)
def test_a_key_is_good_while_nothing_else_is_known(
    check: KeyCheck, deadline: Deadline, sandbox: Sandbox, fault: dict[str, int]
) -> None:
    """Anam that cannot be asked says nothing of the key."""
    sandbox.fail_next(path=PATH, **fault)  # type: ignore[arg-type]
    assert not blames_key(check, deadline)


def test_many_refusals_at_once_cost_one_call(
    check: KeyCheck, deadline: Deadline, sandbox: Sandbox
) -> None:
    """Twenty threads with a 403 each: one of them asks."""
    barrier = Barrier(20)

    def ask() -> bool:
        barrier.wait(10)
        return blames_key(check, deadline)

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(ask) for _ in range(20)]
        assert not any(answer.result(20) for answer in answers)
    assert sandbox.ledger.count(PATH) == 1


def test_it_is_asked_again_after_a_while(
    check: KeyCheck, deadline: Deadline, clock: ManualClock, sandbox: Sandbox
) -> None:
    """A key whose permission was taken away in between is noticed."""
    assert not blames_key(check, deadline)
    clock.move(CHECK_PAUSE)
    sandbox.fail_next(401, path=PATH)
    assert blames_key(check, Deadline.after(clock, 8.0))


def test_an_account_in_use_is_not_forgotten(
    check: KeyCheck, deadline: Deadline, sandbox: Sandbox
) -> None:
    """However many other accounts mint beside it: its key is known to be good."""
    for number in range(2 * MAX_REMEMBERED):
        check.record_success("busy")
        check.record_success(f"other-{number}")
    sandbox.fail_next(403, path=PATH)
    assert not blames_key(check, deadline, "busy")


def test_other_errors_are_left_alone(check: KeyCheck, deadline: Deadline, sandbox: Sandbox) -> None:
    """Nothing is asked for them."""
    check.attribute(AnamRejected(), "account", KEY, deadline)
    check.attribute(AnamAuthError(), "account", KEY, deadline)
    assert sandbox.ledger.count(PATH) == 0
