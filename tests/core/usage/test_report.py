"""The usage report: groups of outcomes, histograms, and lists of users."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_anam.core.usage.memory_store import MemorySessionStore
from flask_anam.core.usage.periods import preset
from flask_anam.core.usage.quotas import Quota, Window
from flask_anam.core.usage.records import SessionRecord
from flask_anam.core.usage.report import (
    EDGES,
    DurationHistogram,
    ReportQuery,
    UserUse,
    build_report,
    group_of,
    meanings,
)
from flask_anam.testing import ManualClock

Maker = Callable[..., SessionRecord]
NO_LIMIT = Quota(0.0, (), None)


@pytest.mark.parametrize(
    ("outcome", "group"),
    [
        ("minted", "minted"),
        ("reused", "reused"),
        ("replayed", "reused"),
        ("stale", "reused"),
        ("rate_limited", "refused"),
        ("too_many_sessions", "refused"),
        ("anam_timeout", "failed"),
        ("persona_invalid", "failed"),
        ("a code of a later release", "failed"),
    ],
)
def test_groups_of_outcomes(outcome: str, group: str) -> None:
    """Refusals are the caller's business, failures are not."""
    assert group_of(outcome) == group
    query = ReportQuery(preset("day", 0.0), outcome=group)
    assert query.includes(outcome)
    assert not ReportQuery(preset("day", 0.0), outcome="other").includes(outcome)


def test_every_code_has_a_meaning() -> None:
    """That of its most common kind."""
    assert meanings()["anam_rejected"] != meanings()["anam_auth"]
    assert all(text.endswith(".") or text for text in meanings().values())


def histogram(**seconds: int) -> DurationHistogram:
    """Return a histogram; the keys are `s` and seconds, the values are numbers of sessions."""
    buckets = [0] * (len(EDGES) + 1)
    for name, number in seconds.items():
        buckets[sum(edge < int(name[1:]) for edge in EDGES)] += number
    return DurationHistogram(tuple(buckets))


def test_quantiles_are_exact_to_a_bucket() -> None:
    """Linear within it; the last bucket counts as its lower bound."""
    assert DurationHistogram((0,) * (len(EDGES) + 1)).quantile(0.5) is None
    assert histogram(s10=4).quantile(0.5) == 7.5
    assert histogram(s10=1, s100=3).quantile(1.0) == 105.0
    assert histogram(s99999=1).quantile(0.5) == EDGES[-1]


def test_bars_are_as_wide_as_needed() -> None:
    """At most 24 of them; what is longer than the last bar is counted apart."""
    assert DurationHistogram((0,) * (len(EDGES) + 1)).bars() == (15, [], 0)
    assert histogram(s10=2, s40=1).bars() == (15, [2, 0, 1], 0)
    width, bars, longer = histogram(s10=99, s3500=1).bars()
    assert (width, bars[0], len(bars), longer) == (15, 99, 24, 1)
    width, bars, longer = histogram(s10=9, s3500=1).bars()
    assert (width, sum(bars), longer) == (300, 10, 0)


def test_users_near_a_limit(clock: ManualClock, record: Maker) -> None:
    """What has been talked counts, and what is being talked; the nearest comes first."""
    store, now = MemorySessionStore(), clock.now
    store.add(record("a", user_id="ada", started_at=now, ended_at=now, seconds=30.0))
    store.add(record("b", user_id="bob", session_id="b", started_at=now - 45.0))
    store.add(record("c", user_id=None, session_id="c", started_at=now - 45.0))
    quota = Quota(now, (Window(now - 3600, 60.0, 60.0),), max_concurrent=4)
    report = build_report(store, ReportQuery(preset("day", now)), quota)
    assert report.users_near_limit == [
        UserUse("bob", (45.0,), 1, 0.75),
        UserUse("ada", (30.0,), 0, 0.5),
    ]
    assert report.top_users == [UserUse("ada", (30.0,), 0, 0.0)]
    assert len(report.running) == 2
    unlimited = build_report(store, ReportQuery(preset("day", now)), Quota(now, (), None))
    assert unlimited.users_near_limit == []


def test_a_persona_narrows_everything_but_limits(clock: ManualClock, record: Maker) -> None:
    """Users are near a limit whatever the persona."""
    store, now = MemorySessionStore(), clock.now
    store.add(record("a", started_at=now - 9, session_id="a"))
    store.count({(int(now // 300 * 300), "support", "busy"): 2})
    quota = Quota(now, (), max_concurrent=1)
    other = build_report(store, ReportQuery(preset("day", now), "coach"), quota)
    assert (other.running, other.personas, other.refusals()) == ([], [], [])
    assert [user.user_id for user in other.users_near_limit] == ["ada"]
    same = build_report(store, ReportQuery(preset("day", now), "support"), quota)
    assert (len(same.running), same.refusals()) == (1, [("busy", 2)])
    assert same.groups() == {"failed": 2}
    assert same.groups(before=True) == {}
