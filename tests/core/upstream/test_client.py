"""The client: what each answer of Anam means, what is tried again, and what is never told."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from core.conftest import BODY, ClientMaker, jwt
from core.upstream.conftest import NONSENSE
from hosts import KEY, MINT, PERSONA

from flask_anam import errors
from flask_anam.core.clock import Deadline
from flask_anam.core.metrics.recorder import MetricsRecorder
from flask_anam.core.tokens.token import read_claims
from flask_anam.core.upstream.client import LEGACY_CURE
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock


def test_a_mint_returns_the_token_anam_made(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """The body goes out as it is, with our key; the lifetime is the issuer's own."""
    token, attempts = make_client().mint(BODY, KEY, deadline)
    (request,) = sandbox.ledger.requests
    assert request.body == BODY
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert sandbox.ledger.mints[0].token_id == token.id
    assert (token.lifetime, attempts) == (3600, 1)
    assert token.value not in repr(token)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
def test_one_passing_failure_is_not_seen(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock, deadline: Deadline, status: int
) -> None:
    """Success at the second attempt, after a jitter of at most 0.25 s."""
    sandbox.fail_next(status)
    assert make_client().mint(BODY, KEY, deadline)[1] == 2
    assert len(clock.slept) == 1
    assert 0 <= clock.slept[0] <= 0.25


