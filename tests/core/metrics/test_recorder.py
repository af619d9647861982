"""The metrics recorder: tokens, failures, sessions and how long they lasted."""

from __future__ import annotations

import threading

import pytest
from core.forking import child_says

from flask_anam.core.metrics.recorder import MAX_PERSONA_LABELS, MetricsRecorder
from flask_anam.testing import ManualClock


@pytest.fixture
def recorder(clock: ManualClock) -> MetricsRecorder:
    """Return fresh counters."""
    return MetricsRecorder()


def test_fresh_counters_are_zero(recorder: MetricsRecorder) -> None:
    """Every counter is there from the beginning, the average too."""
    metrics = recorder.metrics()
    histogram = metrics.pop("session_seconds")
    assert isinstance(histogram, dict)
    assert (histogram["count"], histogram["sum"], set(histogram["buckets"].values())) == (0, 0, {0})
    empty = ("by_code", "by_reason", "by_persona", "token_seconds", "attempt_seconds")
    assert {name for name, value in metrics.items() if value == {}} == {
        name for name in metrics if name.endswith(empty)
    }
    assert {value for value in metrics.values() if value != {}} == {0}
    assert len(metrics) == 19


def test_tokens_and_failures_are_counted(recorder: MetricsRecorder) -> None:
    """Failures are told apart by code, in the order of the alphabet, and summed up."""
    for how in ("minted", "minted", "reused", "replayed", "stale"):
        recorder.handed_out(how, "support", 0.0)
    for code in ("busy", "anam_timeout", "busy"):
        recorder.failed(code, "coach", 0.0)
    for reason in ("token_limit", "unauthenticated"):
        recorder.refused(reason)
    metrics = recorder.metrics()
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


def test_times_are_spread_over_buckets(recorder: MetricsRecorder) -> None:
    """As Prometheus counts: a bucket holds all that took no longer than its bound."""
    for seconds in (0.001, 0.3, 0.5, 60.0):
        recorder.on_attempt("mint", "ok", seconds)
    recorder.on_attempt("mint", "anam_timeout", 4.0)
    recorder.on_retry()
    metrics = recorder.metrics()
    assert (metrics["upstream_attempts"], metrics["upstream_retries"]) == (5, 1)
    histograms = metrics["upstream_attempt_seconds"]
    assert isinstance(histograms, dict)
    assert set(histograms) == {"mint ok", "mint anam_timeout"}
    worked = histograms["mint ok"]
    assert (worked["count"], worked["sum"]) == (4, pytest.approx(60.801))
    buckets = worked["buckets"]
    assert [buckets[bound] for bound in ("0.001", "0.25", "0.5", "8.0", "+Inf")] == [1, 1, 3, 3, 4]


def test_lost_records_are_counted(recorder: MetricsRecorder) -> None:
    """By the number that the store tells."""
    recorder.records_lost(3)
    recorder.records_lost()
    assert recorder.metrics()["usage_records_lost"] == 4


def test_an_app_with_many_personas_has_few_labels(recorder: MetricsRecorder) -> None:
    """The first hundred are counted by name, and all others together."""
    for number in range(MAX_PERSONA_LABELS + 20):
        recorder.handed_out("minted", f"persona {number}", 0.0)
    recorder.failed("busy", "persona 7", 0.0)
    personas = recorder.metrics()["tokens_by_persona"]
    assert isinstance(personas, dict)
    assert len(personas) == MAX_PERSONA_LABELS + 1 == 101
    assert (personas["other"]["minted"], personas["persona 7"]["failed"]) == (20, 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_counts_what_it_does(recorder: MetricsRecorder) -> None:
    """What a parent counted stays with the parent, so that the sum over processes is right."""
    recorder.handed_out("minted", "support", 0.0)
    recorder.session_started()

    def child() -> bool:
        metrics = recorder.metrics()
        return metrics["tokens_created"] == metrics["sessions_active"] == 0

    assert child_says(child)
    assert recorder.metrics()["tokens_created"] == 1


def test_the_average_duration_is_the_true_mean(recorder: MetricsRecorder) -> None:
    """Ten, twenty and ninety seconds make forty, whatever their order."""
    for seconds in (90.0, 10.0, 20.0):
        recorder.session_started()
        recorder.session_ended(seconds)
    recorder.session_started()
    metrics = recorder.metrics()
    assert (metrics["average_session_duration"], metrics["sessions_ended"]) == (40.0, 3)
    assert (metrics["tokens_used"], metrics["sessions_active"]) == (4, 1)


def test_no_count_is_lost_between_threads(recorder: MetricsRecorder) -> None:
    """Eight threads count a thousand each."""

    def work() -> None:
        for _ in range(1000):
            recorder.handed_out("minted", "support", 0.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.metrics()["tokens_created"] == 8000
