"""Asking Anam: what it says replaces what browsers said."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import ADA, BOB, PERSONA
from usage.conftest import World

from flask_anam.core.usage import reconciler as reconcile
from flask_anam.core.usage.reconciler import Reconciliation
from flask_anam.core.usage.records import SessionRecord, UsageQuery
from flask_anam.sandbox import Sandbox
from flask_anam.session_control import api_key_resolver


def run(world: World, **how: Any) -> Reconciliation:
    """Reconcile as the command does."""
    with world.app.app_context():
        return world.state.reconciler.run(api_key_resolver(world.state), **how)


def record_of(world: World, session_id: str) -> SessionRecord:
    """Return the record of a session."""
    (record,) = world.recorder.store.find(session_id=session_id)
    return record


def test_anams_numbers_replace_reports(world: World, usage_url: str) -> None:
    """Start, end, length and exit status; and the record says who said so."""
    world.make(usage_url)
    session_id = world.talk(ADA, "tab")
    world.clock.move(60)
    world.hang_up(session_id)
    world.clock.move(500)
    world.end(ADA, session_id)
    record = record_of(world, session_id)
    assert (record.seconds, record.source) == (560.0, "report")
    result = run(world)
    assert (result.asked, result.settled, result.failed) == (1, 1, 0)
    record = record_of(world, session_id)
    assert (record.seconds, record.source, record.exit_status) == (60.0, "anam", "NORMAL_EXIT")
    assert run(world) == Reconciliation()


def test_unreported_sessions_are_found_by_their_label(world: World, usage_url: str) -> None:
    """Neither start nor end was told."""
    world.make(usage_url)
    session_id = world.open(world.token(ADA, "tab"))
    world.clock.move(33)
    assert run(world).running == 1
    assert record_of(world, session_id).is_running(world.clock.now)
    world.hang_up(session_id)
    assert run(world).settled == 1
    record = record_of(world, session_id)
    assert (record.user_id, record.seconds, record.source) == ("ada", 33.0, "anam")


def test_a_session_said_to_be_over_may_still_run(world: World) -> None:
    """An end that Anam does not confirm within two minutes is not believed."""
    world.make("memory://")
    session_id = world.talk(ADA, "tab")
    world.end(ADA, session_id)
    run(world)
    assert record_of(world, session_id).ended_at is not None
    world.clock.move(121)
    run(world)
    assert record_of(world, session_id).is_running(world.clock.now)


def test_a_forged_session_id_is_put_right(world: World, usage_url: str) -> None:
    """The label leads to the true session, whatever id was reported."""
    world.make(usage_url, ADA, BOB)
    theirs = world.talk(ADA, "tab")
    mine = world.token(BOB, "tab")
    true_id = world.open(mine)
    world.report(BOB, mine, theirs)
    for session_id in (theirs, true_id):
        world.hang_up(session_id)
    run(world)
    assert {(r.user_id, r.session_id) for r in world.recorder.store.sessions(UsageQuery())} == {
        ("ada", theirs),
        ("bob", true_id),
    }


def test_tokens_that_were_never_used_are_closed(world: World, usage_url: str) -> None:
    """Ten minutes after they can start nothing any more; so is a start that never was."""
    world.make(usage_url)
    world.token(ADA, "a")
    world.report(ADA, world.token(ADA, "b"), "never-was")
    assert run(world).waiting == 2
    world.clock.move(3600 + 601)
    assert run(world).unused == 2
    assert record_of(world, "never-was").exit_status == "NOT_FOUND"
    assert record_of(world, "never-was").seconds == 0.0
    assert run(world).asked == 0


@pytest.mark.slow
def test_many_records_are_read_from_pages(world: World, usage_url: str) -> None:
    """In a few calls, whoever else talks in the account; the sums are those of the ledger."""
    world.make(usage_url)
    for number in range(reconcile.MAX_SINGLE_LOOKUPS + 130):
        user = ADA if number % 3 else BOB
        token = world.token(user, str(number))
        if number % 4:
            session_id = world.open(token)
            world.clock.move(number % 7)
            if number % 5:
                world.report(user, token, session_id)
            world.hang_up(session_id)
    asked = world.sandbox.ledger.count("/v1/sessions")
    seen: list[tuple[int, int]] = []
    result = run(world, on_progress=lambda done, of: seen.append((done, of)))
    assert world.sandbox.ledger.count("/v1/sessions") - asked == 2
    ended = {
        s.session_id: s.ended_at - s.started_at for s in world.sandbox.ledger.sessions if s.ended_at
    }
    records = world.recorder.store.sessions(UsageQuery(started=True), limit=1000)
    assert {record.session_id: record.seconds for record in records} == ended
    assert (result.settled, result.waiting) == (len(ended), 150 - len(ended))
    assert seen[-1] == (150, 150)
    totals = world.recorder.store.totals_by_user(UsageQuery())
    assert sum(total.seconds for total in totals) == sum(ended.values())


def test_a_run_is_bounded(world: World) -> None:
    """Oldest first, as many as are wanted."""
    world.make("memory://")
    ids = [world.talk(ADA, str(number)) for number in range(4)]
    for session_id in ids:
        world.hang_up(session_id)
    assert run(world, limit=3).settled == 3
    assert [record_of(world, session_id).source for session_id in ids] == ["anam"] * 3 + ["report"]


def test_each_account_is_asked_with_its_own_key(world: World) -> None:
    """A persona with a key of its own lives in another account."""
    with Sandbox(api_key="sandbox-another-key", clock=world.clock.time) as other:
        shop = {**PERSONA, "apiKey": other.api_key}
        world.make("memory://", ANAM_PERSONAS={"support": PERSONA, "shop": shop})
        world.token(ADA, "a", personaType="support")
        assert world.ask(ADA, "b", personaType="shop").status_code == 502
        keys = {r.headers["authorization"] for r in world.sandbox.ledger.requests}
        assert keys == {f"Bearer {world.sandbox.api_key}", f"Bearer {other.api_key}"}
    run(world)
    last = world.sandbox.ledger.requests[-1]
    assert (last.path, last.query["search"][:11]) == ("/v1/sessions", "flask-anam.")


def test_another_key_is_no_proof_that_nothing_was(world: World) -> None:
    """With a key that may be another account's, a record stays open for a day."""
    keys = [world.sandbox.api_key]
    world.make("memory://", ANAM_API_KEY=lambda: keys[-1])
    session_id = world.talk(ADA, "tab")
    with Sandbox(api_key="sandbox-new-key", clock=world.clock.time) as other:
        keys.append(other.api_key)
        world.state.client._transport._base_url = other.url
        world.clock.move(3600 + 601)
        assert run(world).waiting == 1
        assert record_of(world, session_id).source == "report"
        world.clock.move(86400)
        assert run(world).unused == 1


