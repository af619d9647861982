"""A face in motion: which drawings make up the picture at a given moment."""

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from flask_anam.sandbox.media import drawing
from flask_anam.sandbox.media.appearance import Look, look_of
from flask_anam.sandbox.media.canvas import Canvas, Planes, Sprite

#: Seconds of a blink, and of the stretch of time that has one each.
_BLINK, _BLINK_EVERY = 0.2, 3.4
#: Drawings of a mouth between closed and open.
_OPENINGS = 4
#: Features move further than the head when it turns, which makes it look round.
_DEPTH = 1.5


@dataclass(frozen=True)
class _Place:
    """Where a part is drawn: even whole pixels, and the rest, for which it has a drawing."""

    x: int
    y: int
    phase: tuple[float, float]


def _place(x: float, y: float) -> _Place:
    half_steps, steps = round(x * 2), round(y)
    return _Place(
        (half_steps - half_steps % 4) // 2,
        steps - steps % 2,
        (half_steps % 4 / 2, float(steps % 2)),
    )


class _Parts:
    """All drawings of one look in one size, made when they are first wanted."""

    def __init__(self, avatar: str, size: tuple[int, int]) -> None:
        self.look: Look = look_of(avatar)
        width, height = size
        self.scale = min(height / 480, width / 460)
        # In a tall picture the head is higher than the middle, the shoulders fill the rest.
        top = max(0.0, height - 480 * self.scale) * 0.45
        self._canvas = Canvas(size, self.scale, (width / 2, top))
        drawing.backdrop(self._canvas, self.look)
        self.backdrop = self._canvas.planes
        self._sprites: dict[tuple[object, ...], Sprite] = {}
        # What the edges of a part are blended with: everything behind it, at rest.
        self._under: dict[str, Canvas] = {}
        under = self._canvas
        for name in ("back", "body", "head"):
            self._under[name] = under
            under = under.copy()
            self.get(name, _Place(0, 0, (0.0, 0.0))).put(under.planes, width, 0, 0)
        self._under[""] = under

    def get(self, name: str, place: _Place, *state: object) -> Sprite:
        """Return a drawing in the phase of `place`, made now if it must be."""
        key = (name, place.phase, *state)
        found = self._sprites.get(key)
        if found is None:
            canvas = self._under.get(name, self._under.get("", self._canvas)).copy(place.phase)
            _DRAW[name](canvas, self.look, *state)
            found = self._sprites[key] = canvas.cut_out()
        return found

    def have(self, name: str, place: _Place) -> bool:
        """Whether a drawing is there already."""
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

_parts = functools.lru_cache(maxsize=16)(_Parts)

#: Parts that take tens of milliseconds to draw.
_LARGE = ("back", "body", "head")
_AT_REST = _place(0.0, 0.0)


class Face:
    """The moving picture of one persona; `size` is in pixels.

    Large parts in a new phase are drawn by :meth:`draw_missing`, in whatever thread; until then
    pictures show them where they were drawn last.
    """

    def __init__(self, avatar: str, size: tuple[int, int]) -> None:
        self.size = size
        self._avatar = avatar
        self._nod = 0.0
        self._missing: dict[tuple[str, tuple[float, float]], _Place] = {}
        self._last: dict[str, _Place] = {}

    @functools.cached_property
    def _parts(self) -> _Parts:
        return _parts(self._avatar, self.size)

    @property
    def incomplete(self) -> bool:
        """Whether pictures have lacked a large part in the right phase."""
        return bool(self._missing)

    def prepare(self) -> None:
        """Draw all that the first picture needs, so that it comes at once."""
        self.picture(0.0, "closed", 0.0, speaking=False)

    def draw_missing(self) -> None:
        """Draw one of the parts that pictures have lacked."""
        for (name, _), place in list(self._missing.items())[:1]:
            self._parts.get(name, place)
            self._missing.pop((name, place.phase), None)

    def picture(self, seconds: float, shape: str, opening: float, *, speaking: bool) -> Planes:
        """Return the picture at a time since the start; `opening` of the mouth is 0 to 1."""
        parts = self._parts
        unit = parts.scale
        self._nod += ((opening if speaking else 0.0) - self._nod) * 0.25
        breath = 1 - math.cos(seconds * 1.7)
        turn = (4.2 * math.sin(seconds * 0.83) + 2.0 * math.sin(seconds * 1.57)) * unit
        tilt = (1.4 * math.sin(seconds * 1.1) + breath * 0.7 + 2.4 * self._nod) * unit
        first, second, third = parts.backdrop
        planes = (first[:], second[:], third[:])

        def put(name: str, place: _Place, *state: object) -> None:
            sprite = parts.get(name, place, *state)
            sprite.put(planes, self.size[0], place.x, place.y)

        put("back", self._nearest("back", _place(turn * 0.7, tilt * 0.8)))
        put("body", self._nearest("body", _place(0.0, breath * 1.8 * unit)))
        put("head", self._nearest("head", _place(turn, tilt)))
        front = _place(turn * _DEPTH, tilt * 1.3)
        put("features", front)
        put("eyes", front, lids(seconds), _gaze(seconds))
        put("mouth", front, *_mouth(shape, opening))
        if parts.look.glasses:
            put("glasses", front)
        return planes

    def _nearest(self, name: str, place: _Place) -> _Place:
        """Return `place`, or where the part was last if there is no drawing for it yet."""
        if self._parts.have(name, place):
            self._last[name] = place
            return place
        self._missing[name, place.phase] = place
        return self._last.get(name, _AT_REST)


def lids(seconds: float) -> str:
    """Return how the eyelids are at a time: ``open``, ``half`` or ``closed``."""
    slot, inside = divmod(seconds, _BLINK_EVERY)
    begin = 0.6 + random.Random(int(slot)).random() * (_BLINK_EVERY - 1.2)
    part = (inside - begin) / _BLINK
    if not 0 <= part < 1:
        return "open"
    return "closed" if 0.25 <= part < 0.7 else "half"


def _gaze(seconds: float) -> int:
    slot = int(seconds / 2.3)
    return random.Random(slot * 7 + 3).choice((0, 0, 0, -1, 1)) if slot else 0


def _mouth(shape: str, opening: float) -> tuple[str, float]:
    step = math.ceil(min(1.0, opening) * _OPENINGS - 0.2)
    return ("closed", 0.0) if step <= 0 or shape == "closed" else (shape, step / _OPENINGS)
