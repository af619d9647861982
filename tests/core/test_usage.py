"""Counting: tokens, failures, sessions and how long they lasted."""

from __future__ import annotations

import threading

import pytest

from flask_anam.core import usage as usage_module
from flask_anam.core.usage import UsageCounters

from .conftest import FrozenClock
from .test_flight import child_says


@pytest.fixture
def usage(clock: FrozenClock) -> UsageCounters:
    """Return fresh counters."""
    return UsageCounters(clock)


def start(usage: UsageCounters, session_id: str, user_id: str = "1") -> bool:
    """Note the start of a session."""
    return usage.session_started(session_id, user_id=user_id, token_id="t" * 16)


def test_fresh_counters_are_zero(usage: UsageCounters) -> None:
    """Every counter is there from the beginning, the average too."""
    metrics = usage.metrics()
    histogram = metrics.pop("session_seconds")
    assert isinstance(histogram, dict)
    assert (histogram["count"], histogram["sum"], set(histogram["buckets"].values())) == (0, 0, {0})
    empty = ("by_code", "by_reason", "by_persona", "token_seconds", "attempt_seconds")
    assert {name for name, value in metrics.items() if value == {}} == {
        name for name in metrics if name.endswith(empty)
    }
    assert {value for value in metrics.values() if value != {}} == {0}
    assert len(metrics) == 19


def test_tokens_and_failures_are_counted(usage: UsageCounters) -> None:
    """Failures are told apart by code, in the order of the alphabet, and summed up."""
    for how in ("minted", "minted", "reused", "replayed", "stale"):
        usage.handed_out(how, "support", 0.0)
    for code in ("busy", "anam_timeout", "busy"):
        usage.failed(code, "coach", 0.0)
    for reason in ("token_limit", "unauthenticated"):
        usage.refused(reason)
    metrics = usage.metrics()
    assert (metrics["tokens_created"], metrics["tokens_reused"]) == (2, 3)
    assert (metrics["tokens_replayed"], metrics["tokens_reused_stale"]) == (1, 1)
    assert metrics["tokens_failed"] == 3
    by_code = metrics["tokens_failed_by_code"]
    assert isinstance(by_code, dict)
    assert list(by_code.items()) == [("anam_timeout", 1), ("busy", 2)]
    assert metrics["tokens_refused"] == 2
    assert metrics["tokens_refused_by_reason"] == {"token_limit": 1, "unauthenticated": 1}
    outcomes = ("minted", "reused", "replayed", "stale", "failed")
    assert metrics["tokens_by_persona"] == {
        "coach": dict(zip(outcomes, (0, 0, 0, 0, 3), strict=True)),
        "support": dict(zip(outcomes, (2, 1, 1, 1, 0), strict=True)),
    }


def test_times_are_spread_over_buckets(usage: UsageCounters) -> None:
    """As Prometheus counts: a bucket holds all that took no longer than its bound."""
    for seconds in (0.001, 0.3, 0.5, 60.0):
        usage.attempted("mint", "ok", seconds)
    usage.attempted("mint", "anam_timeout", 4.0)
    usage.retried()
    metrics = usage.metrics()
    assert (metrics["upstream_attempts"], metrics["upstream_retries"]) == (5, 1)
    found = metrics["upstream_attempt_seconds"]
    assert isinstance(found, dict)
    assert set(found) == {"mint ok", "mint anam_timeout"}
    worked = found["mint ok"]
    assert (worked["count"], worked["sum"]) == (4, pytest.approx(60.801))
    buckets = worked["buckets"]
    assert [buckets[bound] for bound in ("0.001", "0.25", "0.5", "8.0", "+Inf")] == [1, 1, 3, 3, 4]


def test_lost_records_are_counted(usage: UsageCounters) -> None:
    """By the number that the store tells."""
    usage.records_lost(3)
    usage.records_lost()
    assert usage.metrics()["usage_records_lost"] == 4


def test_an_app_with_many_personas_has_few_labels(usage: UsageCounters) -> None:
    """The first hundred are counted by name, and all others together."""
    for number in range(usage_module.MAX_PERSONA_LABELS + 20):
        usage.handed_out("minted", f"persona {number}", 0.0)
    usage.failed("busy", "persona 7", 0.0)
    found = usage.metrics()["tokens_by_persona"]
    assert isinstance(found, dict)
    assert len(found) == usage_module.MAX_PERSONA_LABELS + 1 == 101
    assert (found["other"]["minted"], found["persona 7"]["failed"]) == (20, 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_counts_what_it_does(usage: UsageCounters) -> None:
    """What a parent counted stays with the parent, so that the sum over processes is right."""
    usage.handed_out("minted", "support", 0.0)
    start(usage, "a")

    def child() -> bool:
        metrics = usage.metrics()
        return metrics["tokens_created"] == metrics["sessions_active"] == 0

    assert child_says(child)
    assert usage.metrics()["tokens_created"] == 1


def test_the_average_duration_is_the_true_mean(usage: UsageCounters, clock: FrozenClock) -> None:
    """Ten, twenty and ninety seconds make forty, whatever their order."""
    lengths = {"a": 90.0, "b": 10.0, "c": 20.0}
    begun = clock.now
    for session in lengths:
        start(usage, session)
    for session, seconds in sorted(lengths.items(), key=lambda item: item[1]):
        clock.move(begun + seconds - clock.now)
        assert usage.session_ended(session, "1") == seconds
    assert usage.metrics()["average_session_duration"] == 40.0
    assert usage.metrics()["sessions_ended"] == 3


def test_a_session_starts_once(usage: UsageCounters) -> None:
    """A second report of the same start changes nothing."""
    assert start(usage, "a") is True
    assert start(usage, "a") is False
    assert start(usage, "a", user_id="2") is False
    assert (usage.metrics()["tokens_used"], usage.metrics()["sessions_active"]) == (1, 1)


def test_a_foreign_or_unknown_end_is_ignored(usage: UsageCounters) -> None:
    """Nobody ends the session of another user, and nothing ends twice."""
    start(usage, "a")
    assert usage.session_ended("a", "2") is None
    assert usage.session_ended("b", "1") is None
    assert usage.metrics()["sessions_active"] == 1
    assert usage.session_ended("a", "1") == 0.0
    assert usage.session_ended("a", "1") is None
    assert usage.metrics()["sessions_ended"] == 1


def test_a_clock_set_back_gives_no_negative_duration(
    usage: UsageCounters, clock: FrozenClock
) -> None:
    """A session that seems to end before it began lasted zero seconds."""
    start(usage, "a")
    clock.jump(-100)
    assert usage.session_ended("a", "1") == 0.0


def test_open_sessions_are_bounded(usage: UsageCounters) -> None:
    """Beyond ten thousand the oldest is forgotten first."""
    limit = usage_module.MAX_OPEN_SESSIONS
    for number in range(limit + 2):
        start(usage, str(number))
    assert usage.metrics()["sessions_active"] == limit == 10_000
    assert usage.session_ended("1", "1") is None
    assert usage.session_ended("2", "1") == 0.0


def test_no_count_is_lost_between_threads(usage: UsageCounters) -> None:
    """Eight threads count a thousand each."""

    def work() -> None:
        for _ in range(1000):
            usage.handed_out("minted", "support", 0.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage.metrics()["tokens_created"] == 8000
