"""Animation of a face: deterministic, and in motion."""

from __future__ import annotations

import pytest

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.canvas import Planes
from flask_anam.sandbox.media.face import _AT_REST, _LARGE, Face, _placement, eyelids

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


def _rows_that_differ(first: Planes, second: Planes, width: int = _SIZE[0]) -> set[int]:
    return {i // width for i, (a, b) in enumerate(zip(first[0], second[0], strict=True)) if a != b}


@pytest.mark.slow
@pytest.mark.parametrize("size", [(720, 480), (1152, 768), (768, 1152), (64, 64)])
def test_a_picture_fills_its_planes(size: tuple[int, int]) -> None:
    """Luma for every pixel, colour for every four, within the limits of video."""
    for seconds in (0.0, 1.3, 2.7):
        luma, blue, red = _picture(seconds, "open", 1.0, size=size)
        assert len(luma) == size[0] * size[1]
        assert len(blue) == len(red) == len(luma) // 4
        assert min(luma) >= 16
        assert max(luma) <= 236


def test_the_same_moment_gives_the_same_picture() -> None:
    """Another face with the same id, the same pixels."""
    assert _picture(1.5, "wide", 0.5) == _picture(1.5, "wide", 0.5)


def test_a_blink_changes_the_eyes_only() -> None:
    """Each stretch of time has one blink; the rows that change are those of the eyes."""
    moments = [step / 100 for step in range(340)]
    closed = [moment for moment in moments if eyelids(moment) == "closed"]
    assert 0.05 <= len(closed) / 100 <= 0.15
    face = Face(catalog.AVATAR_ID, _SIZE)
    still = face.picture(0.0, "closed", 0.0, speaking=False)
    parts = face._sprites
    first, second, third = still
    shut = (first[:], second[:], third[:])
    parts.get("eyes", _AT_REST, "closed", 0).put(shut, _SIZE[0], 0, 0)
    rows = _rows_that_differ(still, shut)
    assert rows
    assert rows <= set(range(92, 112))


def test_speech_moves_the_mouth() -> None:
    """Every shape and every opening looks different, below the nose."""
    closed = _picture()
    seen = []
    for shape in ("narrow", "open", "wide", "round"):
        for opening in (0.3, 1.0):
            picture = _picture(0.0, shape, opening)
            assert _rows_that_differ(closed, picture) <= set(range(126, 156))
            seen.append(bytes(picture[0]))
    assert len(set(seen)) == 8
    assert bytes(_picture(0.0, "closed", 1.0)[0]) == bytes(closed[0])


def test_it_sways_and_breathes() -> None:
    """No two pictures of a second are the same, and shoulders move."""
    pictures = [_picture(step / 5) for step in range(5)]
    assert len({bytes(picture[0]) for picture in pictures}) == 5
    assert any(row > 200 for row in _rows_that_differ(pictures[0], pictures[4]))


def test_a_picture_shows_something_before_all_is_drawn() -> None:
    """Parts in a new phase come later, from another thread; the picture does not wait."""
    face = Face("avatar-never-seen", _SIZE)
    face.prepare()
    assert not face.incomplete
    early = face.picture(1.0, "closed", 0.0, speaking=False)
    large = [part for part, _, *_ in face._sprites._sprites if part in _LARGE]
    assert sorted(large) == sorted(_LARGE)  # those at rest, and no others yet
    assert face.incomplete
    while face.incomplete:
        face.draw_missing()
    assert face.picture(1.0, "closed", 0.0, speaking=False) != early


@pytest.mark.parametrize("x", [-7.4, -2.0, -0.5, 0.0, 0.3, 1.5, 2.0, 5.9])
def test_a_placement_is_even_pixels_and_a_phase(x: float) -> None:
    """Together they are the position, in half pixels across and whole ones down."""
    placement = _placement(x, x)
    assert placement.x % 2 == placement.y % 2 == 0
    assert placement.x + placement.phase[0] == round(x * 2) / 2
    assert placement.y + placement.phase[1] == round(x)
    assert 0 <= placement.phase[0] < 2
    assert 0 <= placement.phase[1] < 2
