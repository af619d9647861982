"""Axes, labels and words of charts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flask_anam.web.dashboard import formatting as fmt
from flask_anam.web.dashboard.charts import (
    Bar,
    axis_scale,
    bar_row,
    column_chart,
    duration_ticks,
    time_ticks,
)


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 4, 7, 9, 10, 11, 24, 99, 100, 101, 1234, 98765])
def test_an_axis_has_few_round_lines_and_room_for_the_highest_bar(highest: int) -> None:
    """From zero, in whole steps of 1, 2, 2.5 or 5 times a power of ten."""
    top, step = axis_scale(highest)
    assert top >= highest
    assert top - highest <= step
    assert top % step == 0
    assert 1 <= top // step <= 5
    assert str(step).rstrip("0") in {"1", "2", "25", "5", "3"}


@pytest.mark.parametrize("days", [1, 2, 7, 30, 62, 180, 366])
@pytest.mark.parametrize("first", [1_784_000_000, 1_783_987_200, 1_772_323_200])
def test_labels_of_time_are_few_and_sit_on_whole_hours_and_days(days: int, first: int) -> None:
    """At most eight below a wide chart, and at most four of them below a narrow one."""
    step = next(s for s in (1800, 3600, 10800, 21600, 86400, 604800) if days * 86400 / s <= 62)
    begin = first - first % step
    ticks = time_ticks(range(begin, begin + days * 86400, step), step)
    assert 1 <= len(ticks) <= 9
    assert 1 <= sum(not tick.minor for tick in ticks) <= 5
    assert all(0 <= tick.position <= 1 for tick in ticks)
    assert all(tick.text != following.text for tick, following in pairwise(ticks))


def test_labels_of_lengths() -> None:
    """In minutes, from zero to the end."""
    assert [tick.text for tick in duration_ticks(120, 15)][:3] == ["0", "4 min", "8 min"]
    assert [tick.text for tick in duration_ticks(15, 4)] == ["0", "1 min"]
    assert time_ticks([], 300) == []


def test_bars_are_as_high_as_their_values() -> None:
    """Parts lie on each other, and a part of nothing is not drawn."""
    chart = column_chart(
        [Bar("a & b", [("minted", 50), ("failed", 0), ("reused", 50)])], [], "<all>"
    )
    assert chart.count('class="minted"') == 1
    assert 'class="failed"' not in chart
    assert 'y="113" width="97.6%" height="95"' in chart
    assert 'y="18" width="97.6%" height="95"' in chart
    assert "<title>a &amp; b</title>" in chart
    assert 'aria-label="&lt;all&gt;"' in chart


def test_a_lying_bar_ends_at_the_edge() -> None:
    """More than full is full; nothing is nothing."""
    assert 'x="0%" y="0" width="100%"' in bar_row([("full", 3.0)], 1.0, "t")
    assert 'class="fine" x="0%" y="0" width="0%"' in bar_row([("fine", 0)], 0, "t")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fmt.number(12345.4), "12,345"),
        (fmt.percent(0.002), "under 1 %"),
        (fmt.percent(0), "0 %"),
        (fmt.percent(12.5), "1,250 %"),
        (fmt.duration(None), "–"),  # noqa: RUF001
        (fmt.duration(59.4), "59 s"),
        (fmt.duration(59.6), "1 min"),
        (fmt.duration(252), "4 min 12 s"),
        (fmt.duration(3599.7), "1 h"),
        (fmt.duration(3900), "1 h 05 min"),
        (fmt.total_duration(42), "42 s"),
        (fmt.total_duration(35_000), "583 min"),
        (fmt.total_duration(4_000_000), "1,111 h"),
        (fmt.timestamp(1_784_047_200), "Tue 14 Jul 2026, 16:40"),
        (fmt.interval(1_784_044_800, 3600), "Tue 14 Jul, 16:00 to 17:00"),
        (fmt.interval(1_783_987_200, 86400), "Tue 14 Jul"),
        (fmt.interval(1_783_900_800, 604800), "Mon 13 Jul to Sun 19 Jul"),
        (fmt.axis_label(1_783_987_200, 3600), "14 Jul"),
        (fmt.axis_label(1_784_044_800, 3600), "16:00"),
        (fmt.datetime_local(1_784_047_200), "2026-07-14T16:40"),
    ],
)
def test_words(text: str, expected: str) -> None:
    """As people write them."""
    assert text == expected
