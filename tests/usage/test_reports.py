"""Mints, starts and ends, from the HTTP request to the record."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest
from hosts import ADA, BOB, KEY, PERSONA, PROMPT, client_of
from usage.conftest import World
from usage.workers import SEARCH

import flask_anam
from flask_anam.core.usage.database import Database
from flask_anam.core.usage.records import SessionRecord, UsageQuery
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.metrics.collector import read_metrics


def records(world: World) -> list[SessionRecord]:
    """Return all records, oldest first."""
    return world.recorder.store.sessions(UsageQuery())[::-1]


def test_a_mint_is_recorded_before_the_answer(world: World, usage_url: str) -> None:
    """Who, which persona, when, for how long; reuse writes nothing."""
    world.make(usage_url)
    token = world.token(ADA, "tab")
    assert world.token(ADA, "tab")["tokenId"] == token["tokenId"]
    (record,) = records(world)
    assert (record.token_id, record.user_id, record.persona_type) == (
        token["tokenId"],
        "ada",
        "support",
    )
    assert (record.source, record.session_id, record.max_seconds) == ("mint", None, None)
    assert (record.minted_at, record.expires_at) == (world.clock.now, world.clock.now + 3600)
    assert record.state(world.clock.now) == "waiting"


def test_every_mint_has_a_label_of_its_own(world: World) -> None:
    """Random, behind a readable word, and not part of what a stored token is record by."""
    coach = {**PERSONA, "clientLabel": "shop " + "x" * 200}
    world.make("memory://", ANAM_PERSONAS={"support": PERSONA, "coach": coach})
    for slot in ("a", "b"):
        world.token(ADA, slot, personaType="support")
        world.token(ADA, slot, personaType="coach")
    labels = [str(mint.client_label) for mint in world.sandbox.ledger.mints]
    assert labels == [record.label for record in records(world)]
    assert len(set(labels)) == 4
    for label, prefix in zip(labels, ["flask-anam", "shop x+"] * 2, strict=True):
        assert re.fullmatch(rf"{prefix}\.[0-9a-f]{{32}}", label)
        assert len(label) <= 128
    world.token(ADA, "a", personaType="support")
    assert len(world.sandbox.ledger.mints) == 4


def test_a_conversation_is_recorded(world: World, usage_url: str) -> None:
    """Start and end as they are reported, once each, with their signals."""
    world.make(usage_url)
    received: list[tuple[str, dict[str, Any]]] = []

    def started(sender: Any, **facts: Any) -> None:
        received.append(("started", facts))

    def ended(sender: Any, **facts: Any) -> None:
        received.append(("ended", facts))

    flask_anam.session_started.connect(started, sender=world.app)
    flask_anam.session_ended.connect(ended, sender=world.app)
    token = world.token(ADA, "tab")
    session_id = world.open(token)
    for _ in range(2):
        world.report(ADA, token, session_id)
    world.clock.move(42)
    for _ in range(2):
        world.end(ADA, session_id)
        world.clock.move(5)
    (record,) = records(world)
    assert (record.session_id, record.seconds, record.source) == (session_id, 42.0, "report")
    facts = {"user_id": "ada", "session_id": session_id}
    assert received == [
        ("started", {**facts, "token_id": token["tokenId"]}),
        ("ended", {**facts, "duration": 42.0}),
    ]


def test_forged_and_foreign_reports_change_nothing(world: World, usage_url: str) -> None:
    """Each gets the same 204, and no record or counter moves."""
    world.make(usage_url)
    session_id = world.talk(ADA, "tab")
    (token_id,) = {record.token_id for record in records(world)}
    before, counted = records(world), read_metrics(world.state)
    world.report(BOB, {"tokenId": token_id}, "forged")
    world.report(ADA, {"tokenId": token_id}, "forged")
    world.report(ADA, {"tokenId": "x" * 16}, "forged")
    world.end(BOB, session_id)
    world.end(ADA, "forged")
    path = f"/anam/sessions/{session_id}/end"
    assert client_of(world.app).post(path).status_code == 401
    cross = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    assert world.client(ADA).post(path, headers=cross).status_code == 403
    assert records(world) == before
    assert read_metrics(world.state) == counted


def test_another_worker_takes_the_reports(world: World, database_url: str) -> None:
    """Whichever process gets them, the record is the same; so are the sessions that run."""
    world.make(database_url)
    token = world.token(ADA, "tab")
    session_id = world.open(token)
    first = world.app
    world.make(database_url)
    world.report(ADA, token, session_id)
    assert read_metrics(world.state)["sessions_active"] == 1
    world.app = first
    assert read_metrics(world.state)["sessions_active"] == 1
    world.clock.move(3)
    world.end(ADA, session_id)
    (record,) = records(world)
    assert record.seconds == 3.0


def test_a_start_counts_where_only_the_cache_knows_the_token(world: World, tmp_path: Any) -> None:
    """With records in memory, another process sees the token in the shared cache alone."""
    cache = {"ANAM_CACHE": f"file://{tmp_path}"}
    world.make("memory://", **cache)
    token = world.token(ADA, "tab")
    world.make("memory://", **cache)
    world.report(BOB, token, "s")
    assert records(world) == []
    world.report(ADA, token, "s")
    (record,) = records(world)
    assert (record.session_id, record.persona_type, record.label) == ("s", "unknown", "")


def test_a_restart_keeps_records(world: World, database_url: str) -> None:
    """What was written is there when the app comes back, and goes on."""
    world.make(database_url)
    session_id = world.talk(ADA, "tab")
    before = records(world)
    world.recorder.close()
    world.make(database_url)
    assert records(world) == before
    world.clock.move(9)
    world.end(ADA, session_id)
    assert records(world)[0].seconds == 9.0


def test_hashed_ids_say_nothing_and_still_tell_users_apart(world: World, database_url: str) -> None:
    """The same user has the same hash in every process with the same secret."""
    world.make(database_url, ANAM_USAGE_USER_IDS="hashed")
    session_id = world.talk(ADA, "tab")
    world.make(database_url, ANAM_USAGE_USER_IDS="hashed")
    world.talk(ADA, "other")
    world.talk(BOB, "tab")
    users = [record.user_id for record in records(world)]
    assert users[0] == users[1] == world.recorder.stored_user_id("ada")
    assert len(set(users)) == 2
    assert all(re.fullmatch(r"[\w-]{24}", str(user)) for user in users)
    world.clock.move(1)
    world.end(BOB, session_id)
    world.end(ADA, session_id)
    assert [record.seconds for record in records(world)] == [1.0, None, None]


@pytest.mark.parametrize("ids", ["plain", "hashed"])
def test_no_record_holds_a_prompt_a_token_or_a_key(
    world: World, database_url: str, ids: str
) -> None:
    """Not in any column of any table."""
    config = {"ANAM_USAGE_USER_IDS": ids, "ANAM_CONCURRENT_SESSIONS": 5}
    world.make(database_url, **config)
    token = world.token(ADA, "secret-slot")
    world.report(ADA, token, world.open(token))
    world.ask(BOB, personaType="nobody")
    world.recorder.flush()
    dump = repr(_all_rows(world))
    assert token["tokenId"] in dump
    secrets = (KEY, PROMPT, token["sessionToken"], "secret-slot", "host secret")
    for secret in (*secrets, token["sessionToken"].split(".")[1]):
        assert secret not in dump
    assert ("'ada'" in dump) == (ids == "plain")
    assert PROMPT not in repr([asdict(record) for record in records(world)])


def _all_rows(world: World) -> list[Any]:
    from sqlalchemy import inspect, text

    database = world.recorder.store._database  # type: ignore[attr-defined]
    with database.reading() as connection:
        names = inspect(connection).get_table_names()
        assert {"anam_sessions", "anam_users", "anam_counts"} <= set(names)
        return [connection.execute(text(f"SELECT * FROM {name}")).all() for name in names]  # noqa: S608


def test_outcomes_are_counted_for_all_workers(world: World, database_url: str) -> None:
    """Minted, reused, refused and failed, by persona, once they are written."""
    world.make(database_url, ANAM_TOKEN_RATE_LIMIT="1 per hour")
    world.token(ADA, "tab")
    world.token(ADA, "tab")
    assert world.ask(ADA, "another").status_code == 429
    world.recorder.flush()
    other = world.make(database_url)
    world.sandbox.fail_next(401)
    assert world.ask(BOB, "tab").status_code == 502
    other.recorder.flush()
    counts = {
        count.outcome: count.number for count in other.recorder.store.counts(UsageQuery(), 300)
    }
    assert counts == {"minted": 1, "reused": 1, "rate_limited": 1, "anam_auth": 1}


@pytest.mark.slow
def test_counts_are_written_at_exit(tmp_path: Any) -> None:
    """A process that ends normally leaves nothing behind in its memory."""
    url = f"sqlite:///{tmp_path}/usage.sqlite"
    script = """
import sys
from hosts import make_host, PERSONA
from flask_anam import FlaskAnam
app = make_host(ANAM_SANDBOX=True, ANAM_PERSONAS={"support": PERSONA}, ANAM_USAGE_URL=sys.argv[1])
anam = FlaskAnam(app)
with app.app_context():
    for number in range(3):
        anam.create_token("support", user_id=str(number))
"""
    subprocess.run([sys.executable, "-c", script, url], check=True, env=SEARCH, timeout=120)
    store = SqlSessionStore(Database(url))
    assert [(count.outcome, count.number) for count in store.counts(UsageQuery(), 300)] == [
        ("minted", 3)
    ]
    assert len(store.sessions(UsageQuery())) == 3
    store.close()