def test_a_broken_connection_is_tried_again(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """A reset, on a fresh or a kept connection."""
    client = make_client()
    sandbox.fail_next(reset=True)
    assert client.mint(BODY, KEY, deadline)[1] == 2
    sandbox.fail_next(reset=True)
    assert client.mint(BODY, KEY, deadline)[1] == 2


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_the_number_of_attempts_is_a_setting(
    make_client: ClientMaker,
    sandbox: Sandbox,
    clock: ManualClock,
    deadline: Deadline,
    attempts: int,
) -> None:
    """That many calls, and a wait between each two."""
    sandbox.fail_next(503, times=9)
    with pytest.raises(errors.AnamUnavailable):
        make_client(max_attempts=attempts).mint(BODY, KEY, deadline)
    assert sandbox.ledger.count(MINT) == attempts
    assert len(clock.slept) == attempts - 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_short_retry_after_is_slept(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock, deadline: Deadline, status: int
) -> None:
    """Exactly as long as Anam asks."""
    sandbox.fail_next(status, headers={"Retry-After": "1"})
    assert make_client().mint(BODY, KEY, deadline)[1] == 2
    assert clock.slept == [1.0]


@pytest.mark.parametrize(
    ("header", "wait"), [("2.5", 2.5), ("3600", 300.0), ("99999999999999999999", 300.0)]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_long_retry_after_is_passed_on_at_once(
    make_client: ClientMaker,
    sandbox: Sandbox,
    clock: ManualClock,
    deadline: Deadline,
    status: int,
    header: str,
    wait: float,
) -> None:
    """Above 2 s nothing is slept; the caller learns it, cut to 300."""
    sandbox.fail_next(status, headers={"Retry-After": header}, times=9)
    with pytest.raises(errors.UpstreamError) as caught:
        make_client().mint(BODY, KEY, deadline)
    assert (caught.value.status, caught.value.retry_after) == (503, wait)
    assert clock.slept == []
    assert sandbox.ledger.count(MINT) == 1


def test_no_attempt_begins_too_late(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock
) -> None:
    """When less than a second would be left, the error comes at once."""
    sandbox.fail_next(503, headers={"Retry-After": "1"}, times=9)
    with pytest.raises(errors.AnamUnavailable):
        make_client(max_attempts=10).mint(BODY, KEY, Deadline.after(clock, 3.5))
    assert clock.slept == [1.0, 1.0]
    sandbox.ledger.clear()
    with pytest.raises(errors.AnamTimeout):
        make_client(max_attempts=1).mint(BODY, KEY, Deadline.after(clock, 0.0))
    assert sandbox.ledger.count(MINT) == 0


def test_a_token_that_is_no_jwt_is_taken_for_an_hour(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline, caplog: pytest.LogCaptureFixture
) -> None:
    """Its form is Anam's business; a warning tells, without the token."""
    sandbox.fail_next(200, json={"sessionToken": "SENTINEL-opaque"})
    assert make_client().mint(BODY, KEY, deadline)[0].lifetime == 3600
    assert "not a JWT" in caplog.text
    assert "SENTINEL" not in caplog.text


@pytest.mark.parametrize("skew", [-600, 600])
def test_the_clock_of_anam_does_not_matter(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock, deadline: Deadline, skew: int
) -> None:
    """Ten minutes off: the lifetime is the same."""
    now = int(clock.time()) + skew
    sandbox.fail_next(200, json={"sessionToken": jwt(iat=now, exp=now + 900)})
    token = make_client().mint(BODY, KEY, deadline)[0]
    assert (token.minted_at, token.expires_at) == (clock.time(), clock.time() + 900)


def test_a_legacy_token_is_refused_with_the_cure(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """One call: asking again gives the same."""
    old = {"personaConfig": {k: v for k, v in PERSONA.items() if k != "llmId"}}
    with pytest.raises(errors.AnamRejected) as caught:
        make_client().mint(old, KEY, deadline)
    assert caught.value.text == LEGACY_CURE
    assert "llmId" in LEGACY_CURE
    assert sandbox.ledger.count(MINT) == 1


def test_each_call_uses_the_key_it_is_given(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """One client serves several accounts; a rotated key is used at once."""
    client = make_client()
    client.mint(BODY, KEY, deadline)
    with pytest.raises(errors.AnamAuthError):
        client.mint(BODY, "old", deadline)
    client.mint(BODY, KEY, deadline)
    sent = [request.headers["authorization"] for request in sandbox.ledger.requests]
    assert sent == [f"Bearer {KEY}", "Bearer old", f"Bearer {KEY}"]


LEAKS: list[dict[str, Any]] = [{"status": s} for s in (302, 400, 401, 402, 404, 429, 500)]
LEAKS += [{"status": 200, **answer} for answer in NONSENSE.values()]
LEAKS += [{"status": 200, "reset": True}]


@pytest.mark.parametrize("answer", LEAKS, ids=lambda a: f"{a['status']} {list(a)[1:]}")
def test_no_error_and_no_log_tells_a_secret(
    make_client: ClientMaker,
    sandbox: Sandbox,
    deadline: Deadline,
    caplog: pytest.LogCaptureFixture,
    answer: dict[str, Any],
) -> None:
    """Key and prompt are in no error text and no record of any logger at DEBUG."""
    caplog.set_level(logging.DEBUG)
    if answer["status"] >= 300:  # Anam quotes the request, as validation errors do
        answer = {**answer, "json": {"error": f"bad: {BODY} for {KEY}"}}
    sandbox.fail_next(**answer, times=9)
    with pytest.raises(errors.AnamError) as caught:
        make_client().mint(BODY, KEY, deadline)
    assert "SENTINEL" not in f"{caught.value} {caught.value!r} {caught.value.details}"
    assert "urllib3" in {record.name.split(".")[0] for record in caplog.records}
    assert "SENTINEL" not in caplog.text


def test_no_log_tells_a_token(
    make_client: ClientMaker,
    sandbox: Sandbox,
    deadline: Deadline,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also when all goes well, at DEBUG."""
    caplog.set_level(logging.DEBUG)
    token = make_client().mint(BODY, KEY, deadline)[0]
    assert caplog.records
    assert token.value not in caplog.text
    assert token.value.split(".")[1] not in caplog.text


@pytest.mark.slow
def test_a_call_without_a_place_is_busy(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock, deadline: Deadline
) -> None:
    """Only so many calls are under way; Busy is not tried again."""
    client = make_client(max_in_flight=2)
    sandbox.fail_next(200, delay=2.2, times=2)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(client.mint, BODY, KEY, deadline) for _ in range(2)]
        assert sandbox.ledger.wait_for(MINT, 2)
        with pytest.raises(errors.Busy):
            client.mint(BODY, KEY, Deadline.after(clock, 1.3))  # enough to try again
        assert all(call.result(10)[1] == 1 for call in calls)
    assert sandbox.ledger.count(MINT) == 2
    assert clock.slept == []


def test_every_attempt_is_observed(
    make_client: ClientMaker, sandbox: Sandbox, clock: ManualClock, deadline: Deadline
) -> None:
    """By call and outcome, tries that failed included; what never left is no attempt."""
    usage = MetricsRecorder()
    client = make_client(observer=usage, max_in_flight=1)
    sandbox.fail_next(503)
    client.mint(BODY, KEY, deadline)
    sandbox.fail_next(200, body="nonsense", times=2)
    with pytest.raises(errors.AnamBadResponse):
        client.mint(BODY, KEY, deadline)
    client.concurrency(KEY, deadline)
    client.get("/v1/avatars", KEY, deadline)
    with pytest.raises(errors.AnamAuthError):
        client.get("/v1/avatars", "wrong", deadline)
    with client._bulkhead.acquire(deadline), pytest.raises(errors.Busy):
        client.mint(BODY, KEY, Deadline.after(clock, 0.01))
    metrics = usage.metrics()
    seconds = metrics["upstream_attempt_seconds"]
    assert isinstance(seconds, dict)
    assert {name: histogram["count"] for name, histogram in seconds.items()} == {
        "mint anam_unavailable": 1,
        "mint ok": 1,
        "mint anam_bad_response": 2,
        "concurrency ok": 1,
        "read ok": 1,
        "read anam_auth": 1,
    }
    assert (metrics["upstream_attempts"], metrics["upstream_retries"]) == (7, 2)


def test_a_session_is_started_and_stopped(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """With the session token, then with the key; the ledger has both."""
    client = make_client()
    token = sandbox.issue_token(PERSONA)
    claims = read_claims(token)
    session_id = client.start_session(token, deadline)
    client.stop_session(session_id, KEY, deadline)
    (session,) = sandbox.ledger.sessions
    assert claims is not None
    assert session.session_id == session_id == claims.session_id
    assert session.ended_at is not None


@pytest.mark.parametrize("answer", [{}, {"sessionId": ""}, {"sessionId": 5}, [], None], ids=repr)
def test_a_start_without_a_session_id_made_no_sense(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline, answer: Any
) -> None:
    """A bad response, and no second start: that would cost."""
    sandbox.fail_next(200, path="/v1/engine/session", json=answer)
    with pytest.raises(errors.AnamBadResponse):
        make_client().start_session("a.b.c", deadline)
    assert sandbox.ledger.count("/v1/engine/session") == 1


def test_concurrency_is_an_object(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """What Anam says is returned; anything else made no sense."""
    client = make_client()
    assert client.concurrency(KEY, deadline)
    answers: list[object] = [[], None, "x"]
    for nonsense in answers:
        sandbox.fail_next(200, path="/v1/sessions/concurrency", json=nonsense)
        with pytest.raises(errors.AnamBadResponse):
            client.concurrency(KEY, deadline)
