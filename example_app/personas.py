"""The three personas, each declared in another way, and what the pages say about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from example_app.users import User
from flask_anam import FlaskAnam

anam = FlaskAnam()

# Faces, voices and models that Anam offers to everybody; choose your own at lab.anam.ai.
# After a change `python tools/draw-faces.py` draws the cards anew.
LIV = {
    "avatarId": "071b0286-4cce-4808-bee2-e642f1062de3",
    "voiceId": "de23e340-1416-4dd8-977d-065a7ca11697",
    "llmId": "a7cf662c-2ace-4de1-a21e-ef0fbf144bb7",
}
ALEX = {
    "avatarId": "30fa96d0-26c4-4e55-94a0-517025942e18",
    "voiceId": "6bfbe25a-979d-40f3-a92b-5394170af54b",
    "llmId": "0934d97d-0c3a-4f33-91b0-5e136a0ef466",
}
MIA = {**LIV, "avatarId": "edf6fdcb-acab-44b8-b974-ded72665ee26"}

# 1. The same for everybody: an entry of ANAM_PERSONAS.
SUPPORT: dict[str, Any] = {
    "label": "Support",
    "name": "Alex",
    **ALEX,
    "systemPrompt": (
        "You are Alex, who answers for a small bicycle shop. Be brief and kind. When you do not "
        "know something, say so and offer to pass the question on to the workshop."
    ),
    "initialMessage": "Hello, this is Alex from the bicycle shop. What can I do for you?",
}


# 2. Made for the user who asks. A browser may choose the language, and nothing else.
@anam.persona("guide", label="Guide", overrides=("languageCode",))
def guide(user: User) -> dict[str, Any]:
    """Return a guide who knows the user's name."""
    return {
        "name": "Liv",
        **LIV,
        "systemPrompt": (
            f"You are Liv, who shows {user.name} around a city that {user.name} has never seen. "
            "Suggest one place at a time, and ask what they liked about the last one."
        ),
        "initialMessage": f"Hello {user.name}! Where shall we begin?",
    }


# 3. Only for users who hold one more permission.
anam.add_persona(
    "coach",
    {
        "name": "Mia",
        **MIA,
        "systemPrompt": (
            "You are Mia, a coach for hard conversations. Play the other side, realistically but "
            "never cruelly. After three exchanges stop and say what worked."
        ),
        "initialMessage": "Who are you going to talk to, and what is it about?",
    },
    label="Coach",
    permission="coach:talk",
)


@dataclass(frozen=True, slots=True)
class Card:
    """How the pages present a persona; `permission` is the one it needs besides ``anam:talk``."""

    persona_type: str
    name: str
    role: str
    line: str
    kind: str
    how: str
    permission: str | None = None
    languages: tuple[tuple[str, str], ...] = ()


CARDS = (
    Card(
        "support",
        name="Alex",
        role="Support",
        line="Knows the bicycle shop inside out, and says so when not.",
        kind="The same for everybody",
        how="One entry in the setting ANAM_PERSONAS.",
    ),
    Card(
        "guide",
        name="Liv",
        role="Guide",
        line="Shows you a city you have never seen, and greets you by name.",
        kind="Made for you",
        how="A function makes her anew for each user.",
        languages=(("en", "English"), ("de", "Deutsch"), ("fr", "Français"), ("es", "Español")),
    ),
    Card(
        "coach",
        name="Mia",
        role="Coach",
        line="Plays the other side of a hard conversation before you have it.",
        kind="By permission",
        how="An entry that needs one more permission, coach:talk.",
        permission="coach:talk",
    ),
)


def cards_for(user: User) -> list[Card]:
    """Return the cards of the personas that a user may talk to."""
    if not user.can_access_personas:
        return []
    return [c for c in CARDS if c.permission is None or c.permission in user.permissions]
