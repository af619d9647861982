"""Counting: tokens, failures, sessions and how long they lasted."""

from __future__ import annotations

import threading

import pytest

from flask_anam.core import usage as usage_module
from flask_anam.core.usage import UsageCounters

from .conftest import FrozenClock


@pytest.fixture
def usage(clock: FrozenClock) -> UsageCounters:
    """Return fresh counters."""
    return UsageCounters(clock)


def start(usage: UsageCounters, session_id: str, user_id: str = "1") -> bool:
    """Note the start of a session."""
    return usage.session_started(session_id, user_id=user_id, token_id="t" * 16)


def test_fresh_counters_are_zero(usage: UsageCounters) -> None:
    """Every counter is there from the beginning, the average too."""
    assert usage.metrics() == {
        "tokens_created": 0,
        "tokens_reused": 0,
        "tokens_reused_stale": 0,
        "tokens_used": 0,
        "tokens_failed": 0,
        "tokens_failed_by_code": {},
        "sessions_active": 0,
        "sessions_ended": 0,
        "average_session_duration": 0.0,
    }


def test_tokens_and_failures_are_counted(usage: UsageCounters) -> None:
    """Failures are told apart by code, in the order of the alphabet, and summed up."""
    for what in ("tokens_created", "tokens_created", "tokens_reused"):
        usage.count(what)
    for code in ("busy", "anam_timeout", "busy"):
        usage.count_failure(code)
    metrics = usage.metrics()
    assert (metrics["tokens_created"], metrics["tokens_reused"]) == (2, 1)
    assert metrics["tokens_failed"] == 3
    by_code = metrics["tokens_failed_by_code"]
    assert isinstance(by_code, dict)
    assert list(by_code.items()) == [("anam_timeout", 1), ("busy", 2)]


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
            usage.count("tokens_created")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage.metrics()["tokens_created"] == 8000
