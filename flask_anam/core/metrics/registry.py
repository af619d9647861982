"""Counters, gauges and histograms of one process, and where else they may be kept."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from flask_anam.core.forksafe import reset_after_fork

#: The values of a metric's labels, in their order.
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One thing that is measured.

    Attributes:
        name: as Prometheus names it, without the prefix ``anam_`` and the suffix ``_total``.
        help: one line for people.
        labels: names of its labels; each has few values.
        buckets: upper bounds of a histogram, in the unit of the name; none for a counter.
        is_gauge: whether it may go down, as a gauge does.

    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    is_gauge: bool = False


@dataclass(slots=True)
class HistogramData:
    """How values are spread: how many are in each bucket, the last without bound; and their sum."""

    counts: list[int]
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)


@dataclass(slots=True)
class Snapshot:
    """What was measured, by the name of the metric and the values of its labels."""

    numbers: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, HistogramData]] = field(default_factory=dict)

    def by_labels(self, metric: Metric) -> dict[Labels, float]:
        """Return the numbers of a metric."""
        return self.numbers.get(metric.name, {})

    def sum(self, metric: Metric, *first: str) -> int:
        """Return the sum of a metric over all labels, or over those that begin with these."""
        found = self.by_labels(metric).items()
        return int(sum(value for labels, value in found if labels[: len(first)] == first))

    def histogram(self, metric: Metric) -> HistogramData:
        """Return how the values of a histogram are spread, over all labels."""
        merged = HistogramData([0] * (len(metric.buckets) + 1))
        for one in self.histograms.get(metric.name, {}).values():
            merged.counts = [a + b for a, b in zip(merged.counts, one.counts, strict=True)]
            merged.total += one.total
        return merged


class SharedBackend(Protocol):
    """Another place that is told every change, shared by all workers. Must not raise."""

    def add(self, metric: Metric, labels: Labels, amount: float) -> None:
        """Add to a counter or gauge."""

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Add a value to a histogram."""

    def read(self) -> Snapshot:
        """Return what all workers measured."""


class MetricsRegistry:
    """Counts in this process. Thread-safe; a forked child begins at zero.

    Args:
        mirror: is told of every change too, and read in place of this process.

    """

    def __init__(self, mirror: SharedBackend | None = None) -> None:
        self._mirror = mirror
        self.reinit_after_fork()
        reset_after_fork(self)

    @property
    def is_shared(self) -> bool:
        """Whether there is a mirror."""
        return self._mirror is not None

    def reinit_after_fork(self) -> None:
        """Start at zero: what a parent counted is the parent's."""
        self._lock = threading.Lock()
        self._numbers: dict[Metric, dict[Labels, float]] = {}
        self._histograms: dict[Metric, dict[Labels, HistogramData]] = {}

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Add to a counter or gauge."""
        with self._lock:
            series = self._numbers.setdefault(metric, {})
            series[labels] = series.get(labels, 0) + amount
        if self._mirror:
            self._mirror.add(metric, labels, amount)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        bucket = bisect_left(metric.buckets, value)
        with self._lock:
            series = self._histograms.setdefault(metric, {})
            spread = series.get(labels)
            if spread is None:
                spread = series[labels] = HistogramData([0] * (len(metric.buckets) + 1))
            spread.counts[bucket] += 1
            spread.total += value
        if self._mirror:
            self._mirror.observe(metric, labels, value)

    def read(self) -> Snapshot:
        """Return a copy of all counts: of all workers where there is a mirror, else of this one."""
        if self._mirror:
            return self._mirror.read()
        with self._lock:
            return Snapshot(
                {metric.name: dict(series) for metric, series in self._numbers.items()},
                {
                    metric.name: _copied(series.items())
                    for metric, series in self._histograms.items()
                },
            )


def _copied(series: Iterable[tuple[Labels, HistogramData]]) -> dict[Labels, HistogramData]:
    return {labels: HistogramData(list(spread.counts), spread.total) for labels, spread in series}
