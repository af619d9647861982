"""Account check: verifies that what the personas name exists in the account and fits together."""

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

#: Field of a persona config: the API resource that its value is an id of.
_RESOURCES = {"avatarId": "avatars", "voiceId": "voices", "llmId": "llms", "personaId": "personas"}
#: Provider of a voice at Anam: the kinds of voice options that it accepts.
_KINDS_OF = {
    "ELEVENLABS": {"ElevenLabs V1", "ElevenLabs V2"},
    "CARTESIA": {"Cartesia Sonic-3"},
    "FISH_AUDIO": {"Fish Audio"},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one step of a check.

    Attributes:
        level: "ok", "warning" or "error".
        subject: what was checked, e.g. "persona support".
        text: the result, with the cure when it is not ok.

    """

    level: str
    subject: str
    text: str


class AccountCheck:
    """Account check of all personas; requests each resource at most once. Make one per run.

    Args:
        client: the Anam API.
        registry: the personas.
        api_key: returns the API key of a persona, or with None that of the app.
        deadline: returns the deadline of a call that begins now.

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
        self._cache: dict[tuple[str, str, str], Mapping[str, Any] | AnamError] = {}

    def run(self) -> Iterator[Finding]:
        """Yield a finding for the API key and, when it is accepted, one or more per persona."""
        try:
            error = self._try_key(self._api_key(None))
        except AnamError as exc:
            error = exc
        if error:
            yield Finding("error", "API key", error.text)
            return
        yield Finding("ok", "API key", "accepted")
        for persona in self._registry:
            subject = f"persona {persona.name}"
            if not persona.is_static:
                yield Finding("ok", subject, "made for each user: checked when it is used")
                continue
            problems = list(self._problems(persona))
            yield from (Finding(level, subject, text) for level, text in problems)
            if not problems:
                yield Finding("ok", subject, "everything it names exists in the account")

    def _problems(self, persona: Persona) -> Iterator[tuple[str, str]]:
        """Yield level and text of each problem of a persona."""
        try:
            key = self._api_key(persona)
            body = self._registry.body_for(persona, None, {}).body
        except AnamError as error:
            yield "error", error.text
            return
        key_error = self._try_key(key)
        if key_error:
            yield "error", f"its API key: {key_error.text}"
            return
        config = body["personaConfig"]
        resources: dict[str, Mapping[str, Any]] = {}
        for field, resource, value in _references(config):
            answer = self._look_up(key, resource, value)
            if isinstance(answer, AnamRejected):
                yield "error", f"{field} {value} is not in the account. Copy it from lab.anam.ai."
            elif isinstance(answer, AnamError):
                yield "warning", f"{field} could not be checked: {answer.text}"
            else:
                resources[field] = answer
        yield from _mismatches(config, resources)

    def _try_key(self, key: str) -> AnamError | None:
        answer = self._look_up(key, "avatars", "")
        return answer if isinstance(answer, AnamError) else None

    def _look_up(self, key: str, resource: str, value: str) -> Mapping[str, Any] | AnamError:
        """Return a resource by its id, the value; without a value the first page of its list."""
        if (key, resource, value) not in self._cache:
            query = None if value else {"perPage": "1"}
            path = f"/v1/{resource}/{value}".rstrip("/")
            try:
                answer = self._client.get(path, key, self._deadline(), query)
                if not isinstance(answer, Mapping):
                    answer = AnamBadResponse()
            except AnamError as error:
                answer = error
            self._cache[key, resource, value] = answer
        return self._cache[key, resource, value]


def _references(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield field, resource and id of each reference in a persona config."""
    for field, resource in _RESOURCES.items():
        value = config.get(field)
        # An LLM with a name, such as CUSTOMER_CLIENT_V1, is not a resource of the account.
        if value is not None and (resource != "llms" or "-" in value):
            yield field, resource, value
    for value in config.get("toolIds", ()):
        yield "toolIds", "tools", value


def _mismatches(
    config: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield level and text where model and avatar, or options and voice, do not fit together."""
    listed = resources.get("avatarId", {}).get("availableVersions")
    versions = (
        [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    )
    model = config.get("avatarModel")
    if model and versions and model not in versions:
        yield "error", f"avatarModel {model} is not for this avatar: use {' or '.join(versions)}."
    options = config.get("voiceGenerationOptions")
    provider = resources.get("voiceId", {}).get("provider")
    accepted = _KINDS_OF.get(str(provider))
    if options and accepted and not accepted & set(voice_kinds(options)):
        kinds = " or ".join(sorted(accepted))
        given = ", ".join(options)
        text = f"voiceGenerationOptions ({given}) do not fit the voice, which is of {provider}:"
        yield "error", f"{text} use those of {kinds}."
