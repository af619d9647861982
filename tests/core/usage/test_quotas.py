"""Quotas: windows of the minutes limit, and what a mint is granted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_anam.core.config.settings import Settings
from flask_anam.core.usage.quotas import Quota, QuotaRules, Window
from flask_anam.core.usage.records import SessionRecord
from flask_anam.errors import ConfigError, MinutesExhausted, TooManySessions

Maker = Callable[..., SessionRecord]


def rules(**config: object) -> QuotaRules:
    """Return the rules of some settings."""
    return QuotaRules(Settings.from_mapping({"ANAM_API_KEY": "k", **config}))


def test_windows_begin_at_multiples_of_their_length() -> None:
    """Every limit has its own; a month is 30 days."""
    quota = rules(ANAM_MINUTES_LIMIT="20 per day; 300 per month").at(10 * 86400.0 + 60)
    assert quota.windows == (
        Window(since=10 * 86400.0, seconds=1200.0, ends_in=86340.0),
        Window(since=0.0, seconds=18000.0, ends_in=20 * 86400.0 - 60),
    )


@pytest.mark.parametrize(
    ("config", "is_limited"),
    [({}, False), ({"ANAM_MINUTES_LIMIT": "1/day"}, True), ({"ANAM_CONCURRENT_SESSIONS": 1}, True)],
)
def test_without_a_limit_there_is_nothing_to_keep(
    config: dict[str, object], is_limited: bool
) -> None:
    """Then no record is stored before its mint."""
    assert rules(**config).any is is_limited
    if is_limited:
        with pytest.raises(ConfigError, match="until_expiry"):
            rules(**config, ANAM_TOKEN_REUSE="until_expiry")


@pytest.mark.parametrize(
    ("wished", "spent", "granted"),
    [(None, [0.5, 0.0], 59), (60, [0.0, 0.0], 60), (600, [0.0, 590.0], 10), (60, [59.0, 0], 1)],
)
def test_a_mint_is_granted_what_is_left_everywhere(
    record: Maker, wished: int | None, spent: list[float], granted: int
) -> None:
    """In whole seconds, and never more than was asked for."""
    quota = Quota(0.0, (Window(0.0, 60.0, 5.0), Window(0.0, 600.0, 9.0)), None)
    assert quota.granted(record("t", max_seconds=wished), spent, 0).max_seconds == granted


def test_a_full_window_tells_when_it_ends(record: Maker) -> None:
    """The last one to end, where several are full."""
    quota = Quota(0.0, (Window(0.0, 60.0, 5.0), Window(0.0, 600.0, 9.0)), None)
    with pytest.raises(MinutesExhausted) as caught:
        quota.granted(record("t"), [59.5, 600.0], 0)
    assert caught.value.retry_after == 9.0


def test_the_number_of_sessions_is_limited(record: Maker) -> None:
    """The length of the session stays as it was."""
    quota = Quota(0.0, (), max_concurrent=2)
    assert quota.granted(record("t"), [], 1).max_seconds is None
    with pytest.raises(TooManySessions):
        quota.granted(record("t"), [], 2)
