"""Appearance of a persona: colours, hair and clothes, derived from the avatar's id."""

import random
from dataclasses import dataclass

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.canvas import Colour
from flask_anam.sandbox.media.persona import stable_number

#: Haircuts that can be drawn.
HAIR = ("bob", "short", "bun", "curls")
#: Clothes that can be drawn.
CLOTHES = ("jacket", "sweater")


@dataclass(frozen=True)
class Appearance:
    """Appearance of one face; colours are RGB."""

    skin: Colour
    hair: Colour
    eyes: Colour
    clothes: Colour
    shirt: Colour
    backdrop: Colour
    cut: str
    outfit: str
    glasses: bool = False


def _colours(codes: str) -> list[Colour]:
    return [(code[0], code[1], code[2]) for code in map(bytes.fromhex, codes.split())]


_SKIN_COLOURS = _colours("f7d4bc ecbc9a d6a078 b07854 80543c")
_HAIR_COLOURS = _colours("3e2a24 221e24 7a4a2c be8a4e 96482c 807c80")
_EYE_COLOURS = _colours("5c402c 466880 4e6e52 3a2e2a")
_SHIRT_COLOURS = _colours("f4f0e8 e2e8ee")
_CLOTHES_COLOURS = _colours("2c3e5c 603854 265c58 944c3e 48464e 58623a")
_BACKDROP_COLOURS = _colours("b2c8d6 e0cebc c4ceba d0c4d8 bed0ce")

#: Appearances of the catalog's first avatars, by avatar id.
_DESIGNED: dict[str, Appearance] = {
    catalog.AVATAR_ID: Appearance(
        skin=(244, 204, 176),
        hair=(104, 62, 42),
        eyes=(72, 102, 92),
        clothes=(40, 84, 96),
        shirt=(244, 240, 232),
        backdrop=(214, 208, 196),
        cut="bob",
        outfit="jacket",
    ),
    catalog.OTHER_AVATAR_ID: Appearance(
        skin=(226, 174, 138),
        hair=(48, 38, 38),
        eyes=(84, 60, 44),
        clothes=(66, 84, 122),
        shirt=(232, 236, 242),
        backdrop=(186, 204, 216),
        cut="short",
        outfit="sweater",
        glasses=True,
    ),
}


def appearance_of(avatar: str) -> Appearance:
    """Return the appearance of an avatar: the same for the same id, in every process."""
    avatar = avatar.lower()
    if avatar in _DESIGNED:
        return _DESIGNED[avatar]
    pick = random.Random(stable_number(avatar)).choice
    return Appearance(
        skin=pick(_SKIN_COLOURS),
        hair=pick(_HAIR_COLOURS),
        eyes=pick(_EYE_COLOURS),
        clothes=pick(_CLOTHES_COLOURS),
        shirt=pick(_SHIRT_COLOURS),
        backdrop=pick(_BACKDROP_COLOURS),
        cut=pick(HAIR),
        outfit=pick(CLOTHES),
        glasses=pick((False, False, False, True)),
    )
