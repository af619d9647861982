"""Metrics recorder: counts token requests, calls to Anam and sessions."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping

from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.metrics.definitions import (
    ACTIVE,
    ATTEMPTS,
    DURATION,
    ENDED,
    FAILURES,
    HAND_OUT,
    LOST,
    REFUSALS,
    RETRIES,
    STARTED,
    TOKENS,
    HistogramData,
    Labels,
    Metric,
    SharedBackend,
    Snapshot,
    summary,
)

#: Upper limit of persona types that have a label of their own.
MAX_PERSONA_LABELS = 100
#: The label of all others.
OTHER = "other"


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


class MetricsRecorder:
    """Metrics recorder of one app. Thread-safe; holds no lock while it waits.

    Its values are those of this process and lost when it ends, unless there is a backend.

    Args:
        backend: keeps the values of all workers.

    """

    def __init__(self, backend: SharedBackend | None = None) -> None:
        self._registry = MetricsRegistry(backend)
        self._names: set[str] = set()

    @property
    def is_shared(self) -> bool:
        """Whether the values are those of all workers."""
        return self._registry.is_shared

    def handed_out(self, how: str, persona_type: str, seconds: float) -> None:
        """Count a token, ``minted``, ``reused``, ``replayed`` or ``stale``, and its seconds."""
        self._registry.add(TOKENS, how, self._label(persona_type))
        self._registry.observe(HAND_OUT, seconds, how)

    def failed(self, code: str, persona_type: str, seconds: float) -> None:
        """Count a token request that ended in an error of that code, and its seconds."""
        self._registry.add(FAILURES, code, self._label(persona_type))
        self._registry.observe(HAND_OUT, seconds, "failed")

    def refused(self, reason: str) -> None:
        """Count a refusal: the name of a limit, or the code of an error."""
        self._registry.add(REFUSALS, reason)

    def on_attempt(self, call: str, outcome: str, seconds: float) -> None:
        """Count an attempt to call Anam; the outcome is ``ok`` or the code of an error."""
        self._registry.observe(ATTEMPTS, seconds, call, outcome)

    def on_retry(self) -> None:
        """Count an attempt of a mint after its first."""
        self._registry.add(RETRIES)

    def records_lost(self, how_many: int = 1) -> None:
        """Count usage records that could not be stored."""
        self._registry.add(LOST, amount=how_many)

    def session_started(self) -> None:
        """Count the start of a conversation."""
        self._registry.add(STARTED)
        self._registry.add(ACTIVE)

    def session_ended(self, seconds: float) -> None:
        """Count the end of a conversation that lasted `seconds`."""
        self._registry.add(ENDED)
        self._registry.add(ACTIVE, amount=-1)
        self._registry.observe(DURATION, seconds)

    def read(self) -> Snapshot:
        """Return all values; updates made meanwhile may be in some of them."""
        return self._registry.read()

    def metrics(self) -> dict[str, object]:
        """Return all values by name; times in seconds, the average 0.0 before the first end."""
        return summary(self.read())

    def _label(self, persona_type: str) -> str:
        """Return the label of a persona type; their number is limited, whatever an app declares."""
        if persona_type not in self._names:
            if len(self._names) >= MAX_PERSONA_LABELS:
                return OTHER
            self._names.add(persona_type)
        return persona_type
