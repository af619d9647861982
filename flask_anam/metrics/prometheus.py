"""Prometheus exporter: the metrics as Prometheus expects them.

The only module that imports prometheus_client. With `PROMETHEUS_MULTIPROC_DIR` every worker writes
its values to files in that folder, and the worker that is scraped reads them all. Without it the
values of this process are converted at each scrape.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from flask_anam.core.metrics.definitions import METRICS, HistogramData, Labels, Metric, Snapshot

log = logging.getLogger("flask_anam")

#: The environment variable that names the folder shared by the workers.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
#: The label that tells the apps of one process apart.
APP = "flask_app"
_BY_NAME = {f"anam_{metric.name}": metric for metric in METRICS}


class SharedFiles:
    """Shared backend: the values of all workers of one app, in files. Thread-safe, safe after fork.

    Args:
        app_name: value of the label that tells apps apart.

    """

    def __init__(self, app_name: str) -> None:
        self._app = app_name
        self._has_failed = False

    def add(self, metric: Metric, labels: Labels, amount: float) -> None:
        """Add to a counter or gauge."""
        child = _shared_number(metric).labels
        self._safely(lambda: child(self._app, *labels).inc(amount))

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Add a value to a histogram."""
        child = _shared_histogram(metric).labels
        self._safely(lambda: child(self._app, *labels).observe(value))

    def read(self) -> Snapshot:
        """Return the values of all workers, those that have ended included."""
        files = [str(path) for path in Path(os.environ[FOLDER]).glob("*.db")]
        snapshot = Snapshot()
        for family in MultiProcessCollector.merge(files, accumulate=False):  # type: ignore[no-untyped-call]
            if metric := _BY_NAME.get(family.name):
                self._read_family(metric, family, snapshot)
        return snapshot

    def _read_family(self, metric: Metric, family: Family, snapshot: Snapshot) -> None:
        bounds = [*metric.buckets, float("inf")]
        for sample in family.samples:
            if sample.labels.get(APP) != self._app:
                continue
            labels = tuple(sample.labels[name] for name in metric.labels)
            if not metric.buckets:
                snapshot.numbers.setdefault(metric.name, {})[labels] = sample.value
                continue
            series = snapshot.histograms.setdefault(metric.name, {})
            data = series.setdefault(labels, HistogramData([0] * len(bounds)))
            if sample.name.endswith("_sum"):
                data.total = sample.value
            else:
                data.counts[bounds.index(float(sample.labels["le"]))] = int(sample.value)

    def _safely(self, change: Callable[[], None]) -> None:
        """Make a change; a folder that cannot be written to does not make a request fail."""
        try:
            change()
        except (OSError, ValueError) as exc:
            if not self._has_failed:
                self._has_failed = True
                kind = type(exc).__name__
                log.error("%s cannot be written to (%s): counts are lost.", FOLDER, kind)


class AnamCollector(Collector):
    """Collector: reads the values of apps at each scrape of a registry.

    Args:
        sources: returns the values, by the name of the app.

    """

    def __init__(self, sources: Mapping[str, Callable[[], Snapshot]]) -> None:
        self._sources = dict(sources)

    def collect(self) -> Iterator[Family]:
        """Yield every metric with the series of all apps."""
        snapshots = {app: read() for app, read in self._sources.items()}
        for metric in METRICS if snapshots else ():
            yield _histogram(metric, snapshots) if metric.buckets else _number(metric, snapshots)


def is_shared() -> bool:
    """Whether `prometheus_client` writes to files; it decides that at its first import."""
    return bool(getattr(values.ValueClass, "_multiprocess", False))


def exposition(collector: Collector, accept: str) -> tuple[bytes, str]:
    """Return the text for a scraper with this Accept header, and its content type."""
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


@lru_cache
def _shared_number(metric: Metric) -> Counter | Gauge:
    """Return the metric of all apps of this process: two would overwrite each other's files."""
    name, labels = f"anam_{metric.name}", (APP, *metric.labels)
    if metric.is_gauge:  # a session may end in another worker than it began in: only the sum counts
        return Gauge(name, metric.help, labels, registry=None, multiprocess_mode="sum")
    return Counter(name, metric.help, labels, registry=None)


@lru_cache
def _shared_histogram(metric: Metric) -> Histogram:
    name, labels = f"anam_{metric.name}", (APP, *metric.labels)
    return Histogram(name, metric.help, labels, registry=None, buckets=metric.buckets)


def _number(metric: Metric, snapshots: Mapping[str, Snapshot]) -> Family:
    kind = GaugeMetricFamily if metric.is_gauge else CounterMetricFamily
    family = kind(f"anam_{metric.name}", metric.help, labels=[APP, *metric.labels])
    for app, snapshot in snapshots.items():
        series = snapshot.by_labels(metric) or ({} if metric.labels else {(): 0})
        for labels, value in series.items():
            family.add_metric([app, *labels], value)
    return family


def _histogram(metric: Metric, snapshots: Mapping[str, Snapshot]) -> Family:
    family = HistogramMetricFamily(f"anam_{metric.name}", metric.help, labels=[APP, *metric.labels])
    bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
    for app, snapshot in snapshots.items():
        empty = {} if metric.labels else {(): HistogramData([0] * len(bounds))}
        for labels, data in (snapshot.histograms.get(metric.name) or empty).items():
            buckets = list(zip(bounds, accumulate(data.counts), strict=True))
            family.add_metric([app, *labels], buckets, data.total)
    return family
