"""Rasteriser: anti-aliased drawing into the three planes of a yuv420p picture."""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Path = Sequence[Point]
Colour = tuple[int, int, int]
#: The planes Y, U and V of a picture, without padding.
Planes = tuple[bytearray, bytearray, bytearray]

#: Steps between transparent and opaque.
_LEVELS = 256
#: Steps of coverage of a pixel at an edge.
_STEPS = 16
#: One byte for each value of a pixel.
_SOLID = [bytes([value]) for value in range(256)]
#: Scan lines for each row of pixels.
_SUBLINES = 4
#: Corners of the polygon that stands for an ellipse.
_ELLIPSE_CORNERS = 40
#: Blend tables that are cached, one for each value and level.
_MAX_TABLES = 4096


def yuv(colour: Colour) -> Colour:
    """Return an RGB colour in YCbCr of BT.601, limited range."""
    red, green, blue = colour
    return (
        round(16 + 0.257 * red + 0.504 * green + 0.098 * blue),
        round(128 - 0.148 * red - 0.291 * green + 0.439 * blue),
        round(128 + 0.439 * red - 0.368 * green - 0.071 * blue),
    )


def mix(first: Colour, second: Colour, part: float) -> Colour:
    """Return the colour that is `part` of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue


def ellipse(x: float, y: float, wide: float, high: float, *, turn: float = 0.0) -> Path:
    """Return an ellipse by its centre and half its width and height; `turn` is in degrees."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    angles = (2 * math.pi * step / _ELLIPSE_CORNERS for step in range(_ELLIPSE_CORNERS))
    around = [(wide * math.cos(angle), high * math.sin(angle)) for angle in angles]
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in around]


def smooth(points: Path, *, steps: int = 8) -> Path:
    """Return a closed Catmull-Rom spline through `points`."""
    count = len(points)
    curve = []
    for index in range(count):
        four = [points[(index + offset) % count] for offset in (-1, 0, 1, 2)]
        curve += [_between(four, step / steps) for step in range(steps)]
    return curve


def mirrored(points: Path) -> Path:
    """Return the outline whose right half, from top to bottom, is `points`."""
    return [*points, *[(-x, y) for x, y in reversed(points) if x > 0]]


def stroke(points: Path, width: float, *, end: float | None = None, steps: int = 6) -> Path:
    """Return the outline of a round line through `points`, from `width` to `end` wide."""
    last = len(points) - 1
    line: list[Point] = []
    for index in range(last):
        four = [points[min(max(index + offset, 0), last)] for offset in (-1, 0, 1, 2)]
        line += [_between(four, step / steps) for step in range(steps)]
    line.append(points[-1])
    final = width if end is None else end
    left, right = [], []
    for index, (x, y) in enumerate(line):
        before, after = line[max(0, index - 1)], line[min(len(line) - 1, index + 1)]
        along_x, along_y = after[0] - before[0], after[1] - before[1]
        length = math.hypot(along_x, along_y) or 1.0
        half = (width + (final - width) * index / (len(line) - 1)) / 2
        across_x, across_y = -along_y / length * half, along_x / length * half
        left.append((x + across_x, y + across_y))
        right.append((x - across_x, y - across_y))
    return [*left, *reversed(right)]


def _between(four: Sequence[Point], part: float) -> Point:
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = four
    square, cube = part * part, part * part * part
    weights = (
        -0.5 * part + square - 0.5 * cube,
        1 - 2.5 * square + 1.5 * cube,
        0.5 * part + 2 * square - 1.5 * cube,
        -0.5 * square + 0.5 * cube,
    )
    return (
        ax * weights[0] + bx * weights[1] + cx * weights[2] + dx * weights[3],
        ay * weights[0] + by * weights[1] + cy * weights[2] + dy * weights[3],
    )


