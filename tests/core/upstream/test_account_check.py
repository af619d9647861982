"""Sessions, concurrency and the check of an account: calls besides the mint."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from core.conftest import UUID, ClientMaker
from hosts import KEY, PERSONA

from flask_anam.core.clock import Deadline
from flask_anam.core.personas.persona import Declarations
from flask_anam.core.personas.registry import PersonaRegistry
from flask_anam.core.upstream.account_check import AccountCheck, Finding
from flask_anam.sandbox import Sandbox

Check = Callable[..., list[Finding]]


@pytest.fixture
def check(make_client: ClientMaker, deadline: Deadline) -> Check:
    """Return a run of the check over some personas."""

    def run(key: str = KEY, **personas: object) -> list[Finding]:
        registry = PersonaRegistry(personas, Declarations())
        return list(
            AccountCheck(make_client(), registry, lambda persona: key, lambda: deadline).run()
        )

    return run


def test_an_account_is_compared_with_the_personas(check: Check) -> None:
    """What exists is fine, what does not is named, and a refused key ends the check."""
    unknown = {**PERSONA, "avatarId": UUID.replace("3", "9")}
    personas: dict[str, object] = {"good": PERSONA, "bad": unknown, "own": lambda user: PERSONA}
    findings = {finding.subject: finding for finding in check(**personas)}
    assert {subject: finding.level for subject, finding in findings.items()} == {
        "API key": "ok",
        "persona good": "ok",
        "persona bad": "error",
        "persona own": "ok",
    }
    assert f"avatarId {unknown['avatarId']} is not in the account" in findings["persona bad"].text
    refused = check("other", **personas)
    assert [(f.level, f.subject) for f in refused] == [("error", "API key")]


def test_the_same_thing_is_looked_up_once(check: Check, sandbox: Sandbox) -> None:
    """Two personas with one avatar, voice and LLM cost three look-ups and the one of the key."""
    check(a=PERSONA, b=PERSONA)
    assert len(sandbox.ledger.requests) == 4


def test_what_cannot_be_checked_is_a_warning(check: Check, sandbox: Sandbox) -> None:
    """An outage of one resource does not make the persona wrong."""
    sandbox.fail_next(503, path=f"/v1/voices/{PERSONA['voiceId']}")
    findings = check(a=PERSONA)
    assert [f.level for f in findings] == ["ok", "warning"]
    assert findings[1].text.startswith("voiceId could not be checked: ")


def test_a_model_that_is_not_for_the_avatar_is_named(check: Check, sandbox: Sandbox) -> None:
    """With those that are."""
    path = f"/v1/avatars/{PERSONA['avatarId']}"
    sandbox.fail_next(200, path=path, json={"availableVersions": ["cara-3"]})
    (finding,) = check(a={**PERSONA, "avatarModel": "cara-4"})[1:]
    assert finding.level == "error"
    assert finding.text == "avatarModel cara-4 is not for this avatar: use cara-3."


def test_options_that_do_not_fit_the_voice_are_named(check: Check, sandbox: Sandbox) -> None:
    """With the kinds that do."""
    path = f"/v1/voices/{PERSONA['voiceId']}"
    sandbox.fail_next(200, path=path, json={"provider": "CARTESIA"}, times=2)
    assert [f.level for f in check(a={**PERSONA, "voiceGenerationOptions": {"volume": 1}})[1:]] == [
        "ok"
    ]
    (finding,) = check(a={**PERSONA, "voiceGenerationOptions": {"stability": 1}})[1:]
    assert finding.level == "error"
    assert "Cartesia Sonic-3" in finding.text