def test_keys_that_depend_on_the_user_are_asked_for_once(world: World) -> None:
    """Once for each user, and once for all where they do not."""
    asked: list[str] = []

    def key_for(persona_type: str | None, user: Any) -> str:
        asked.append(user.get_id())
        return world.sandbox.api_key

    own = {**PERSONA, "apiKey": key_for}
    world.make("memory://", ANAM_PERSONAS={"own": own})
    for slot in ("a", "b"):
        world.token(ADA, slot)
        world.token(BOB, slot)
    asked.clear()
    assert run(world).waiting == 4
    assert sorted(asked) == ["ada", "bob"]


def test_a_key_that_cannot_be_had_is_a_failure(world: World) -> None:
    """Of its own records; the others are settled."""
    keys = iter([world.sandbox.api_key])
    broken = {**PERSONA, "apiKey": lambda: next(keys)}
    world.make("memory://", ANAM_PERSONAS={"support": PERSONA, "broken": broken})
    world.token(ADA, "a", personaType="broken")
    world.hang_up(world.talk(ADA, "b", personaType="support"))
    result = run(world)
    assert (result.settled, result.failed) == (1, 1)


def test_a_run_gives_up_when_anam_is_down(world: World) -> None:
    """After three failures in a row; the next run goes on."""
    world.make("memory://", ANAM_MAX_ATTEMPTS=1)
    for number in range(6):
        world.hang_up(world.talk(ADA, str(number)))
    asked = len(world.sandbox.ledger.requests)
    for _ in range(6):
        world.sandbox.fail_next(503, path="/v1/sessions")
    result = run(world)
    assert (result.failed, result.settled) == (6, 0)
    assert len(world.sandbox.ledger.requests) - asked == 3
    world.sandbox.clear_failures()
    world.clock.move(60)
    assert run(world).settled == 6


