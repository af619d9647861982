"""Bar charts as SVG, for pages with a strict content security policy.

x coordinates are percentages of the width, so that a chart fits a phone and its text keeps its
size; y coordinates are pixels. Colours come from CSS classes: no ``style``, no script.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from flask_anam.web.dashboard import formatting as fmt

#: Pixels; the area of the bars.
_PLOT_HEIGHT = 190
#: Pixels; the margin above the bars, for the label of a marker.
_TOP_MARGIN = 18
#: Pixels; the area of the labels below the bars.
_LABEL_HEIGHT = 24
#: Pixels; the y coordinate of the baseline.
_BASELINE = _TOP_MARGIN + _PLOT_HEIGHT
#: Grid lines above the baseline, roughly.
_GRID_LINES = 4
#: Seconds.
_DAY = 86400
#: Seconds.
_WEEK = 7 * _DAY
#: Seconds; the possible distances between two labels of a time axis.
_LABEL_STEPS = (
    *(300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600),
    *(_DAY * days for days in (1, 2, 7, 14, 28, 56, 112)),
)
#: Upper limit of labels below a chart on a wide screen.
_MAX_LABELS = 8
#: Upper limit of labels below a chart on a phone.
_MAX_LABELS_NARROW = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """Bar: one stacked bar of a chart.

    Attributes:
        title: the tooltip.
        parts: CSS class and value of each part, from the bottom; values are not negative.
        unfinished: whether the interval of the bar has not ended yet.

    """

    title: str
    parts: Sequence[tuple[str, float]]
    unfinished: bool = False

    @property
    def total(self) -> float:
        """The sum of the parts, which is the height of the bar."""
        return sum(value for _, value in self.parts)


@dataclass(frozen=True, slots=True)
class Tick:
    """Axis tick: a label below a chart.

    Attributes:
        position: share of the width, from 0.0 to 1.0.
        text: the label.
        minor: whether narrow screens leave it out.

    """

    position: float
    text: str
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """Marker: a vertical line with a label.

    Attributes:
        position: share of the width; more than 1.0 is drawn at the right edge.
        text: the label.

    """

    position: float
    text: str


def column_chart(
    bars: Sequence[Bar],
    ticks: Iterable[Tick],
    label: str,
    marker: Marker | None = None,
    gap: float = 0.14,
) -> Markup:
    """Return a chart of vertical bars from a baseline of zero.

    Args:
        bars: from left to right, equally wide.
        ticks: labels below.
        label: what the chart shows, for screen readers.
        marker: an optional vertical line.
        gap: the space on each side of a bar, as a share of the width of its slot.

    """
    top, step = axis_scale(max((bar.total for bar in bars), default=0))
    levels = [(value, _y(value, top)) for value in range(0, top + 1, step)]
    numbers = [
        Markup('<text x="100%" y="{}" text-anchor="end">{}</text>').format(y + 4, fmt.number(value))
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
    high = _BASELINE + _LABEL_HEIGHT
    return Markup(
        '<div class="chart" role="img" aria-label="{}">'
        '<svg class="scale" width="44" height="{}" aria-hidden="true">{}</svg>'
        '<svg class="field" width="100%" height="{}" aria-hidden="true">{}{}{}{}</svg></div>'
    ).format(
        label, high, _join(numbers), high, _join(grid), _join(drawn), _ticks(ticks), _marker(marker)
    )


def bar_row(parts: Sequence[tuple[str, float]], full: float, title: str) -> Markup:
    """Return a horizontal bar, whose parts are shares of `full`."""
    drawn, x = [], 0.0
    for kind, value in parts:
        share = min(100.0 - x, 100 * value / full) if full else 0.0
        drawn.append(
            Markup('<rect class="{}" x="{}%" y="0" width="{}%" height="14" rx="3"/>').format(
                kind, _num(x), _num(max(share, 0.4) if value else 0)
            )
        )
        x += share
    return Markup(
        '<svg class="row" width="100%" height="14" aria-hidden="true"><title>{}</title>'
        '<rect class="track" width="100%" height="14" rx="3"/>{}</svg>'
    ).format(title, _join(drawn))


def axis_scale(highest: float) -> tuple[int, int]:
    """Return the maximum of an axis and the step of its grid lines.

    The step is 1, 2, 2.5 or 5 times a power of ten, rounded up to an integer.
    """
    rough = max(1.0, highest / _GRID_LINES)
    power = 10 ** math.floor(math.log10(rough))
    factor = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    step = max(1, math.ceil(factor * power))
    return max(1, math.ceil(highest / step)) * step, step


def time_ticks(starts: Sequence[int], step: int) -> list[Tick]:
    """Return the labels of a time axis.

    Args:
        starts: where each bar begins, in Unix seconds.
        step: seconds of one bar.

    """
    if not starts:
        return []
    first, span = starts[0], step * len(starts)
    usable = [every for every in _LABEL_STEPS if every >= step or every % step == 0]
    wide = next((every for every in usable if span / every <= _MAX_LABELS), usable[-1])
    narrow = next(
        (e for e in usable if span / e <= _MAX_LABELS_NARROW and not e % wide), usable[-1]
    )
    # The label of a bar of a day or more is below its middle; other labels are below its begin.
    shift = step / 2 if step >= _DAY else 0
    # Labels several days apart are on Mondays. Bars of a week begin on Thursday, as Unix time does.
    monday = 4 * _DAY if step < _WEEK else 0
    return [
        Tick((at - first + shift) / span, fmt.axis_label(at, step), bool((at - monday) % narrow))
        for at in starts
        if not (at - monday) % wide
    ]


def duration_ticks(width: int, bars: int) -> list[Tick]:
    """Return the labels of a duration axis, for bars of `width` seconds each."""
    every = next(
        (n for n in (1, 2, 4, 5, 10, 20) if bars / n <= _MAX_LABELS and n * width >= 60), 1
    )
    marks = range(0, bars + 1, every)
    return [
        Tick(n / max(1, bars), fmt.duration(n * width) if n else "0", minor=bool(n // every % 2))
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
                kind, _num(x + gap), _num(high), _num(wide - 2 * gap), _num(low - high)
            )
        )
    return Markup(
        '<g class="{}"><title>{}</title><rect class="hit" x="{}%" y="0" width="{}%" '
        'height="{}"/>{}</g>'
    ).format(
        "bar unfinished" if bar.unfinished else "bar",
        bar.title,
        _num(x),
        _num(wide),
        _BASELINE,
        _join(drawn),
    )


def _ticks(ticks: Iterable[Tick]) -> Markup:
    return _join(
        Markup(
            '<g class="{}"><line class="tick" x1="{x}%" x2="{x}%" y1="{y}" y2="{low}"/>'
            '<text x="{x}%" y="{text_y}" text-anchor="{anchor}">{text}</text></g>'
        ).format(
            "minor" if tick.minor else "major",
            x=_num(tick.position * 100),
            y=_BASELINE,
            low=_BASELINE + 5,
            text_y=_BASELINE + 19,
            anchor="start" if tick.position < 0.02 else "end" if tick.position > 0.98 else "middle",
            text=tick.text,
        )
        for tick in ticks
    )


def _marker(marker: Marker | None) -> Markup:
    if marker is None:
        return Markup()
    left = marker.position < 0.5
    return Markup(
        '<g class="mark"><line x1="{x}%" x2="{x}%" y1="0" y2="{low}"/>'
        '<text x="{x}%" dx="{dx}" y="11" text-anchor="{anchor}">{text}</text></g>'
    ).format(
        x=_num(min(1.0, marker.position) * 100),
        low=_BASELINE,
        dx=6 if left else -6,
        anchor="start" if left else "end",
        text=marker.text,
    )


def _y(value: float, top: int) -> float:
    return round(_TOP_MARGIN + _PLOT_HEIGHT * (1 - value / top), 2)


def _num(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup().join(parts)
