"""Metric definitions, and the tables that `flask anam metrics` prints of them."""

from __future__ import annotations

from flask_anam.core.metrics.definitions import METRICS, summary, tables_for_cli
from flask_anam.core.metrics.recorder import MetricsRecorder


def test_definitions_are_complete() -> None:
    """Each metric has a name of its own and a sentence; buckets ascend."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.help.endswith(".")
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert not (metric.is_gauge and metric.buckets)


def test_tables_without_rows_are_left_out() -> None:
    """Only the counters, all zero, are there from the beginning."""
    (table,) = tables_for_cli(MetricsRecorder().read())
    header, *rows = table
    assert header == ("COUNTER", "VALUE")
    assert {value for _, value in rows} == {"0"}


def test_tables_show_personas_reasons_and_times() -> None:
    """Each with its header; the time is the mean."""
    recorder = MetricsRecorder()
    recorder.handed_out("minted", "support", 0.5)
    recorder.failed("busy", "support", 0.1)
    recorder.refused("token_limit")
    recorder.on_attempt("mint", "ok", 0.25)
    recorder.session_started()
    recorder.session_ended(90.0)
    counters, personas, reasons, times = tables_for_cli(recorder.read())
    assert ("average session duration", "90.0 s") in counters
    assert personas == [
        ("PERSONA", "MINTED", "REUSED", "REPLAYED", "STALE", "FAILED"),
        ("support", "1", "0", "0", "0", "1"),
    ]
    assert reasons[1:] == [("busy", "failed", "1"), ("token_limit", "refused", "1")]
    assert times[1:] == [
        ("token failed", "1", "100 ms"),
        ("token minted", "1", "500 ms"),
        ("call mint ok", "1", "250 ms"),
    ]


def test_buckets_of_a_summary_are_cumulative() -> None:
    """As those of Prometheus: each holds all values up to its bound."""
    recorder = MetricsRecorder()
    for seconds in (20.0, 50.0):
        recorder.session_started()
        recorder.session_ended(seconds)
    histogram = summary(recorder.read())["session_seconds"]
    assert isinstance(histogram, dict)
    buckets = histogram["buckets"]
    assert [buckets[bound] for bound in ("10.0", "30.0", "60.0", "+Inf")] == [0, 1, 2, 2]
    assert (histogram["count"], histogram["sum"]) == (2, 70.0)
