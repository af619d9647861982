"""Persona configuration: what the media need of a session's persona, with defaults filled in."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeGuard

from flask_anam.sandbox.api import catalog

#: Picture sizes by avatar model, in pixels, when the session sets none. Source: Anam docs, 2026.
_SIZES = {"cara-4": (1152, 768), "cara-4-latest": (1152, 768)}
#: Picture size of all other avatar models, in pixels.
_DEFAULT_SIZE = (720, 480)
#: Smallest width and height of a picture, in pixels.
_MIN_SIDE = 64
#: Largest width and height of a picture, in pixels: what a machine can draw and encode.
_MAX_SIDE = 2048
#: Words of the system prompt that a reply quotes.
_QUOTED_WORDS = 8
#: Characters of the user's text that a reply quotes.
_QUOTED_CHARACTERS = 200


@dataclass(frozen=True)
class Persona:
    """Persona of one session; `avatar` is the key of an appearance, `voice` that of a voice."""

    name: str
    avatar: str
    voice: str
    size: tuple[int, int]
    prompt: str
    greeting: str | None
    greeting_may_be_interrupted: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any], options: Mapping[str, Any] | None) -> Self:
        """Read a valid persona config and session options; missing fields get defaults."""
        config = {**_stored_config(config.get("personaId")), **config}
        name = str(config.get("name") or "Cara")
        default = f"Hello! I am {name}, a stand-in from the Flask-Anam sandbox. Write to me."
        greeting = str(config.get("initialMessage") or default)
        return cls(
            name=name,
            avatar=str(config.get("avatarId") or catalog.AVATAR_ID),
            voice=str(config.get("voiceId") or catalog.VOICE_ID),
            size=_size(config, options or {}),
            prompt=str(config.get("systemPrompt") or ""),
            greeting=None if config.get("skipGreeting") is True else greeting,
            greeting_may_be_interrupted=config.get("uninterruptibleGreeting") is not True,
        )

    def reply(self, text: str) -> str:
        """Return the reply to what the user wrote."""
        quote = " ".join(text.split())
        if len(quote) > _QUOTED_CHARACTERS:
            quote = f"{quote[: _QUOTED_CHARACTERS - 1]}…"
        words = self.prompt.split()
        more = "…" if len(words) > _QUOTED_WORDS else ""
        prompt = f" My prompt begins: “{' '.join(words[:_QUOTED_WORDS])}{more}”" if words else ""
        return f"Sandbox: I am {self.name}, and you said: “{quote}”.{prompt}"


def stable_number(key: str) -> int:
    """Return the same 64-bit number for the same text, in every process."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "big")


def _stored_config(id_: object) -> dict[str, Any]:
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
    width, height = options.get("videoWidth"), options.get("videoHeight")
    if _is_drawable(width) and _is_drawable(height):
        return width, height
    return _SIZES.get(str(config.get("avatarModel")), _DEFAULT_SIZE)


def _is_drawable(side: object) -> TypeGuard[int]:
    return isinstance(side, int) and _MIN_SIDE <= side <= _MAX_SIDE and side % 2 == 0