@dataclass(frozen=True)
class Sprite:
    """Sprite: for each plane its runs of pixels, as row, column and bytes."""

    runs: tuple[tuple[tuple[int, int, bytes], ...], ...]

    def put(self, planes: Planes, width: int, x: int, y: int) -> None:
        """Copy the sprite into a picture, moved by `x` and `y` luma pixels, both even.

        It is clipped at the bottom of the picture; it must not leave it elsewhere.
        """
        for number, (plane, runs) in enumerate(zip(planes, self.runs, strict=True)):
            shift = 1 if number else 0
            line = width >> shift
            offset = (y >> shift) * line + (x >> shift)
            size = len(plane)
            for row, column, data in runs:
                start = offset + row * line + column
                if start >= size:
                    break
                plane[start : start + len(data)] = data


class Canvas:
    """Canvas: a picture to draw on, in units of `scale` pixels; `origin` is (0, 0), in pixels."""

    def __init__(
        self, size: tuple[int, int], scale: float, origin: Point, under: "Canvas | None" = None
    ) -> None:
        self.size = size
        self.scale = scale
        self.origin = origin
        luma = size[0] * size[1]
        first, second, third = (
            under.planes if under else map(bytearray, (luma, luma // 4, luma // 4))
        )
        self.planes: Planes = (first[:], second[:], third[:])
        self._touched = (bytearray(luma), bytearray(luma // 4))

    def copy(self, shift: Point = (0.0, 0.0)) -> "Canvas":
        """Return a copy whose origin is moved by `shift` pixels, to draw a sprite on."""
        x, y = self.origin
        return Canvas(self.size, self.scale, (x + shift[0], y + shift[1]), self)

    def rows(self, colours: Iterable[Colour]) -> None:
        """Fill the rows of the picture with `colours`, from the top."""
        width = self.size[0]
        for row, colour in enumerate(colours):
            for number, value in enumerate(yuv(colour)):
                shift = 1 if number else 0
                if shift and row % 2:
                    continue
                line = width >> shift
                start = (row >> shift) * line
                self.planes[number][start : start + line] = bytes([value]) * line

    def fill(self, path: Path, colour: Colour, alpha: float = 1.0) -> None:
        """Fill an outline with a colour; `alpha` is 0 (transparent) to 1 (opaque)."""
        values = yuv(colour)
        for shift, numbers in ((0, (0,)), (1, (1, 2))):
            width, height = self.size[0] >> shift, self.size[1] >> shift
            scale, (left, top) = self.scale / (1 << shift), self.origin
            moved = [
                (x * scale + left / (1 << shift), y * scale + top / (1 << shift)) for x, y in path
            ]
            levels = [round(step / _STEPS * alpha * _LEVELS) for step in range(_STEPS + 1)]
            for first, last, step in _fill_runs(moved, width, height):
                self._paint(shift, numbers, first, last, values, levels[step])

    def glow(self, x: float, y: float, size: Point, colour: Colour, alpha: float) -> None:
        """Draw an elliptic gradient that fades to its edge; `size` is half its width and height."""
        values = yuv(colour)
        for shift, numbers in ((0, (0,)), (1, (1, 2))):
            scale = self.scale / (1 << shift)
            left, top = (place / (1 << shift) for place in self.origin)
            spot = (x * scale + left, y * scale + top, size[0] * scale, size[1] * scale)
            for first, last, part in _gradient_runs(
                spot, self.size[0] >> shift, self.size[1] >> shift
            ):
                level = round(alpha * part * part * (3 - 2 * part) * _LEVELS)
                if level:
                    self._paint(shift, numbers, first, last, values, level)

    def _paint(
        self,
        shift: int,
        numbers: tuple[int, ...],
        first: int,
        last: int,
        values: Colour,
        level: int,
    ) -> None:
        for number in numbers:
            _blend(self.planes[number], first, last, values[number], level)
        self._touched[shift][first:last] = b"\1" * (last - first)

    def cut_out(self) -> Sprite:
        """Return what was drawn since this canvas was copied, as a sprite."""
        width = self.size[0]
        shifts = (0, 1, 1)
        return Sprite(
            tuple(
                tuple(_cut(plane, self._touched[shift], width >> shift))
                for plane, shift in zip(self.planes, shifts, strict=True)
            )
        )


def _cut(plane: bytearray, mask: bytearray, width: int) -> Iterator[tuple[int, int, bytes]]:
    start = mask.find(1)
    while start >= 0:
        row = start // width
        limit = (row + 1) * width
        end = mask.find(0, start, limit)
        end = limit if end < 0 else end
        yield row, start - row * width, bytes(plane[start:end])
        start = mask.find(1, end)


def _blend(plane: bytearray, first: int, last: int, value: int, level: int) -> None:
    if level >= _LEVELS:
        plane[first:last] = _SOLID[value] * (last - first)
    elif last - first == 1:
        plane[first] += (value - plane[first]) * level // _LEVELS
    else:
        plane[first:last] = plane[first:last].translate(_table(value, level))


@functools.lru_cache(maxsize=_MAX_TABLES)
def _table(value: int, level: int) -> bytes:
    """Return what each byte becomes when `value` is blended over it."""
    rest = _LEVELS - level
    return bytes((old * rest + value * level + _LEVELS // 2) // _LEVELS for old in range(256))


def _gradient_runs(
    spot: tuple[float, float, float, float], width: int, height: int
) -> Iterator[tuple[int, int, float]]:
    """Yield start, end and strength (0 to 1) of the rings of an ellipse, row by row."""
    x, y, wide, high = spot
    rings = max(4, min(32, round(max(wide, high) / 4)))
    for row in range(max(0, math.ceil(y - high)), min(height, math.floor(y + high) + 1)):
        place = ((row - y) / high) ** 2
        left = right = None
        for ring in range(rings, 0, -1):
            reach = (ring / rings) ** 2 - place
            if reach <= 0:
                break
            half = wide * math.sqrt(reach)
            start, end = max(0, round(x - half)), min(width, round(x + half))
            if left is not None and right is not None:
                part = 1 - (ring + 0.5) / rings
                for first, last in ((left, start), (end, right)):
                    if first < last:
                        yield row * width + first, row * width + last, part
            left, right = start, end
        if left is not None and right is not None and left < right:
            yield row * width + left, row * width + right, 1 - math.sqrt(place)


def _fill_runs(path: Path, width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and coverage (1 to 16) of every run of pixels that `path` covers."""
    lines = _crossings(path, height)
    right = float(width)
    for row in sorted({line // _SUBLINES for line in lines}):
        # How the covered part of a pixel changes from one to the next, exact along the row.
        change: dict[int, float] = {}
        for line in range(row * _SUBLINES, (row + 1) * _SUBLINES):
            sign = _STEPS / _SUBLINES
            for x in sorted(lines.get(line, ())):
                place = 0.0 if x < 0 else min(x, right)
                column = int(place)
                rest = (place - column) * sign
                change[column] = change.get(column, 0.0) + sign - rest
                change[column + 1] = change.get(column + 1, 0.0) + rest
                sign = -sign
        covered, start, step = 0.0, 0, 0
        for column in sorted(change):
            covered += change[column]
            after = int(covered + 0.5)
            if after != step:
                end = min(column, width)
                if step > 0 and end > start:
                    yield row * width + start, row * width + end, step
                start, step = column, after


def _crossings(path: Path, height: int) -> dict[int, list[float]]:
    """Return the x coordinates at which the outline crosses each scan line of the picture."""
    lines: dict[int, list[float]] = {}
    x, y = path[-1]
    for next_x, next_y in path:
        if y != next_y:
            upper, lower = ((x, y), (next_x, next_y))[:: 1 if y < next_y else -1]
            slope = (lower[0] - upper[0]) / (lower[1] - upper[1])
            first = max(0, math.ceil(upper[1] * _SUBLINES - 0.5))
            last = min(height * _SUBLINES, math.ceil(lower[1] * _SUBLINES - 0.5))
            for line in range(first, last):
                here = upper[0] + slope * ((line + 0.5) / _SUBLINES - upper[1])
                lines.setdefault(line, []).append(here)
        x, y = next_x, next_y
    return lines
