"""Ownership: what one user can do to the tokens and sessions of another user."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import request
from flask.testing import FlaskClient
from hosts import ADA, BOB, PERSONA, TOKEN_PATH, User, client_of, make_app
from werkzeug.test import TestResponse

from flask_anam import AnamRejected, FlaskAnam
from flask_anam.sandbox import Sandbox


def talk(client: FlaskClient, slot: str, session_id: str) -> dict[str, Any]:
    """Get a token and report that its conversation has started."""
    body: dict[str, Any] = client.post(TOKEN_PATH, json={"slot": slot}).get_json()
    report = {"tokenId": body["tokenId"], "sessionId": session_id}
    assert client.post("/anam/sessions", json=report).status_code == 204
    return body


def facts(answer: TestResponse) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that a caller can see of an answer."""
    return answer.status_code, answer.data, sorted(answer.headers)


def test_one_user_never_touches_what_is_another_users(sandbox: Sandbox) -> None:
    """Foreign tokens and sessions are neither started, ended, evicted nor seen."""
    app = make_app(sandbox)
    ada, bob = client_of(app, ADA), client_of(app, BOB)
    token = ada.post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    # Bob knows everything of Ada's token and slot but cannot log in as her.
    bob.post("/anam/sessions", json={"tokenId": token["tokenId"], "sessionId": "s-1"})
    bob.post(TOKEN_PATH, json={"slot": "tab", "refused": token["tokenId"]})
    again = ada.post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    assert again["sessionToken"] == token["sessionToken"]
    ada.post("/anam/sessions", json={"tokenId": token["tokenId"], "sessionId": "s-1"})
    bob.post("/anam/sessions/s-1/end")
    counted = ada.get("/anam/metrics").get_json()
    assert (counted["tokensUsed"], counted["sessionsEnded"]) == (1, 0)
    ada.post("/anam/sessions/s-1/end")
    assert ada.get("/anam/metrics").get_json()["sessionsEnded"] == 1
    tokens = {mint.token_id for mint in sandbox.ledger.mints}
    assert len(tokens) == len(sandbox.ledger.mints) == 2


