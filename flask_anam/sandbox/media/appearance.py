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


_SKIN_COLOURS: tuple[Colour, ...] = (
    (247, 212, 188),
    (236, 188, 154),
    (214, 160, 120),
    (176, 120, 84),
    (128, 84, 60),
)
_HAIR_COLOURS: tuple[Colour, ...] = (
    (62, 42, 36),
    (34, 30, 36),
    (122, 74, 44),
    (190, 138, 78),
    (150, 72, 44),
    (128, 124, 128),
)
_EYE_COLOURS: tuple[Colour, ...] = ((92, 64, 44), (70, 104, 128), (78, 110, 82), (58, 46, 42))
_CLOTHES_COLOURS: tuple[Colour, ...] = (
    (44, 62, 92),
    (96, 56, 84),
    (38, 92, 88),
    (148, 76, 62),
    (72, 70, 78),
    (88, 98, 58),
)
_BACKDROP_COLOURS: tuple[Colour, ...] = (
    (178, 200, 214),
    (224, 206, 188),
    (196, 206, 186),
    (208, 196, 216),
    (190, 208, 206),
)

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
        shirt=pick(((244, 240, 232), (226, 232, 238))),
        backdrop=pick(_BACKDROP_COLOURS),
        cut=pick(HAIR),
        outfit=pick(CLOTHES),
        glasses=pick((False, False, False, True)),
    )
