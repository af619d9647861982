"""Bars with their spread, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import median

_COLOURS = {"ours": "#0b6b6f", "floor": "#8a94a6", "by_hand": "#c9772b", "express": "#6b7f2a"}
_LABELS, _WIDTH, _LINE, _TOP = 470, 900, 24, 44


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a plot: what it is called, its figures, and whose colour it has."""

    label: str
    values: Sequence[float]
    app: str


def bars(title: str, shown: Sequence[Bar], form: str = ",.0f") -> str:
    """Return horizontal bars as long as the medians, with a line from least to greatest."""
    longest = max((max(bar.values) for bar in shown), default=1) or 1
    scale = (_WIDTH - _LABELS - 90) / longest
    height = _TOP + _LINE * len(shown) + 10
    box = f'viewBox="0 0 {_WIDTH} {height}" role="img"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for number, bar in enumerate(shown):
        y = _TOP + number * _LINE
        low, middle, high = min(bar.values), median(bar.values), max(bar.values)
        end = _LABELS + high * scale
        size = f'width="{middle * scale:.1f}" height="{_LINE - 8}"'
        parts += [
            f'<text x="{_LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{_LABELS}" y="{y + 2}" {size} fill="{_COLOURS[bar.app]}"/>',
            f'<path d="M{_LABELS + low * scale:.1f} {y + 10}H{end:.1f}" stroke="#222222"/>',
            f'<text x="{end + 6:.1f}" y="{y + 14}">{middle:{form}}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
