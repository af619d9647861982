"""The usage recorder: what it writes when, what Anam is sent, and a store that fails."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import BODY, SECRET
from hosts import KEY, PERSONA

from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.personas.mint_body import MintBody
from flask_anam.core.tokens.reuse_policy import ReusePolicy, TokenRequest
from flask_anam.core.tokens.token import SessionToken
from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.quotas import Quota
from flask_anam.core.usage.recorder import UsageRecorder
from flask_anam.core.usage.records import MAX_LABEL, MAX_STORABLE_SECONDS, SessionRecord, UsageQuery
from flask_anam.errors import MinutesExhausted
from flask_anam.testing import ManualClock


class Store(MemorySessionStore):
    """A store that can be down, and counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.writes = 0

    def add(self, record: SessionRecord) -> None:
        self._write()
        super().add(record)

    def reserve(self, record: SessionRecord, quota: Quota) -> SessionRecord:
        self._write()
        return super().reserve(record, quota)

    def _write(self) -> None:
        self.writes += 1
        if self.is_down:
            raise ConnectionError

    def all(self) -> list[SessionRecord]:
        """Return all records."""
        return self.sessions(UsageQuery())


class Recorder(UsageRecorder):
    """A recorder on such a store, which counts what is lost."""

    def __init__(self, clock: ManualClock, **config: Any) -> None:
        self.lost = 0
        self.memory = Store()
        settings = Settings.from_mapping({"ANAM_API_KEY": "k", **config})
        keys = KeyHasher(SECRET)
        super().__init__(
            self.memory, settings=settings, keys=keys, clock=clock, on_lost=self._count_lost
        )

    def _count_lost(self, number: int) -> None:
        self.lost += number


def request(slot: str | None = None, **persona: Any) -> TokenRequest:
    """Return the request of a user for a token."""
    body = {**BODY, "personaConfig": {**PERSONA, **persona}}
    return request_for("ada", body, slot=slot)


def request_for(user_id: str | None, body: dict[str, Any], **more: Any) -> TokenRequest:
    """Return the request for a token with a body."""
    facts = {"persona_type": "support", "api_key": KEY, "account": "hash of the account", **more}
    return TokenRequest(user_id=user_id, body=MintBody.of(body), **facts)


def token(clock: ManualClock) -> SessionToken:
    """Return a token minted now."""
    return SessionToken(value="secret", minted_at=clock.now, expires_at=clock.now + 3600)


def test_without_limits_a_record_is_written_once(clock: ManualClock) -> None:
    """When the mint has worked; nothing is written for one that fails."""
    recorder = Recorder(clock)
    recorder.cancel(recorder.reserve(request()))
    assert recorder.memory.writes == 0
    pending = recorder.reserve(request("tab"))
    recorder.confirm(pending, token(clock))
    (record,) = recorder.memory.all()
    assert (recorder.memory.writes, record.label) == (1, pending.body["clientLabel"])
    assert (record.token_id, record.expires_at) == (token(clock).id, clock.now + 3600)
    assert record.account == "hash of the account"
    assert record.slot not in {None, "tab"}


def test_with_limits_a_record_is_there_before_the_mint(clock: ManualClock) -> None:
    """So that no other mint can have its minutes; one that fails gives them back."""
    recorder = Recorder(clock, ANAM_MINUTES_LIMIT="1 per day")
    pending = recorder.reserve(request())
    assert pending.body["personaConfig"]["maxSessionLengthSeconds"] == 60
    with pytest.raises(MinutesExhausted):
        recorder.reserve(request())
    recorder.cancel(pending)
    recorder.confirm(recorder.reserve(request()), token(clock))
    (record,) = recorder.memory.all()
    assert (record.token_id, record.max_seconds) == (token(clock).id, 60)


def test_a_mint_that_never_ends_is_not_open_for_long(clock: ManualClock) -> None:
    """Its process may have been killed: the place is free a minute after the deadline."""
    recorder = Recorder(clock, ANAM_CONCURRENT_SESSIONS=1)
    recorder.reserve(request())
    clock.move(8 + 60)
    recorder.reserve(request())