def test_answers_that_make_no_sense_change_nothing(world: World) -> None:
    """Neither odd entries nor odd pages."""
    world.make("memory://")
    session_id = world.talk(ADA, "tab")
    before = record_of(world, session_id)
    odd = ("{}", '{"data": [{}]}', '{"data": [5]}', '{"data": [{"id": "x", "startTime": "soon"}]}')
    for body in odd:
        world.sandbox.fail_next(200, body=body, path="/v1/sessions")
        assert run(world).failed == 1
    assert record_of(world, session_id) == before


@pytest.mark.slow
def test_numbers_that_make_no_sense_are_not_believed(world: World, usage_url: str) -> None:
    """Lengths, moments, ids and words: nothing is recorded that a page or a sum stumbles over."""
    world.make(usage_url, ANAM_DASHBOARD=True)
    session_id = world.talk(ADA, "tab")
    label = record_of(world, session_id).label
    times = '"startTime": "2027-01-15T08:00:00Z", "endTime": "2027-01-15T08:01:00Z"'
    good = f'"id": "{session_id}", "clientLabel": "{label}"'
    refused = (
        f'{good}, "startTime": "0001-01-01T00:00:00+23:59"',
        f'{good}, "startTime": "9999-12-31"',
        f'"id": "a\\u0000b", "clientLabel": "{label}", {times}',
        f'"id": "{"x" * 65}", "clientLabel": "{label}", {times}',
    )
    for entry in refused:
        world.sandbox.fail_next(200, body=f'{{"data": [{{{entry}}}]}}', path="/v1/sessions")
        assert run(world).failed == 1
    for length in ("1" + "0" * 400, "1e999", "NaN", "-5", "true", "1e300"):
        world.recorder.store.change(record_of(world, session_id).id, source="report")
        fields = f'{good}, {times}, "sessionLengthMs": {length}, "exitStatus": "A\\u0000\\u001bB"'
        world.sandbox.fail_next(200, body=f'{{"data": [{{{fields}}}]}}', path="/v1/sessions")
        assert run(world).settled == 1
        record = record_of(world, session_id)
        assert (record.seconds, record.exit_status) == (60.0, "AB")
    path = "/anam/dashboard?since=2027-01-01&until=2027-02-01"
    assert world.client(ADA).get(path, headers={"Accept": "text/html"}).status_code == 200


def test_hashed_users_and_several_sessions_of_a_token(world: World, usage_url: str) -> None:
    """What was reported is matched one by one, with tokens that may be used again."""
    world.make(usage_url, ANAM_USAGE_USER_IDS="hashed", ANAM_TOKEN_REUSE="until_expiry")
    token = world.token(ADA)
    session_id = world.open(token)
    world.report(ADA, token, session_id)
    world.report(ADA, token, "made-up")
    world.clock.move(5)
    world.hang_up(session_id)
    world.clock.move(3600 + 601)
    run(world)
    assert record_of(world, session_id).seconds == 5.0
