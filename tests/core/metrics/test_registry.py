"""The metrics registry: counters, gauges and histograms, and a backend in their place."""

from __future__ import annotations

import pytest

from flask_anam.core.metrics.definitions import HistogramData, Labels, Metric, Snapshot
from flask_anam.core.metrics.recorder import MetricsRegistry

COUNTER = Metric("calls", "Calls.", ("method", "outcome"))
HISTOGRAM = Metric("seconds", "Time.", ("method",), (1.0, 2.0))


def test_a_counter_is_summed_over_labels() -> None:
    """Over all of them, or over those that begin with some."""
    registry = MetricsRegistry()
    registry.add(COUNTER, "get", "ok")
    registry.add(COUNTER, "get", "error", amount=2)
    registry.add(COUNTER, "put", "ok", amount=4)
    snapshot = registry.read()
    assert snapshot.sum(COUNTER) == 7
    assert (snapshot.sum(COUNTER, "get"), snapshot.sum(COUNTER, "get", "ok")) == (3, 1)
    assert snapshot.sum(HISTOGRAM) == 0


@pytest.mark.parametrize(
    ("value", "counts"), [(0.5, [1, 0, 0]), (1.0, [1, 0, 0]), (1.5, [0, 1, 0]), (9.0, [0, 0, 1])]
)
def test_a_value_is_in_one_bucket(value: float, counts: list[int]) -> None:
    """A bound belongs to the bucket below it; the last bucket has none."""
    registry = MetricsRegistry()
    registry.observe(HISTOGRAM, value, "get")
    assert registry.read().histogram(HISTOGRAM) == HistogramData(counts, value)


def test_histograms_are_merged_over_labels() -> None:
    """The number of values and their sum."""
    registry = MetricsRegistry()
    for value, method in ((0.5, "get"), (3.0, "get"), (1.5, "put")):
        registry.observe(HISTOGRAM, value, method)
    merged = registry.read().histogram(HISTOGRAM)
    assert (merged.counts, merged.count, merged.total) == ([1, 1, 1], 3, 5.0)


def test_a_snapshot_does_not_change() -> None:
    """It is a copy."""
    registry = MetricsRegistry()
    registry.add(COUNTER, "get", "ok")
    registry.observe(HISTOGRAM, 1.0, "get")
    snapshot = registry.read()
    registry.add(COUNTER, "get", "ok")
    registry.observe(HISTOGRAM, 1.0, "get")
    assert (snapshot.sum(COUNTER), snapshot.histogram(HISTOGRAM).count) == (1, 1)


class Backend:
    """A backend that keeps what it receives."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Labels, float]] = []

    def add(self, metric: Metric, labels: Labels, amount: float) -> None:
        self.received.append((metric.name, labels, amount))

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        self.received.append((metric.name, labels, value))

    def read(self) -> Snapshot:
        return Snapshot({"calls": {("get", "ok"): 99.0}})


def test_a_backend_receives_every_update_and_is_read() -> None:
    """Its values are those of all workers."""
    backend = Backend()
    registry = MetricsRegistry(backend)
    registry.add(COUNTER, "get", "ok")
    registry.observe(HISTOGRAM, 1.5, "get")
    assert backend.received == [("calls", ("get", "ok"), 1), ("seconds", ("get",), 1.5)]
    assert registry.is_shared
    assert registry.read().sum(COUNTER) == 99
