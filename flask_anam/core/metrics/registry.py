"""Metrics registry: counters, gauges and histograms of one process, or shared by all workers."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flask_anam.core.forksafe import reset_after_fork

#: The values of a metric's labels, in their order.
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """Metric: the definition of a counter, gauge or histogram.

    Attributes:
        name: as Prometheus names it, without the prefix ``anam_`` and the suffix ``_total``.
        help: one line for people.
        labels: names of its labels; each has few values.
        buckets: upper bounds of a histogram, in the unit of the name; none for a counter.
        is_gauge: whether it may go down.

    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    is_gauge: bool = False


@dataclass(slots=True)
class HistogramData:
    """Histogram: the number of values in each bucket, and the sum of all values.

    Attributes:
        counts: per bucket, not cumulative; the last bucket has no upper bound.
        total: sum of the values.

    """

    counts: list[int]
    total: float = 0.0

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self.counts)


@dataclass(slots=True)
class Snapshot:
    """Snapshot: all values at one time, by the name of the metric and the values of its labels."""

    numbers: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, HistogramData]] = field(default_factory=dict)

    def by_labels(self, metric: Metric) -> dict[Labels, float]:
        """Return the values of a counter or gauge."""
        return self.numbers.get(metric.name, {})

    def sum(self, metric: Metric, *first: str) -> int:
        """Return the sum of a metric over all labels, or over those that begin with `first`."""
        series = self.by_labels(metric).items()
        return int(sum(value for labels, value in series if labels[: len(first)] == first))

    def histogram(self, metric: Metric) -> HistogramData:
        """Return a histogram, merged over all labels."""
        merged = HistogramData([0] * (len(metric.buckets) + 1))
        for data in self.histograms.get(metric.name, {}).values():
            merged.counts = [a + b for a, b in zip(merged.counts, data.counts, strict=True)]
            merged.total += data.total
        return merged


class SharedBackend(Protocol):
    """Metrics backend shared by all workers; receives every update. Must not raise."""

    def add(self, metric: Metric, labels: Labels, amount: float) -> None:
        """Add to a counter or gauge."""

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Add a value to a histogram."""

    def read(self) -> Snapshot:
        """Return the values of all workers, those that have ended included."""


class MetricsRegistry:
    """Metrics registry of this process. Thread-safe; a forked child begins at zero.

    Args:
        backend: receives every update too, and is read in place of this process.

    """

    def __init__(self, backend: SharedBackend | None = None) -> None:
        self._backend = backend
        self.reinit_after_fork()
        reset_after_fork(self)

    @property
    def is_shared(self) -> bool:
        """Whether the values are those of all workers."""
        return self._backend is not None

    def reinit_after_fork(self) -> None:
        """Start at zero: the parent's values stay with the parent."""
        self._lock = threading.Lock()
        self._numbers: dict[Metric, dict[Labels, float]] = {}
        self._histograms: dict[Metric, dict[Labels, HistogramData]] = {}

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Add to a counter or gauge."""
        with self._lock:
            series = self._numbers.setdefault(metric, {})
            series[labels] = series.get(labels, 0) + amount
        if self._backend:
            self._backend.add(metric, labels, amount)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        bucket = bisect_left(metric.buckets, value)
        with self._lock:
            series = self._histograms.setdefault(metric, {})
            data = series.get(labels)
            if data is None:
                data = series[labels] = HistogramData([0] * (len(metric.buckets) + 1))
            data.counts[bucket] += 1
            data.total += value
        if self._backend:
            self._backend.observe(metric, labels, value)

    def read(self) -> Snapshot:
        """Return a copy of all values: of all workers with a backend, else of this process."""
        if self._backend:
            return self._backend.read()
        with self._lock:
            return Snapshot(
                {metric.name: dict(series) for metric, series in self._numbers.items()},
                {metric.name: _copied(series) for metric, series in self._histograms.items()},
            )


def _copied(series: Mapping[Labels, HistogramData]) -> dict[Labels, HistogramData]:
    return {labels: HistogramData(list(d.counts), d.total) for labels, d in series.items()}
