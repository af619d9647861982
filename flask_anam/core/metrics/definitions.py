"""Metric definitions, and a snapshot of all metrics as a dict and as tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

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


#: Upper bounds of buckets, in seconds.
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_LONG = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)

TOKENS = Metric("tokens", "Session tokens handed out.", ("outcome", "persona_type"))
FAILURES = Metric(
    "token_failures", "Token requests that ended in an error.", ("code", "persona_type")
)
REFUSALS = Metric("tokens_refused", "Token requests that were refused.", ("reason",))
HAND_OUT = Metric(
    "token_seconds", "Time to hand out a session token, or to fail.", ("outcome",), _QUICK
)
ATTEMPTS = Metric(
    "upstream_attempt_seconds", "Time of each attempt to call Anam.", ("call", "outcome"), _QUICK
)
RETRIES = Metric("upstream_retries", "Attempts of a mint after its first.")
STARTED = Metric("sessions_started", "Conversations reported as started.")
ENDED = Metric("sessions_ended", "Conversations reported as over.")
ACTIVE = Metric(
    "sessions_active", "Conversations started and not yet reported as over.", is_gauge=True
)
DURATION = Metric("session_seconds", "How long conversations lasted.", buckets=_LONG)
LOST = Metric("usage_records_lost", "Usage records that could not be stored.")

#: All metrics, in the order in which they are exposed.
METRICS = (
    *(TOKENS, FAILURES, REFUSALS, HAND_OUT, ATTEMPTS, RETRIES),
    *(STARTED, ENDED, ACTIVE, DURATION, LOST),
)


def summary(snapshot: Snapshot) -> dict[str, object]:
    """Return a snapshot by the names of ``get_metrics()``."""
    duration = snapshot.histogram(DURATION)
    stale, replayed = snapshot.sum(TOKENS, "stale"), snapshot.sum(TOKENS, "replayed")
    return {
        "tokens_created": snapshot.sum(TOKENS, "minted"),
        "tokens_reused": snapshot.sum(TOKENS, "reused") + replayed + stale,
        "tokens_reused_stale": stale,
        "tokens_replayed": replayed,
        "tokens_used": snapshot.sum(STARTED),
        "tokens_failed": snapshot.sum(FAILURES),
        "tokens_failed_by_code": _by_first(snapshot, FAILURES),
        "tokens_refused": snapshot.sum(REFUSALS),
        "tokens_refused_by_reason": _by_first(snapshot, REFUSALS),
        "tokens_by_persona": _by_persona(snapshot),
        "token_seconds": _histograms(snapshot, HAND_OUT),
        "upstream_attempts": snapshot.histogram(ATTEMPTS).count,
        "upstream_retries": snapshot.sum(RETRIES),
        "upstream_attempt_seconds": _histograms(snapshot, ATTEMPTS),
        "sessions_started": snapshot.sum(STARTED),
        "sessions_active": snapshot.sum(ACTIVE),
        "sessions_ended": snapshot.sum(ENDED),
        "average_session_duration": duration.total / duration.count if duration.count else 0.0,
        "session_seconds": _histogram(DURATION, duration),
        "usage_records_lost": snapshot.sum(LOST),
    }


def tables_for_cli(snapshot: Snapshot) -> list[list[tuple[str, ...]]]:
    """Return a snapshot as tables of text, each with its header; empty tables are left out."""
    counts = [
        (name.replace("_", " "), str(value))
        for name, value in summary(snapshot).items()
        if isinstance(value, int)
    ]
    mean = snapshot.histogram(DURATION)
    if mean.count:
        counts.append(("average session duration", f"{mean.total / mean.count:.1f} s"))
    outcomes = ("minted", "reused", "replayed", "stale", "failed")
    personas = [
        (name, *(str(own[outcome]) for outcome in outcomes))
        for name, own in _by_persona(snapshot).items()
    ]
    reasons = [
        (name, what, str(number))
        for what, metric in (("failed", FAILURES), ("refused", REFUSALS))
        for name, number in _by_first(snapshot, metric).items()
    ]
    times = [
        (f"{what} {' '.join(labels)}", str(data.count), f"{data.total / data.count * 1000:.0f} ms")
        for what, metric in (("token", HAND_OUT), ("call", ATTEMPTS))
        for labels, data in sorted(snapshot.histograms.get(metric.name, {}).items())
    ]
    tables: list[list[tuple[str, ...]]] = [
        [("COUNTER", "VALUE"), *counts],
        [("PERSONA", *(outcome.upper() for outcome in outcomes)), *personas],
        [("REASON", "WHAT", "COUNT"), *reasons],
        [("TIME", "COUNT", "MEAN"), *times],
    ]
    return [table for table in tables if len(table) > 1]


def _by_first(snapshot: Snapshot, metric: Metric) -> dict[str, int]:
    firsts = sorted({labels[0] for labels in snapshot.by_labels(metric)})
    return {first: snapshot.sum(metric, first) for first in firsts}


def _by_persona(snapshot: Snapshot) -> dict[str, dict[str, int]]:
    """Return the number of requests by persona type and outcome."""
    outcomes = ("minted", "reused", "replayed", "stale", "failed")
    counts: dict[str, dict[str, int]] = {}
    for metric in (TOKENS, FAILURES):
        for (outcome, persona_type), number in snapshot.by_labels(metric).items():
            own = counts.setdefault(persona_type, dict.fromkeys(outcomes, 0))
            own[outcome if metric is TOKENS else "failed"] += int(number)
    return dict(sorted(counts.items()))


def _histograms(snapshot: Snapshot, metric: Metric) -> dict[str, dict[str, object]]:
    """Return the histograms of a metric by the values of its labels, joined by a space."""
    series = snapshot.histograms.get(metric.name, {})
    return {" ".join(labels): _histogram(metric, series[labels]) for labels in sorted(series)}


def _histogram(metric: Metric, data: HistogramData) -> dict[str, object]:
    """Return a histogram with cumulative buckets, as Prometheus has it."""
    buckets, so_far = {}, 0
    for bound, count in zip((*metric.buckets, "+Inf"), data.counts, strict=True):
        so_far += count
        buckets[str(bound)] = so_far
    return {"count": so_far, "sum": data.total, "buckets": buckets}
