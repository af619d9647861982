"""Configs and bodies that several tests of schemas use."""

from __future__ import annotations

from typing import Any

from hosts import PERSONA

#: The config `PERSONA` in snake_case.
SNAKE: dict[str, Any] = {
    "name": "Alex",
    "avatar_id": PERSONA["avatarId"],
    "voice_id": PERSONA["voiceId"],
    "llm_id": PERSONA["llmId"],
    "system_prompt": PERSONA["systemPrompt"],
}


def in_tool(more: dict[str, Any]) -> dict[str, Any]:
    """Return a body whose persona has a tool with more fields."""
    tool = {"type": "client", "name": "t", **more}
    return {"personaConfig": {**PERSONA, "tools": [tool]}}
