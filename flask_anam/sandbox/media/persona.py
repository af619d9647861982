"""Who talks: what the media need of a session's persona."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from flask_anam.sandbox.api import catalog

#: Picture sizes of the avatar models, when the session asks for none. Source: Anam docs, 2026.
_SIZES = {"cara-4": (1152, 768), "cara-4-latest": (1152, 768)}
_DEFAULT_SIZE = (720, 480)
#: Pictures have to stay within what a machine can draw and encode.
_SMALLEST, _LARGEST = 64, 2048
_PROMPT_WORDS = 8


@dataclass(frozen=True)
class Persona:
    """One persona as it is performed; `avatar` and `voice` are keys of a look and a sound."""

    name: str
    avatar: str
    voice: str
    size: tuple[int, int]
    prompt: str
    greeting: str | None
    greeting_may_be_interrupted: bool

    @classmethod
    def of(cls, config: Mapping[str, Any], options: Mapping[str, Any] | None) -> Self:
        """Read a valid persona config and its session options; gaps get the sandbox's defaults."""
        config = {**_stored(config.get("personaId")), **config}
        name = str(config.get("name") or "Cara")
        hello = f"Hello! I am {name}, a stand-in from the Flask-Anam sandbox. Write to me."
        return cls(
            name=name,
            avatar=str(config.get("avatarId") or catalog.AVATAR_ID),
            voice=str(config.get("voiceId") or catalog.VOICE_ID),
            size=_size(config, options or {}),
            prompt=str(config.get("systemPrompt") or ""),
            greeting=None
            if config.get("skipGreeting") is True
            else str(config.get("initialMessage") or hello),
            greeting_may_be_interrupted=config.get("uninterruptibleGreeting") is not True,
        )

    def reply(self, said: str) -> str:
        """Return the answer to what the user wrote."""
        heard = " ".join(said.split())
        heard = heard if len(heard) <= 200 else f"{heard[:199]}…"
        words = self.prompt.split()
        more = "…" if len(words) > _PROMPT_WORDS else ""
        prompt = f" My prompt begins: “{' '.join(words[:_PROMPT_WORDS])}{more}”" if words else ""
        return f"Sandbox: I am {self.name}, and you said: “{heard}”.{prompt}"


def number_of(key: str) -> int:
    """Return the same large number for the same text, in every process."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "big")


def _stored(id_: object) -> dict[str, Any]:
    for entry in catalog.PERSONAS:
        if entry["id"] == id_:
            return {
                "name": entry["name"],
                "avatarId": entry["avatar"]["id"],
                "avatarModel": entry["avatarModel"],
                "voiceId": entry["voice"]["id"],
                "systemPrompt": entry["brain"]["systemPrompt"],
            }
    return {}


def _size(config: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[int, int]:
    asked = options.get("videoWidth"), options.get("videoHeight")
    width, height = asked if all(isinstance(side, int) for side in asked) else (0, 0)
    if isinstance(width, int) and isinstance(height, int):
        fits = all(_SMALLEST <= side <= _LARGEST and side % 2 == 0 for side in (width, height))
        if fits:
            return width, height
    return _SIZES.get(str(config.get("avatarModel")), _DEFAULT_SIZE)
