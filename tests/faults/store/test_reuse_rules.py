"""The table of `ReusePolicy`, row by row, and what is really in Redis and in files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hosts import ADA, BOB, KEY, PERSONA, PROMPT, User, make_app
from servers.caches import RedisServer, file_url

from flask_anam import FlaskAnam
from flask_anam.core.minting.issuance import IssuedToken
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

BACKENDS = pytest.mark.parametrize(
    "cache_url", ["memory", "redis", "memcached", "file"], indirect=True
)
#: Mode, what the request says, and the seconds for which the same request gets the same token.
TABLE: list[tuple[str, dict[str, Any], float]] = [
    ("until_expiry", {}, 3000),
    ("until_expiry", {"slot": "a"}, 3000),
    ("until_expiry", {"slot": "a", "idempotency_key": "k"}, 3000),
    ("until_used", {"slot": "a"}, 3000),
    ("until_used", {"slot": "a", "idempotency_key": "k"}, 3000),
    ("until_used", {"idempotency_key": "k"}, 60),
    ("until_used", {}, 3),
    ("never", {}, 0),
    ("never", {"slot": "a"}, 0),
    ("never", {"slot": "a", "idempotency_key": "k"}, 0),
]


class Desk:
    """An app whose tokens are asked for by name, with a clock moved by hand."""

    def __init__(self, sandbox: Sandbox, cache: str, **config: Any) -> None:
        self.clock = ManualClock(time.time())
        self.anam = FlaskAnam(clock=self.clock)
        other = {**PERSONA, "name": "Sam"}
        config.setdefault("ANAM_PERSONAS", {"support": PERSONA, "sales": other})
        config.setdefault("ANAM_TOKEN_RATE_LIMIT", "1000 per hour")
        self.app: Flask = make_app(sandbox, ADA, BOB, anam=self.anam, ANAM_CACHE=cache, **config)

    def issue(self, user: User = ADA, persona: str = "support", **how: Any) -> IssuedToken:
        with self.app.app_context():
            return self.anam.create_token(persona, user=user, **how)

    def id(self, user: User = ADA, persona: str = "support", **how: Any) -> str:
        return self.issue(user, persona, **how).token_id

    def started(self, token_id: str, user: User = ADA) -> bool:
        started: bool = self.app.extensions["anam"].manager.report_started(user.id, token_id)
        return started


@pytest.mark.parametrize(("mode", "asked", "seconds"), TABLE)
@BACKENDS
def test_each_row_of_the_reuse_table(
    sandbox: Sandbox, cache_url: str, mode: str, asked: dict[str, Any], seconds: float
) -> None:
    """The same request gets the same token for so long, and then a new one."""
    desk = Desk(sandbox, cache_url, ANAM_TOKEN_REUSE=mode)
    first = desk.id(**asked)
    assert (desk.id(**asked) == first) is (seconds > 0)
    desk.clock.move(max(0.0, seconds - 1))
    assert (desk.id(**asked) == first) is (seconds > 0)
    desk.clock.move(1.1)
    assert desk.id(**asked) != first


@pytest.mark.parametrize(
    ("mode", "facts", "other", "same"),
    [
        ("until_expiry", {"slot": "a"}, {"slot": "b"}, True),
        ("until_expiry", {"slot": "a"}, {}, True),
        ("until_used", {"slot": "a"}, {"slot": "b"}, False),
        ("until_used", {"slot": "a"}, {}, False),
        ("until_used", {"slot": "a"}, {"slot": "a", "idempotency_key": "k"}, True),
        ("until_used", {"idempotency_key": "k"}, {"idempotency_key": "l"}, False),
        ("until_used", {"idempotency_key": "a"}, {"slot": "a"}, False),
        ("until_used", {"idempotency_key": "k"}, {}, False),
        ("never", {"slot": "a"}, {"slot": "b"}, False),
    ],
)
def test_what_tells_two_requests_apart(
    sandbox: Sandbox, mode: str, facts: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    """Slot and idempotency key count where the table says so; user and persona always."""
    desk = Desk(sandbox, "memory://", ANAM_TOKEN_REUSE=mode)
    first = desk.id(**facts)
    assert (desk.id(**other) == first) is same
    assert desk.id(BOB, **facts) != first
    assert desk.id(ADA, "sales", **facts) != first


@pytest.mark.parametrize(
    "changed",
    [
        {"ANAM_PERSONAS": {"support": {**PERSONA, "maxSessionLengthSeconds": 60}}},
        {"ANAM_PERSONAS": {"support": {**PERSONA, "sessionOptions": {"sessionReplay": {}}}}},
        {"ANAM_TOKEN_REUSE": "until_expiry"},
        {"SECRET_KEY": "another secret"},
    ],
    ids=["config", "session options", "mode", "secret"],
)
def test_a_change_of_what_is_minted_changes_the_key(
    sandbox: Sandbox, redis_url: str, changed: dict[str, Any]
) -> None:
    """After a deployment with another persona, option, mode or secret nothing old comes back."""
    first = Desk(sandbox, redis_url).id(slot="a")
    assert Desk(sandbox, redis_url).id(slot="a") == first
    assert Desk(sandbox, redis_url, **changed).id(slot="a") != first


def test_another_api_key_gets_tokens_of_its_own(redis_url: str) -> None:
    """Rotation: nothing minted with the old key is handed out."""
    with Sandbox(api_key="one") as old, Sandbox(api_key="two") as new:
        first = Desk(old, redis_url, ANAM_BASE_URL=old.url).id(slot="a")
        assert Desk(new, redis_url, ANAM_BASE_URL=new.url).id(slot="a") != first
        assert len(new.ledger.mints) == 1


@pytest.mark.parametrize("lifetime", [60, 600, 3600])
def test_no_token_is_handed_out_past_five_sixths_of_its_life(lifetime: int) -> None:
    """A shorter life shortens the reuse too."""
    with Sandbox(token_lifetime=lifetime) as sandbox:
        desk = Desk(sandbox, "memory://")
        first = desk.id(slot="a")
        desk.clock.move(lifetime * 5 / 6 - 1)
        assert desk.id(slot="a") == first
        desk.clock.move(2)
        assert desk.id(slot="a") != first


@pytest.mark.parametrize("secret", [{"environment": {"TOKEN": "s"}}], ids=["environment"])
@pytest.mark.parametrize("mode", ["until_used", "until_expiry"])
def test_a_config_with_secrets_is_not_stored(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer, mode: str, secret: dict[str, Any]
) -> None:
    """Its token is minted each time, and no token is in Redis."""
    desk = Desk(
        sandbox,
        redis_url,
        ANAM_TOKEN_REUSE=mode,
        ANAM_PERSONAS={"support": {**PERSONA, **secret}},
    )
    assert desk.id(slot="a") != desk.id(slot="a")
    with redis_server.client() as client:
        assert client.keys("anam1:token:*") == []


@BACKENDS
@pytest.mark.parametrize(("mode", "lives_on"), [("until_used", False), ("until_expiry", True)])
def test_a_reported_start_uses_the_token_up(
    sandbox: Sandbox, cache_url: str, mode: str, lives_on: bool
) -> None:
    """Unless tokens may be used more than once; a second report is not believed again."""
    desk = Desk(sandbox, cache_url, ANAM_TOKEN_REUSE=mode)
    first = desk.id(slot="a")
    assert not desk.started(first, BOB)
    assert desk.started(first)
    assert desk.started(first) is lives_on
    assert (desk.id(slot="a") == first) is lives_on


@BACKENDS
@pytest.mark.parametrize("mode", ["until_used", "until_expiry"])
def test_a_refused_token_does_not_come_back(sandbox: Sandbox, cache_url: str, mode: str) -> None:
    """Only the one that is named; naming it again does not touch its successor."""
    desk = Desk(sandbox, cache_url, ANAM_TOKEN_REUSE=mode)
    first = desk.id(slot="a")
    assert desk.id(slot="a", refused="x" * 16) == first
    second = desk.id(slot="a", refused=first)
    assert second != first
    assert desk.id(slot="a", refused=first) == second


@BACKENDS
def test_clear_cache_forgets_as_much_as_it_is_told(sandbox: Sandbox, cache_url: str) -> None:
    """A user's tokens, a persona's tokens, both, or all."""
    desk = Desk(sandbox, cache_url)

    def all_ids() -> dict[tuple[str, str], str]:
        who = [(user, persona) for user in (ADA, BOB) for persona in ("support", "sales")]
        return {(user.id, persona): desk.id(user, persona, slot="a") for user, persona in who}

    def lost_by(**scope: str) -> set[tuple[str, str]]:
        before = all_ids()
        with desk.app.app_context():
            desk.anam.clear_cache(**scope)
        return {key for key, token_id in all_ids().items() if token_id != before[key]}

    assert lost_by(user_id="ada") == {("ada", "support"), ("ada", "sales")}
    assert lost_by(persona_type="sales") == {("ada", "sales"), ("bob", "sales")}
    assert lost_by(user_id="nobody") == set()
    assert len(lost_by()) == 4


def test_clear_cache_touches_nobody_elses_keys(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer
) -> None:
    """Other keys in the same Redis stay, and so do those of another app."""
    desk = Desk(sandbox, redis_url)
    neighbour = Desk(sandbox, redis_url, SECRET_KEY="another")
    with redis_server.client() as client:
        client.set("anam1:token:foreign", "1")
        client.set("session:7", "2")
        first, theirs = desk.id(slot="a"), neighbour.id(slot="a")
        with desk.app.app_context():
            desk.anam.clear_cache()
        assert desk.id(slot="a") != first
        assert neighbour.id(slot="a") == theirs
        assert client.mget("anam1:token:foreign", "session:7") == [b"1", b"2"]


def _use_everything(desk: Desk, sandbox: Sandbox) -> None:
    """Leave every kind of entry: tokens, notes, marks, leases, failures, cool-downs, counts."""
    token_id = desk.id(slot="a")
    desk.id(idempotency_key="k")
    desk.id()
    desk.started(token_id)
    with desk.app.app_context():
        desk.anam.clear_cache(user_id="ada")
        desk.anam.clear_cache()
    desk.id(slot="b")
    desk.clock.move(3001)
    sandbox.fail_next(500, times=3)
    desk.id(slot="b")
    sandbox.fail_next(401)
    with pytest.raises(Exception, match="key"):
        desk.id(slot="c")


def test_no_key_in_redis_lives_for_ever(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer
) -> None:
    """Whatever we wrote has an end, tokens within their life."""
    _use_everything(Desk(sandbox, redis_url, ANAM_RATE_LIMIT_STORAGE_URI=redis_url), sandbox)
    with redis_server.client() as client:
        keys = client.keys("*")
        assert len(keys) >= 8
        assert [key for key in keys if client.ttl(key) <= 0] == []
        assert max(client.ttl(key) for key in client.keys("anam1:token:*")) <= 3602


def test_redis_holds_signed_json_and_nothing_in_clear(
    sandbox: Sandbox, redis_url: str, redis_server: RedisServer
) -> None:
    """No pickle, no prompt, no API key, no user id; keys are hashes."""
    _use_everything(Desk(sandbox, redis_url), sandbox)
    with redis_server.client() as client:
        entries = {key: client.get(key) for key in client.keys("*")}
    assert len(entries) >= 8
    for key, content in entries.items():
        assert isinstance(key, bytes)
        assert isinstance(content, bytes)
        stored = json.loads(content)
        assert isinstance(stored, str)
        plain = key.decode() + stored.replace("\\", "")
        for secret in ('"ada"', PROMPT, KEY, "support"):
            assert secret not in plain


def test_files_hold_signed_json(sandbox: Sandbox, tmp_path: Path) -> None:
    """The same in a folder: after four bytes of time comes JSON, readable by this user only."""
    _use_everything(Desk(sandbox, file_url(tmp_path / "cache")), sandbox)
    files = list((tmp_path / "cache" / "tokens").iterdir())
    assert len(files) >= 8
    for path in files:
        json.loads(path.read_bytes()[4:])
        content = path.read_bytes()
        assert PROMPT.encode() not in content
        assert KEY.encode() not in content
        assert path.stat().st_mode & 0o077 == 0
