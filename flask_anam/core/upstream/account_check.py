"""Compares personas with the account at Anam: everything they name must exist and fit there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask_anam.core.clock import Deadline
from flask_anam.core.personas.persona import Persona
from flask_anam.core.personas.registry import PersonaRegistry
from flask_anam.core.schemas.persona_options import voice_kinds
from flask_anam.core.upstream.client import AnamClient
from flask_anam.errors import AnamBadResponse, AnamError, AnamRejected

#: camelCase field of a persona config, and the resource that its value names.
_RESOURCES = {"avatarId": "avatars", "voiceId": "voices", "llmId": "llms", "personaId": "personas"}
#: Provider of a voice at Anam, and the kinds of voice options it takes.
_KINDS_OF = {
    "ELEVENLABS": {"ElevenLabs V1", "ElevenLabs V2"},
    "CARTESIA": {"Cartesia Sonic-3"},
    "FISH_AUDIO": {"Fish Audio"},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    Attributes:
        level: "ok", "warning" or "error".
        subject: what was looked at, e.g. "persona support".
        text: what was found, and the cure when it is not ok.

    """

    level: str
    subject: str
    text: str


class AccountCheck:
    """One run of the check. Asks Anam at most once for each thing that is named.

    Args:
        client: the Anam API.
        registry: the personas.
        api_key: returns the key for a persona, or for None that of the app.
        deadline: makes the deadline of one call.

    """

    def __init__(
        self,
        client: AnamClient,
        registry: PersonaRegistry,
        api_key: Callable[[Persona | None], str],
        deadline: Callable[[], Deadline],
    ) -> None:
        self._client = client
        self._registry = registry
        self._api_key = api_key
        self._deadline = deadline
        self._seen: dict[tuple[str, str, str], Mapping[str, Any] | AnamError] = {}

    def run(self) -> Iterator[Finding]:
        """Yield a finding for the key, and when it is accepted one or more per persona."""
        try:
            refused = self._try_key(self._api_key(None))
        except AnamError as error:
            refused = error
        if refused:
            yield Finding("error", "API key", refused.text)
            return
        yield Finding("ok", "API key", "accepted")
        for persona in self._registry:
            subject = f"persona {persona.name}"
            if not persona.is_static:
                yield Finding("ok", subject, "made for each user: checked when it is used")
                continue
            troubles = list(self._troubles(persona))
            yield from (Finding(level, subject, text) for level, text in troubles)
            if not troubles:
                yield Finding("ok", subject, "everything it names exists in the account")

    def _troubles(self, persona: Persona) -> Iterator[tuple[str, str]]:
        try:
            key = self._api_key(persona)
            body = self._registry.body_for(persona, None, {}).body
        except AnamError as error:
            yield "error", error.text
            return
        refused = self._try_key(key)
        if refused:
            yield "error", f"its API key: {refused.text}"
            return
        config = body["personaConfig"]
        found: dict[str, Mapping[str, Any]] = {}
        for field, resource, value in _named(config):
            answer = self._look_up(key, resource, value)
            if isinstance(answer, AnamRejected):
                yield "error", f"{field} {value} is not in the account. Copy it from lab.anam.ai."
            elif isinstance(answer, AnamError):
                yield "warning", f"{field} could not be checked: {answer.text}"
            else:
                found[field] = answer
        yield from _unfit(config, found)

    def _try_key(self, key: str) -> AnamError | None:
        answer = self._look_up(key, "avatars", "")
        return answer if isinstance(answer, AnamError) else None

    def _look_up(self, key: str, resource: str, value: str) -> Mapping[str, Any] | AnamError:
        """Return one thing of the account; without a value the first page of its list."""
        if (key, resource, value) not in self._seen:
            query = None if value else {"perPage": "1"}
            path = f"/v1/{resource}/{value}".rstrip("/")
            try:
                answer = self._client.get(path, key, self._deadline(), query)
                if not isinstance(answer, Mapping):
                    answer = AnamBadResponse()
            except AnamError as error:
                answer = error
            self._seen[key, resource, value] = answer
        return self._seen[key, resource, value]


def _named(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield field, resource and id of everything a config names."""
    for field, resource in _RESOURCES.items():
        value = config.get(field)
        # A named LLM such as CUSTOMER_CLIENT_V1 is in no account.
        if value is not None and (resource != "llms" or "-" in value):
            yield field, resource, value
    for value in config.get("toolIds", ()):
        yield "toolIds", "tools", value


def _unfit(
    config: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield what does not go together: the model with the avatar, the options with the voice."""
    told = found.get("avatarId", {}).get("availableVersions")
    versions = [one for one in told if isinstance(one, str)] if isinstance(told, list) else []
    model = config.get("avatarModel")
    if model and versions and model not in versions:
        yield "error", f"avatarModel {model} is not for this avatar: use {' or '.join(versions)}."
    options = config.get("voiceGenerationOptions")
    provider = found.get("voiceId", {}).get("provider")
    fitting = _KINDS_OF.get(str(provider))
    if options and fitting and not fitting & set(voice_kinds(options)):
        kinds = " or ".join(sorted(fitting))
        given = ", ".join(options)
        text = f"voiceGenerationOptions ({given}) do not fit the voice, which is of {provider}:"
        yield "error", f"{text} use those of {kinds}."
