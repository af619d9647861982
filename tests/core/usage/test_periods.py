"""Periods: presets, custom ones, and the steps that they are divided into."""

from __future__ import annotations

import pytest

from flask_anam.core.usage.periods import (
    MAX_PERIOD,
    PRESETS,
    Period,
    custom,
    format_timestamp,
    preset,
)
from flask_anam.core.usage.records import COUNT_BUCKET
from flask_anam.errors import InvalidRequest

#: Wednesday, 14 January 2026, 09:41:40 UTC.
NOW = 1_768_383_700.0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_ends_with_the_current_step(name: str) -> None:
    """It holds whole steps, the current one last, and the counts of whole intervals."""
    length, step = PRESETS[name]
    period = preset(name, NOW)
    assert period.until - step <= NOW < period.until
    assert (period.until - period.since, period.step) == (length, step)
    assert len(period.starts()) == length // step
    assert period.since % COUNT_BUCKET == period.until % COUNT_BUCKET == step % COUNT_BUCKET == 0


def test_the_time_before_is_as_long() -> None:
    """And ends where the period begins."""
    assert Period("day", 1200, 1500, 300).before() == (900, 1200)


def test_the_first_step_may_begin_before_the_period() -> None:
    """Steps begin at multiples of their length."""
    assert list(Period("custom", 4500, 8000, 3600).starts()) == [3600, 7200]


@pytest.mark.parametrize(
    ("since", "until", "step"),
    [
        ("2026-01-14T09:00", "2026-01-14T10:00", 300),
        ("2026-01-14", "", 900),
        ("2026-01-01", "2026-01-14", 6 * 3600),
        ("2025-01-14", "2026-01-14", 7 * 86400),
    ],
)
def test_a_custom_period_has_few_steps(since: str, until: str, step: int) -> None:
    """The shortest that make no more than 62; without an end it lasts until now."""
    period = custom(since, until, NOW)
    assert (period.name, period.step) == ("custom", step)
    assert len(period.starts()) <= 63
    assert period.since % COUNT_BUCKET == period.until % COUNT_BUCKET == 0
    assert until or period.until - COUNT_BUCKET < NOW <= period.until


@pytest.mark.parametrize(
    ("since", "until", "field", "words"),
    [
        ("", "", "since", "Say when it begins"),
        ("soon", "2026-01-14", "since", "Use a date"),
        ("2026-01-14", "later", "until", "Use a date"),
        ("2026-01-14", "2026-01-14", "until", "after the beginning"),
        ("2020-01-14", "2026-01-14", "since", "at most 366 days"),
    ],
)
def test_a_bad_period_names_the_field(since: str, until: str, field: str, words: str) -> None:
    """And how to put it right."""
    with pytest.raises(InvalidRequest) as caught:
        custom(since, until, NOW)
    assert caught.value.details
    assert words in str(caught.value.details[field])


def test_an_unknown_preset_names_those_there_are() -> None:
    """The details are those of the parameter."""
    with pytest.raises(InvalidRequest) as caught:
        preset("decade", NOW)
    assert caught.value.details == {
        "range": ["Unknown range. Use one of hour, day, week, month, custom."]
    }


def test_the_longest_period_is_as_long_as_its_message_says() -> None:
    """A leap year."""
    assert MAX_PERIOD == 366 * 86400


def test_timestamps_are_utc() -> None:
    """To the second, cut and not rounded."""
    assert format_timestamp(NOW + 0.9) == "2026-01-14T09:41:40Z"
