"""Counting: tokens, failures, sessions and how long they lasted."""

from __future__ import annotations

import threading

import pytest

from flask_anam.core.usage import UsageCounters

from .conftest import FrozenClock


@pytest.fixture
def usage(clock: FrozenClock) -> UsageCounters:
    """Return fresh counters."""
    return UsageCounters(clock)


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
        "records_lost": 0,
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


def test_the_average_duration_is_the_true_mean(usage: UsageCounters) -> None:
    """Ten, twenty and ninety seconds make forty, whatever their order."""
    for seconds in (90.0, 10.0, 20.0):
        usage.session_started()
        usage.session_ended(seconds)
    usage.session_started()
    metrics = usage.metrics()
    assert (metrics["average_session_duration"], metrics["sessions_ended"]) == (40.0, 3)
    assert (metrics["tokens_used"], metrics["sessions_active"]) == (4, 1)


def test_lost_records_are_counted(usage: UsageCounters) -> None:
    """As many as could not be stored."""
    usage.records_lost()
    usage.records_lost(3)
    assert usage.metrics()["records_lost"] == 4


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
