"""Appearance: derived from the avatar id."""

from __future__ import annotations

import pytest

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.appearance import CLOTHES, HAIR, appearance_of
from flask_anam.sandbox.media.canvas import Planes
from flask_anam.sandbox.media.face import Face

_SIZE = (360, 240)


def _picture(
    seconds: float = 0.0,
    shape: str = "closed",
    opening: float = 0.0,
    avatar: str = catalog.AVATAR_ID,
    size: tuple[int, int] = _SIZE,
) -> Planes:
    face = Face(avatar, size)
    face.picture(seconds, shape, opening, speaking=False)
    while face.incomplete:
        face.draw_missing()
    return face.picture(seconds, shape, opening, speaking=False)


@pytest.mark.slow
def test_each_avatar_has_a_look_of_its_own() -> None:
    """The same id has the same look, and all hair and clothes occur."""
    ids = [entry["id"] for entry in catalog.AVATARS] + [f"avatar-{n}" for n in range(40)]
    looks = [appearance_of(id_) for id_ in ids]
    assert looks == [appearance_of(id_.upper()) for id_ in ids]
    assert {look.cut for look in looks} == set(HAIR)
    assert {look.outfit for look in looks} == set(CLOTHES)
    pictures = {bytes(_picture(avatar=id_)[0]) for id_ in ids[:12]}
    assert len(pictures) == 12
