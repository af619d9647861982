"""Rows 45, 46, 51 and 52: reports that repeat or lie, and users and personas that are odd."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from flask import Flask
from hosts import ADA, BOB, MINT, PERSONA, TOKEN_PATH, User, client_of, make_app
from marshmallow import ValidationError

from flask_anam import FlaskAnam, PersonaConfigSchema
from flask_anam.core.hashing import canonical
from flask_anam.errors import ConfigError, PersonaInvalid
from flask_anam.sandbox import Sandbox


def _issue(app: Flask, user: User, **body: object) -> dict[str, Any]:
    answer = client_of(app, user).post(TOKEN_PATH, json={"slot": "tab", **body})
    assert answer.status_code == 200, answer.text
    issued: dict[str, Any] = answer.get_json()
    return issued


def _report(app: Flask, user: User, token_id: str, session: str) -> tuple[int, bytes]:
    report = {"tokenId": token_id, "sessionId": session}
    answer = client_of(app, user).post("/anam/sessions", json=report)
    return answer.status_code, answer.data


@pytest.mark.parametrize("cache_url", ["memory", "redis", "memcached", "file"], indirect=True)
def test_row_45_reports_are_idempotent_and_tell_nothing(sandbox: Sandbox, cache_url: str) -> None:
    """Repeated, late, foreign and invented reports: always 204, and no newer token is lost."""
    app = make_app(sandbox, ANAM_CACHE=cache_url)
    old = _issue(app, ADA)
    nothing = (204, b"")
    assert _report(app, BOB, old["tokenId"], "s-0") == nothing
    assert _report(app, ADA, "A" * 16, "s-0") == nothing
    assert _issue(app, ADA)["sessionToken"] == old["sessionToken"]
    assert _report(app, ADA, old["tokenId"], "s-1") == nothing
    new = _issue(app, ADA)
    assert new["sessionToken"] != old["sessionToken"]
    for session in ("s-1", "s-2"):
        assert _report(app, ADA, old["tokenId"], session) == nothing
    assert _issue(app, ADA)["sessionToken"] == new["sessionToken"]
    assert client_of(app, ADA).get("/anam/metrics").get_json()["tokensUsed"] == 1


@pytest.mark.parametrize("cache_url", ["memory", "redis"], indirect=True)
def test_row_46_refusing_for_ever_ends_at_the_limit(sandbox: Sandbox, cache_url: str) -> None:
    """Each refusal of a token counts against the limit: ten mints, then 429."""
    app = make_app(sandbox, ANAM_CACHE=cache_url)
    refused, answers = "x" * 16, []
    for _ in range(15):
        body = {"slot": "tab", "refused": refused}
        answer = client_of(app, ADA).post(TOKEN_PATH, json=body)
        answers.append(answer.status_code)
        refused = answer.get_json().get("tokenId", refused)
    assert answers == [200] * 10 + [429] * 5
    assert sandbox.ledger.count(MINT) == 10


def test_row_46_refusing_an_old_token_again_mints_nothing(sandbox: Sandbox) -> None:
    """A repeated refusal gets the token that replaced the refused one."""
    app = make_app(sandbox)
    old = _issue(app, ADA)
    new = _issue(app, ADA, refused=old["tokenId"])
    assert _issue(app, ADA, refused=old["tokenId"])["tokenId"] == new["tokenId"]
    assert sandbox.ledger.count(MINT) == 2


class _Hostile:
    """An id that is equal to everything and prints as somebody else's."""

    def __str__(self) -> str:
        return "ada"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("ada")


@pytest.mark.parametrize(
    "odd", ["", 0, 1, True, b"ada", ["ada"], _Hostile(), "x" * 256, "a\0", "\ud800"]
)
def test_row_51_an_id_that_is_no_string_is_refused(sandbox: Sandbox, odd: Any) -> None:
    """Only a string of 1 to 255 characters that a database can store is a user id."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam)
    with app.app_context(), pytest.raises(ConfigError, match="user id"):
        anam.create_token("support", user_id=odd, slot="tab")
    assert sandbox.ledger.count(MINT) == 0


def test_row_51_nobody_shares_with_nobody(sandbox: Sandbox) -> None:
    """Without a user no token is stored, whatever else is equal."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam, ANAM_TOKEN_REUSE="until_expiry")
    with app.app_context():
        tokens = {anam.create_token("support", slot="tab").token_id for _ in range(3)}
    assert len(tokens) == 3


def test_row_51_ids_that_look_alike_are_told_apart(sandbox: Sandbox) -> None:
    """Spaces, case, zeros, separators and Unicode forms distinguish users."""
    names = [
        "0",
        "00",
        "1",
        "1 ",
        " 1",
        "a",
        "A",
        "a\x01",
        "a:b",
        "a/b",
        'a","b',
        "\u00e9",
        "e\u0301",
    ]
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam)
    with app.app_context():
        tokens = {anam.create_token("support", user_id=name, slot="tab").token_id for name in names}
        again = {anam.create_token("support", user_id=name, slot="tab").token_id for name in names}
    assert len(tokens) == len(names)
    assert again == tokens


def test_row_51_a_users_id_and_slot_do_not_run_together(sandbox: Sandbox) -> None:
    """User "a" with slot "bc" is not user "ab" with slot "c"."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam)
    with app.app_context():
        pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("a", "b")]
        tokens = {anam.create_token(user_id=user, slot=slot).token_id for user, slot in pairs}
    assert len(tokens) == len(pairs)


def test_row_52_the_order_of_keys_does_not_matter(sandbox: Sandbox, redis_url: str) -> None:
    """Two workers share a token if their configs differ only in the order of keys."""
    backwards = dict(reversed(PERSONA.items()))
    apps = [
        make_app(sandbox, ANAM_CACHE=redis_url, ANAM_PERSONAS={"support": config})
        for config in (PERSONA, backwards)
    ]
    assert len({_issue(app, ADA)["sessionToken"] for app in apps}) == 1
    other = make_app(
        sandbox, ANAM_CACHE=redis_url, ANAM_PERSONAS={"support": {**PERSONA, "name": "Sam"}}
    )
    _issue(other, ADA)
    assert sandbox.ledger.count(MINT) == 2


@pytest.mark.parametrize(
    "odd",
    [
        {"voiceDetectionOptions": {"endOfSpeechSensitivity": float("nan")}},
        {"systemPrompt": "x" * 1_000_000},
    ],
    ids=["NaN", "1 MB"],
)
def test_row_52_a_persona_that_cannot_be_sent_is_refused(odd: dict[str, Any]) -> None:
    """NaN and a prompt of a megabyte are errors with the field's name, before anything is sent."""
    with pytest.raises(ValidationError) as refused:
        PersonaConfigSchema().load({**PERSONA, **odd})
    assert list(refused.value.messages) == list(odd)


def test_row_52_a_lone_surrogate_is_an_error_or_a_key_never_a_crash(sandbox: Sandbox) -> None:
    """A lone surrogate in a prompt: a cache key exists, and the answer is an error or a token."""
    anam = FlaskAnam()
    anam.add_persona("odd", lambda _user: {**PERSONA, "systemPrompt": "\ud800"})
    app = make_app(sandbox, anam=anam)
    assert canonical("\ud800") == canonical("\ud800")
    with app.app_context():
        token = None
        with suppress(PersonaInvalid):
            token = anam.create_token("odd", user_id="ada", user=ADA)
        assert token is None or token.session_token
