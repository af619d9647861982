"""What each persona looks like: colours, hair and clothes, chosen by the avatar's id."""

import random
from dataclasses import dataclass

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.canvas import Colour
from flask_anam.sandbox.media.persona import number_of

#: Kinds of hair and clothes that can be drawn.
HAIR = ("bob", "short", "bun", "curls")
CLOTHES = ("jacket", "sweater")


@dataclass(frozen=True)
class Look:
    """The colours and parts of one face; colours are RGB."""

    skin: Colour
    hair: Colour
    eyes: Colour
    clothes: Colour
    shirt: Colour
    backdrop: Colour
    cut: str
    outfit: str
    glasses: bool = False


_SKIN: tuple[Colour, ...] = (
    (247, 212, 188),
    (236, 188, 154),
    (214, 160, 120),
    (176, 120, 84),
    (128, 84, 60),
)
_HAIRS: tuple[Colour, ...] = (
    (62, 42, 36),
    (34, 30, 36),
    (122, 74, 44),
    (190, 138, 78),
    (150, 72, 44),
    (128, 124, 128),
)
_EYES: tuple[Colour, ...] = ((92, 64, 44), (70, 104, 128), (78, 110, 82), (58, 46, 42))
_CLOTHES: tuple[Colour, ...] = (
    (44, 62, 92),
    (96, 56, 84),
    (38, 92, 88),
    (148, 76, 62),
    (72, 70, 78),
    (88, 98, 58),
)
_BACKDROPS: tuple[Colour, ...] = (
    (178, 200, 214),
    (224, 206, 188),
    (196, 206, 186),
    (208, 196, 216),
    (190, 208, 206),
)

#: The catalog's own avatars, designed by hand.
_KNOWN: dict[str, Look] = {
    catalog.AVATAR_ID: Look(
        skin=(244, 204, 176),
        hair=(104, 62, 42),
        eyes=(72, 102, 92),
        clothes=(40, 84, 96),
        shirt=(244, 240, 232),
        backdrop=(214, 208, 196),
        cut="bob",
        outfit="jacket",
    ),
    catalog.OTHER_AVATAR_ID: Look(
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


def look_of(avatar: str) -> Look:
    """Return the look of an avatar: the same for the same id, in every process."""
    known = _KNOWN.get(avatar.lower())
    if known is not None:
        return known
    pick = random.Random(number_of(avatar.lower())).choice
    return Look(
        skin=pick(_SKIN),
        hair=pick(_HAIRS),
        eyes=pick(_EYES),
        clothes=pick(_CLOTHES),
        shirt=pick(((244, 240, 232), (226, 232, 238))),
        backdrop=pick(_BACKDROPS),
        cut=pick(HAIR),
        outfit=pick(CLOTHES),
        glasses=pick((False, False, False, True)),
    )
