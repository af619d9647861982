"""Animation of a face: composes the picture of a given moment from sprites."""

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from flask_anam.sandbox.media import drawing
from flask_anam.sandbox.media.appearance import appearance_of
from flask_anam.sandbox.media.canvas import Canvas, Planes, Sprite

#: Seconds that a blink takes.
_BLINK_DURATION = 0.2
#: Seconds of a time slot, each of which has one blink.
_BLINK_SLOT = 3.4
#: Steps of the mouth from closed to open, each of which has a sprite.
_MOUTH_STEPS = 4
#: How much further than the head its features move, which makes it look round.
_PARALLAX = 1.5
#: Sprite sets that are cached, one for each avatar and size.
_MAX_SPRITE_SETS = 16


@dataclass(frozen=True)
class _Placement:
    """Position of a part: even whole pixels, and the phase, a rest for which it has a sprite."""

    x: int
    y: int
    phase: tuple[float, float]


def _placement(x: float, y: float) -> _Placement:
    half_steps, steps = round(x * 2), round(y)
    return _Placement(
        (half_steps - half_steps % 4) // 2,
        steps - steps % 2,
        (half_steps % 4 / 2, float(steps % 2)),
    )


_AT_REST = _placement(0.0, 0.0)


class _SpriteSet:
    """Sprites of one avatar in one size, drawn when they are first needed."""

    def __init__(self, avatar: str, size: tuple[int, int]) -> None:
        self.appearance = appearance_of(avatar)
        width, height = size
        self.scale = min(height / 480, width / 460)
        # In a tall picture the head is above the middle, the shoulders fill the rest.
        top = max(0.0, height - 480 * self.scale) * 0.45
        self._canvas = Canvas(size, self.scale, (width / 2, top))
        drawing.backdrop(self._canvas, self.appearance)
        self.backdrop = self._canvas.planes
        self._sprites: dict[tuple[object, ...], Sprite] = {}
        # The edges of a part are blended with everything behind it, at rest.
        self._under: dict[str, Canvas] = {}
        under = self._canvas
        for name in ("back", "body", "head"):
            self._under[name] = under
            under = under.copy()
            self.get(name, _AT_REST).put(under.planes, width, 0, 0)
        self._under[""] = under

    def get(self, name: str, place: _Placement, *state: object) -> Sprite:
        """Return a sprite in the phase of `place`, drawn now if it is not cached."""
        key = (name, place.phase, *state)
        sprite = self._sprites.get(key)
        if sprite is None:
            canvas = self._under.get(name, self._under.get("", self._canvas)).copy(place.phase)
            _DRAW[name](canvas, self.appearance, *state)
            sprite = self._sprites[key] = canvas.cut_out()
        return sprite

    def has(self, name: str, place: _Placement) -> bool:
        """Return whether a sprite is cached."""
        return (name, place.phase) in self._sprites


_DRAW: dict[str, Callable[..., None]] = {
    "back": drawing.back,
    "body": drawing.body,
    "head": drawing.head,
    "features": drawing.features,
    "eyes": drawing.eyes,
    "mouth": drawing.mouth,
    "glasses": drawing.glasses,
}

_sprite_set = functools.lru_cache(maxsize=_MAX_SPRITE_SETS)(_SpriteSet)

#: Parts that take tens of milliseconds to draw.
_LARGE = ("back", "body", "head")


class Face:
    """Animated face of one persona; `size` is in pixels.

    Large parts in a new phase are drawn by :meth:`draw_missing`, in any thread; until then pictures
    show them where they were last.
    """

    def __init__(self, avatar: str, size: tuple[int, int]) -> None:
        self.size = size
        self._avatar = avatar
        self._nod = 0.0
        self._missing: dict[tuple[str, tuple[float, float]], _Placement] = {}
        self._last: dict[str, _Placement] = {}

    @functools.cached_property
    def _sprites(self) -> _SpriteSet:
        return _sprite_set(self._avatar, self.size)

    @property
    def incomplete(self) -> bool:
        """Whether sprites of large parts are missing."""
        return bool(self._missing)

    def prepare(self) -> None:
        """Draw all sprites that the first picture needs."""
        self.picture(0.0, "closed", 0.0, speaking=False)

    def draw_missing(self) -> None:
        """Draw one of the missing sprites."""
        for (name, _), place in list(self._missing.items())[:1]:
            self._sprites.get(name, place)
            self._missing.pop((name, place.phase), None)

    def picture(self, seconds: float, shape: str, opening: float, *, speaking: bool) -> Planes:
        """Return the picture at a time since the start; `opening` of the mouth is 0 to 1."""
        sprites = self._sprites
        unit = sprites.scale
        self._nod += ((opening if speaking else 0.0) - self._nod) * 0.25
        breath = 1 - math.cos(seconds * 1.7)
        turn = (4.2 * math.sin(seconds * 0.83) + 2.0 * math.sin(seconds * 1.57)) * unit
        tilt = (1.4 * math.sin(seconds * 1.1) + breath * 0.7 + 2.4 * self._nod) * unit
        first, second, third = sprites.backdrop
        planes = (first[:], second[:], third[:])

        def put(name: str, place: _Placement, *state: object) -> None:
            sprite = sprites.get(name, place, *state)
            sprite.put(planes, self.size[0], place.x, place.y)

        put("back", self._nearest("back", _placement(turn * 0.7, tilt * 0.8)))
        put("body", self._nearest("body", _placement(0.0, breath * 1.8 * unit)))
        put("head", self._nearest("head", _placement(turn, tilt)))
        front = _placement(turn * _PARALLAX, tilt * 1.3)
        put("features", front)
        put("eyes", front, eyelids(seconds), _gaze(seconds))
        put("mouth", front, *_mouth(shape, opening))
        if sprites.appearance.glasses:
            put("glasses", front)
        return planes

    def _nearest(self, name: str, place: _Placement) -> _Placement:
        """Return `place`, or the part's last one if the sprite for `place` is missing."""
        if self._sprites.has(name, place):
            self._last[name] = place
            return place
        self._missing[name, place.phase] = place
        return self._last.get(name, _AT_REST)


def eyelids(seconds: float) -> str:
    """Return the state of the eyelids at a time: ``open``, ``half`` or ``closed``."""
    slot, inside = divmod(seconds, _BLINK_SLOT)
    begin = 0.6 + random.Random(int(slot)).random() * (_BLINK_SLOT - 1.2)
    part = (inside - begin) / _BLINK_DURATION
    if not 0 <= part < 1:
        return "open"
    return "closed" if 0.25 <= part < 0.7 else "half"


def _gaze(seconds: float) -> int:
    """Return the direction of the eyes at a time: -1, 0 or 1."""
    slot = int(seconds / 2.3)
    return random.Random(slot * 7 + 3).choice((0, 0, 0, -1, 1)) if slot else 0


def _mouth(shape: str, opening: float) -> tuple[str, float]:
    """Return shape and opening of the sprite that comes nearest."""
    step = math.ceil(min(1.0, opening) * _MOUTH_STEPS - 0.2)
    return ("closed", 0.0) if step <= 0 or shape == "closed" else (shape, step / _MOUTH_STEPS)
