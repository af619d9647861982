"""Bars drawn as SVG, for pages with a strict content security policy.

Across everything is a share of the width, so that a chart fits a phone and its text keeps its
size; upward everything is in pixels. Colours come from classes: no ``style``, no script.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from flask_anam.web.dashboard import formatting as human

#: Pixels: of the bars and the room above them, and of the labels below.
_HIGH, _ABOVE, _BELOW = 190, 18, 24
_LINES = 4
#: Seconds from one label of an axis of time to the next.
_TICKS = (300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
_DAYS = (1, 2, 7, 14, 28, 56, 112)
_WEEK = 7 * 86400
_ALL_TICKS = (*_TICKS, *(86400 * days for days in _DAYS))
#: Labels at most below a wide chart, and below one on a phone.
_WIDE, _NARROW = 8, 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, of parts laid on each other.

    Attributes:
        title: what is told to who points at it.
        parts: class and value of each part, from the bottom; values are not negative.
        unfinished: whether its time is not over yet.

    """

    title: str
    parts: Sequence[tuple[str, float]]
    unfinished: bool = False

    @property
    def total(self) -> float:
        """How high it is in all."""
        return sum(value for _, value in self.parts)


@dataclass(frozen=True, slots=True)
class Tick:
    """A label below a chart.

    Attributes:
        at: where, as a share of the width.
        text: the label.
        minor: whether it is left out where there is little room.

    """

    at: float
    text: str
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A line from top to bottom with a label.

    Attributes:
        at: where, as a share of the width.
        text: the label.

    """

    at: float
    text: str


def columns(
    bars: Sequence[Bar],
    ticks: Iterable[Tick],
    label: str,
    mark: Mark | None = None,
    gap: float = 0.14,
) -> Markup:
    """Return a chart of upright bars from a baseline of zero.

    Args:
        bars: from left to right, equally wide.
        ticks: labels below.
        label: what the chart shows, for who cannot see it.
        mark: one line across.
        gap: what is left free on each side of a bar, as a share of its place.

    """
    top, step = scale(max((bar.total for bar in bars), default=0))
    levels = [(value, _y(value, top)) for value in range(0, top + 1, step)]
    numbers = [
        Markup('<text x="100%" y="{}" text-anchor="end">{}</text>').format(
            y + 4, human.number(value)
        )
        for value, y in levels
    ]
    grid = [
        Markup('<line class="{}" x1="0" x2="100%" y1="{}" y2="{}"/>').format(
            "grid" if value else "base", y, y
        )
        for value, y in levels
    ]
    wide = 100 / max(1, len(bars))
    drawn = [_bar(bar, number * wide, wide, top, gap) for number, bar in enumerate(bars)]
    high = _ABOVE + _HIGH + _BELOW
    return Markup(
        '<div class="chart" role="img" aria-label="{}">'
        '<svg class="scale" width="44" height="{}" aria-hidden="true">{}</svg>'
        '<svg class="field" width="100%" height="{}" aria-hidden="true">{}{}{}{}</svg></div>'
    ).format(label, high, _all(numbers), high, _all(grid), _all(drawn), _ticks(ticks), _mark(mark))


def row(parts: Sequence[tuple[str, float]], full: float, title: str) -> Markup:
    """Return one lying bar, whose parts are shares of `full`."""
    drawn, x = [], 0.0
    for kind, value in parts:
        share = min(100.0 - x, 100 * value / full) if full else 0.0
        drawn.append(
            Markup('<rect class="{}" x="{}%" y="0" width="{}%" height="14" rx="3"/>').format(
                kind, _short(x), _short(max(share, 0.4) if value else 0)
            )
        )
        x += share
    return Markup(
        '<svg class="row" width="100%" height="14" aria-hidden="true"><title>{}</title>'
        '<rect class="track" width="100%" height="14" rx="3"/>{}</svg>'
    ).format(title, _all(drawn))


def scale(highest: float) -> tuple[int, int]:
    """Return the top of an axis and the step of its lines: 1, 2, 2.5 or 5 times a power of ten."""
    rough = max(1.0, highest / _LINES)
    power = 10 ** math.floor(math.log10(rough))
    found = next(one for one in (1, 2, 2.5, 5, 10) if one * power >= rough)
    step = max(1, math.ceil(found * power))
    return max(1, math.ceil(highest / step)) * step, step


def time_ticks(starts: Sequence[int], step: int) -> list[Tick]:
    """Return labels for bars that begin at these Unix seconds and are `step` seconds wide."""
    if not starts:
        return []
    first, span = starts[0], step * len(starts)
    fitting = [one for one in _ALL_TICKS if one >= step or one % step == 0]
    wide = next((one for one in fitting if span / one <= _WIDE), fitting[-1])
    narrow = next((o for o in fitting if span / o <= _NARROW and not o % wide), fitting[-1])
    # Below a bar of a day or more its label stands in the middle; else it tells when it begins.
    shift = step / 2 if step >= 86400 else 0
    # Labels some days apart name Mondays; steps of a week begin on the day that Unix time did.
    monday = 4 * 86400 if step < _WEEK else 0
    return [
        Tick((at - first + shift) / span, human.tick(at, step), minor=bool((at - monday) % narrow))
        for at in starts
        if not (at - monday) % wide
    ]


def length_ticks(width: int, bars: int) -> list[Tick]:
    """Return labels for bars of lengths that are `width` seconds wide each."""
    every = next((n for n in (1, 2, 4, 5, 10, 20) if bars / n <= _WIDE and n * width >= 60), 1)
    marks = range(0, bars + 1, every)
    return [
        Tick(n / max(1, bars), human.length(n * width) if n else "0", minor=bool(n // every % 2))
        for n in marks
    ]


def _bar(bar: Bar, x: float, wide: float, top: int, share: float) -> Markup:
    gap = min(wide * share, 1.2)
    drawn, value = [], 0.0
    for kind, more in bar.parts:
        if not more:
            continue
        low, high = _y(value, top), _y(value + more, top)
        value += more
        drawn.append(
            Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>').format(
                kind, _short(x + gap), _short(high), _short(wide - 2 * gap), _short(low - high)
            )
        )
    return Markup(
        '<g class="{}"><title>{}</title><rect class="hit" x="{}%" y="0" width="{}%" '
        'height="{}"/>{}</g>'
    ).format(
        "bar unfinished" if bar.unfinished else "bar",
        bar.title,
        _short(x),
        _short(wide),
        _ABOVE + _HIGH,
        _all(drawn),
    )


def _ticks(ticks: Iterable[Tick]) -> Markup:
    y = _ABOVE + _HIGH
    return _all(
        Markup(
            '<g class="{}"><line class="tick" x1="{x}%" x2="{x}%" y1="{y}" y2="{low}"/>'
            '<text x="{x}%" y="{text_y}" text-anchor="{anchor}">{text}</text></g>'
        ).format(
            "minor" if tick.minor else "major",
            x=_short(tick.at * 100),
            y=y,
            low=y + 5,
            text_y=y + 19,
            anchor="start" if tick.at < 0.02 else "end" if tick.at > 0.98 else "middle",
            text=tick.text,
        )
        for tick in ticks
    )


def _mark(mark: Mark | None) -> Markup:
    if mark is None:
        return Markup()
    left = mark.at < 0.5
    return Markup(
        '<g class="mark"><line x1="{x}%" x2="{x}%" y1="0" y2="{low}"/>'
        '<text x="{x}%" dx="{dx}" y="11" text-anchor="{anchor}">{text}</text></g>'
    ).format(
        x=_short(min(1.0, mark.at) * 100),
        low=_ABOVE + _HIGH,
        dx=6 if left else -6,
        anchor="start" if left else "end",
        text=mark.text,
    )


def _y(value: float, top: int) -> float:
    return round(_ABOVE + _HIGH * (1 - value / top), 2)


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _all(parts: Iterable[Markup]) -> Markup:
    return Markup().join(parts)