@pytest.mark.parametrize(
    ("asked", "sent"),
    [(None, None), (60, 60), (59.5, 59.5), (3e9, MAX_STORABLE_SECONDS)],
)
def test_the_length_of_a_session_is_storable(
    clock: ManualClock, asked: float | None, sent: float | None
) -> None:
    """A number that no database holds is lowered; another is sent as it is."""
    limit: dict[str, Any] = {} if asked is None else {"maxSessionLengthSeconds": asked}
    body = Recorder(clock).reserve(request(**limit)).body
    assert body["personaConfig"].get("maxSessionLengthSeconds") == sent


@pytest.mark.parametrize("prefix", ["", "shop", "x" * 300])
def test_labels_are_unique_and_bounded(clock: ManualClock, prefix: str) -> None:
    """Whatever prefix a persona has."""
    ask = request_for(None, {**BODY, "clientLabel": prefix} if prefix else BODY)
    labels = {Recorder(clock).reserve(ask).label for _ in range(3)}
    assert len(labels) == 3
    assert all(len(label) <= MAX_LABEL for label in labels)
    assert all(label.startswith((prefix or "flask-anam")[:20]) for label in labels)


def test_a_store_that_is_down_loses_records_and_limits_only(
    clock: ManualClock, logged: pytest.LogCaptureFixture
) -> None:
    """Tokens are minted all the same; it is asked again after five seconds."""
    recorder = Recorder(clock, ANAM_CONCURRENT_SESSIONS=1)
    recorder.memory.is_down = True
    for _ in range(3):
        recorder.confirm(recorder.reserve(request()), token(clock))
    assert (recorder.lost, recorder.memory.writes) == (3, 1)
    assert logged.text.count("Usage cannot be recorded (ConnectionError)") == 1
    assert recorder.find_session("session") == recorder.running_sessions("ada") == []
    assert recorder.active() is None
    recorder.memory.is_down = False
    clock.move(5)
    recorder.confirm(recorder.reserve(request()), token(clock))
    assert (recorder.lost, len(recorder.memory.all())) == (3, 1)


def test_hashed_ids_are_equal_for_equal_users(clock: ManualClock) -> None:
    """They hold nothing of the id."""
    recorder = Recorder(clock, ANAM_USAGE_USER_IDS="hashed")
    recorder.confirm(recorder.reserve(request()), token(clock))
    (record,) = recorder.memory.all()
    assert record.user_id == recorder.stored_user_id("ada") != "ada"
    assert recorder.stored_user_id("bob") != record.user_id
    assert recorder.stored_user_id(None) is None


def test_orphans_are_those_of_one_tab(clock: ManualClock) -> None:
    """Same user, slot and persona; without a slot there are none."""
    recorder = Recorder(clock)
    recorder.confirm(recorder.reserve(request("tab")), token(clock))
    assert recorder.started("ada", token(clock).id, "session", vouched=False)
    assert [r.session_id for r in recorder.orphaned_sessions(request("tab"))] == ["session"]
    assert recorder.orphaned_sessions(request("other")) == []
    assert recorder.orphaned_sessions(request()) == []


def test_a_vouched_start_needs_no_record(clock: ManualClock) -> None:
    """Its mint may have been recorded in the memory of another process, or lost."""
    recorder = Recorder(clock)
    assert recorder.started("ada", "token-id", "session", vouched=False) is None
    record = recorder.started("ada", "token-id", "session", vouched=True)
    assert record
    assert (record.label, record.persona_type) == ("", "unknown")


def test_accounts_are_hashed_alike_for_tokens_and_records(clock: ManualClock) -> None:
    """Else the reconciler would take each record for one of another account."""
    settings = Settings.from_mapping({"ANAM_API_KEY": "k"})
    policy = ReusePolicy(settings, KeyHasher(SECRET))
    assert Recorder(clock).account_hash(KEY) == policy.account_of(KEY)
