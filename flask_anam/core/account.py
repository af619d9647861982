"""Compares personas with the account at Anam: everything they name must exist there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask_anam.core.client import AnamClient
from flask_anam.core.clock import Deadline
from flask_anam.core.personas import Persona, PersonaRegistry
from flask_anam.errors import AnamError, AnamRejected

#: camelCase field of a persona config, and the resource that its value names.
_RESOURCES = {
    "avatarId": "avatars",
    "voiceId": "voices",
    "llmId": "llms",
    "personaId": "personas",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    Attributes:
        ok: False for an error.
        subject: what was looked at, e.g. "persona support".
        text: what was found, and the cure when it is an error.

    """

    ok: bool
    subject: str
    text: str


def check_account(
    client: AnamClient, registry: PersonaRegistry, deadline: Callable[[], Deadline]
) -> Iterator[Finding]:
    """Yield a finding per persona, after one for the key; stops when the key is refused."""
    try:
        client.get("/v1/avatars", deadline(), {"perPage": "1"})
    except AnamError as error:
        yield Finding(False, "API key", error.text)
        return
    yield Finding(True, "API key", "accepted")
    seen: dict[tuple[str, str], str | None] = {}
    for persona in registry:
        yield from _check_persona(client, registry, persona, deadline, seen)


def _check_persona(
    client: AnamClient,
    registry: PersonaRegistry,
    persona: Persona,
    deadline: Callable[[], Deadline],
    seen: dict[tuple[str, str], str | None],
) -> Iterator[Finding]:
    subject = f"persona {persona.name}"
    if not persona.is_static:
        yield Finding(True, subject, "made for each user: checked when it is used")
        return
    try:
        config = registry.body_for(persona, None, {}).body["personaConfig"]
    except AnamError as error:
        yield Finding(False, subject, error.text)
        return
    troubles = [t for t in _troubles(client, config, deadline, seen) if t]
    for trouble in troubles:
        yield Finding(False, subject, trouble)
    if not troubles:
        yield Finding(True, subject, "everything it names exists in the account")


def _troubles(
    client: AnamClient,
    config: dict[str, Any],
    deadline: Callable[[], Deadline],
    seen: dict[tuple[str, str], str | None],
) -> Iterator[str | None]:
    named = [(field, config[field]) for field in _RESOURCES if field in config]
    named += [("toolIds", tool) for tool in config.get("toolIds", ())]
    for field, value in named:
        resource = _RESOURCES.get(field, "tools")
        if resource == "llms" and "-" not in value:
            continue  # a named id such as CUSTOMER_CLIENT_V1 is not listed in accounts
        if (resource, value) not in seen:
            seen[resource, value] = _trouble(client, field, resource, value, deadline())
        yield seen[resource, value]


def _trouble(
    client: AnamClient, field: str, resource: str, value: str, deadline: Deadline
) -> str | None:
    try:
        client.get(f"/v1/{resource}/{value}", deadline)
    except AnamRejected:
        return f"{field} {value} is not in the account; copy the id from lab.anam.ai."
    except AnamError as error:
        return f"{field} could not be checked: {error.text}"
    return None