QUESTIONS: dict[str, Callable[[FlaskClient, str, str], TestResponse]] = {
    "start": lambda client, token_id, session_id: client.post(
        "/anam/sessions", json={"tokenId": token_id, "sessionId": session_id}
    ),
    "end": lambda client, token_id, session_id: client.post(f"/anam/sessions/{session_id}/end"),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_answers_do_not_tell_whether_something_exists(
    sandbox: Sandbox, question: Callable[[FlaskClient, str, str], TestResponse]
) -> None:
    """Foreign, own, ended and invented: status, body and headers are the same."""
    app = make_app(sandbox)
    ada, bob = client_of(app, ADA), client_of(app, BOB)
    hers = talk(ada, "tab", "s-ada")
    running = bob.post(TOKEN_PATH, json={"slot": "other"}).get_json()
    seen = [
        facts(question(bob, hers["tokenId"], "s-ada")),
        facts(question(bob, "0" * 16, "s-nobody")),
        facts(question(bob, running["tokenId"], "s-bob")),
        facts(question(bob, running["tokenId"], "s-bob")),
    ]
    assert seen == [seen[0]] * 4
    assert seen[0][0] == 204


def test_a_foreign_report_does_as_much_work_as_an_invented_one(sandbox: Sandbox) -> None:
    """The same look-ups in the cache, so that time tells nothing either."""
    from cachelib import SimpleCache

    asked: list[str] = []

    class Watched(SimpleCache):
        def get(self, key: str) -> Any:
            asked.append(key.split(":")[1])
            return super().get(key)

    app = make_app(sandbox, ANAM_CACHE=Watched())
    hers = client_of(app, ADA).post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    bob, work = client_of(app, BOB), []
    for token_id in (hers["tokenId"], "0" * 16):
        asked.clear()
        bob.post("/anam/sessions", json={"tokenId": token_id, "sessionId": "s"})
        work.append(list(asked))
    assert work[0] == work[1] == ["id"]


@pytest.mark.parametrize(
    "session_id",
    ["../personas", "..", ".", "a/b", "a?b", "a#b", "a%2fb", "a\\b", "a b", "a\n", "é", "a;b", ""],
)
def test_a_session_id_is_no_way_into_other_paths_of_anam(sandbox: Sandbox, session_id: str) -> None:
    """What a browser reports is refused, and what got past that is never sent with our key."""
    app = make_app(sandbox)
    ada, state = client_of(app, ADA), app.extensions["anam"]
    token_id = ada.post(TOKEN_PATH, json={}).get_json()["tokenId"]
    report = {"tokenId": token_id, "sessionId": session_id}
    assert ada.post("/anam/sessions", json=report).status_code == 422
    with pytest.raises(AnamRejected):
        state.client.stop_session(session_id, sandbox.api_key, state.deadline())
    assert {asked.path for asked in sandbox.ledger.requests} == {"/v1/auth/session-token"}


@pytest.mark.parametrize("order", [(ADA, BOB), (BOB, ADA)], ids=["ada first", "bob first"])
def test_who_is_calling_is_asked_for_every_request(
    sandbox: Sandbox, order: tuple[User, User]
) -> None:
    """Also where somebody pushed an app context for good, so that `g` outlives the request."""
    anam = FlaskAnam()
    known = {"Bearer ada-token": ADA, "Bearer bob-token": BOB}
    anam.identity_loader(lambda: known.get(request.headers.get("Authorization", "")))
    app = make_app(sandbox, anam=anam)
    client = app.test_client()
    with app.app_context():
        for user in order:
            sent = {"Authorization": f"Bearer {user.id}-token"}
            assert client.post(TOKEN_PATH, json={"slot": "tab"}, headers=sent).status_code == 200
            may = client.get("/anam/metrics", headers=sent).status_code
            assert may == (200 if user is ADA else 403)
        assert client.post(TOKEN_PATH, json={"slot": "tab"}).status_code == 401
        assert client.get("/anam/nothing").get_json()["code"] == "not_found"
    assert len(sandbox.ledger.mints) == 2


def test_ids_are_not_guessable(sandbox: Sandbox) -> None:
    """Token ids are parts of hashes, cache keys keyed hashes: no counter, no user in them."""
    app = make_app(sandbox, ANAM_TOKEN_RATE_LIMIT="99 per hour")
    ada = client_of(app, ADA)
    ids = {ada.post(TOKEN_PATH, json={"slot": str(n)}).get_json()["tokenId"] for n in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch("[A-Za-z0-9_-]{16}", token_id) for token_id in ids)
    assert len({token_id[:4] for token_id in ids}) > 15


def test_a_persona_is_not_talked_into_more_than_it_allows(sandbox: Sandbox) -> None:
    """Mass assignment: whatever a browser adds, Anam receives the declared persona config."""
    app = make_app(sandbox)
    ada = client_of(app, ADA)
    wishes: list[dict[str, Any]] = [
        {"systemPrompt": "x"},
        {"personaConfig": {"systemPrompt": "x"}},
        {"sessionOptions": {}},
        {"permission": "all"},
        {"userId": "bob"},
        {"user_id": "bob"},
        {"overrides": {"systemPrompt": "x"}},
        {"overrides": {"personaId": "11111111-2222-4333-8444-555555555555"}},
        {"overrides": {"__proto__": {}, "llmId": "CUSTOMER_CLIENT_V1"}},
    ]
    for extra in wishes:
        assert ada.post(TOKEN_PATH, json=extra).status_code == 422
    assert ada.post(TOKEN_PATH, json={}).status_code == 200
    assert [mint.persona_config for mint in sandbox.ledger.mints] == [PERSONA]


def test_a_logout_or_a_lost_permission_counts_at_once(sandbox: Sandbox) -> None:
    """A stored token is not handed to somebody who may not talk any more."""
    user = User("ada", may_talk=True)
    app = make_app(sandbox, user)
    ada = client_of(app, user)
    assert ada.post(TOKEN_PATH, json={"slot": "tab"}).status_code == 200
    user.can_access_personas = False
    assert ada.post(TOKEN_PATH, json={"slot": "tab"}).status_code == 403
    user.can_access_personas = True
    with ada.session_transaction() as session:
        session.clear()
    assert ada.post(TOKEN_PATH, json={"slot": "tab"}).status_code == 401
