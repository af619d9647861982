"""Sessions, concurrency and the check of an account: calls besides the mint."""

from __future__ import annotations

from typing import Any

import pytest

from flask_anam import errors
from flask_anam.core.account import check_account
from flask_anam.core.clock import Deadline
from flask_anam.core.personas import Declarations, PersonaRegistry
from flask_anam.core.tokens import read_claims
from flask_anam.sandbox import Sandbox

from .conftest import PERSONA, UUID, ClientMaker


def test_a_session_is_started_and_stopped(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """With the session token, then with the key; the ledger has both."""
    client = make_client()
    token = sandbox.issue_token(PERSONA)
    claims = read_claims(token)
    session_id = client.start_session(token, deadline)
    client.stop_session(session_id, deadline)
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
    assert client.concurrency(deadline)
    answers: list[object] = [[], None, "x"]
    for nonsense in answers:
        sandbox.fail_next(200, path="/v1/sessions/concurrency", json=nonsense)
        with pytest.raises(errors.AnamBadResponse):
            client.concurrency(deadline)


def test_an_account_is_compared_with_the_personas(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline
) -> None:
    """What exists is fine, what does not is named, and a refused key ends the check."""
    unknown = {**PERSONA, "avatarId": UUID.replace("3", "9")}
    personas: dict[str, object] = {"good": PERSONA, "bad": unknown, "own": lambda user: PERSONA}
    registry = PersonaRegistry(personas, Declarations())
    found = {f.subject: f for f in check_account(make_client(), registry, lambda: deadline)}
    assert {subject: finding.ok for subject, finding in found.items()} == {
        "API key": True,
        "persona good": True,
        "persona bad": False,
        "persona own": True,
    }
    assert f"avatarId {unknown['avatarId']} is not in the account" in found["persona bad"].text
    refused = check_account(make_client(api_key=lambda: "other"), registry, lambda: deadline)
    assert [(f.ok, f.subject) for f in refused] == [(False, "API key")]
