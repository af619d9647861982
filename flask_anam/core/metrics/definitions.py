"""Everything that is measured, and how a reading of it is told to programs and to people."""

from __future__ import annotations

from flask_anam.core.metrics.registry import HistogramData, Metric, Snapshot

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

#: Everything that is measured.
METRICS = (
    *(TOKENS, FAILURES, REFUSALS, HAND_OUT, ATTEMPTS, RETRIES),
    *(STARTED, ENDED, ACTIVE, DURATION, LOST),
)


def summary(found: Snapshot) -> dict[str, object]:
    """Return a reading by the names of ``get_metrics()``."""
    duration = found.histogram(DURATION)
    stale, replayed = found.sum(TOKENS, "stale"), found.sum(TOKENS, "replayed")
    return {
        "tokens_created": found.sum(TOKENS, "minted"),
        "tokens_reused": found.sum(TOKENS, "reused") + replayed + stale,
        "tokens_reused_stale": stale,
        "tokens_replayed": replayed,
        "tokens_used": found.sum(STARTED),
        "tokens_failed": found.sum(FAILURES),
        "tokens_failed_by_code": _by_first(found, FAILURES),
        "tokens_refused": found.sum(REFUSALS),
        "tokens_refused_by_reason": _by_first(found, REFUSALS),
        "tokens_by_persona": _by_persona(found),
        "token_seconds": _histograms(found, HAND_OUT),
        "upstream_attempts": found.histogram(ATTEMPTS).count,
        "upstream_retries": found.sum(RETRIES),
        "upstream_attempt_seconds": _histograms(found, ATTEMPTS),
        "sessions_started": found.sum(STARTED),
        "sessions_active": found.sum(ACTIVE),
        "sessions_ended": found.sum(ENDED),
        "average_session_duration": duration.total / duration.count if duration.count else 0.0,
        "session_seconds": _histogram(DURATION, duration),
        "usage_records_lost": found.sum(LOST),
    }


def tables_for_cli(found: Snapshot) -> list[list[tuple[str, ...]]]:
    """Return a reading as tables for people, each with its header."""
    counts = [
        (name.replace("_", " "), str(value))
        for name, value in summary(found).items()
        if isinstance(value, int)
    ]
    mean = found.histogram(DURATION)
    if mean.count:
        counts.append(("average session duration", f"{mean.total / mean.count:.1f} s"))
    outcomes = ("minted", "reused", "replayed", "stale", "failed")
    personas = [
        (name, *(str(own[outcome]) for outcome in outcomes))
        for name, own in _by_persona(found).items()
    ]
    reasons = [
        (name, what, str(number))
        for what, metric in (("failed", FAILURES), ("refused", REFUSALS))
        for name, number in _by_first(found, metric).items()
    ]
    times = [
        (f"{what} {' '.join(labels)}", str(one.count), f"{one.total / one.count * 1000:.0f} ms")
        for what, metric in (("token", HAND_OUT), ("call", ATTEMPTS))
        for labels, one in sorted(found.histograms.get(metric.name, {}).items())
    ]
    tables: list[list[tuple[str, ...]]] = [
        [("COUNTER", "VALUE"), *counts],
        [("PERSONA", *(outcome.upper() for outcome in outcomes)), *personas],
        [("REASON", "WHAT", "COUNT"), *reasons],
        [("TIME", "COUNT", "MEAN"), *times],
    ]
    return [table for table in tables if len(table) > 1]


def _by_first(found: Snapshot, metric: Metric) -> dict[str, int]:
    firsts = sorted({labels[0] for labels in found.by_labels(metric)})
    return {first: found.sum(metric, first) for first in firsts}


def _by_persona(found: Snapshot) -> dict[str, dict[str, int]]:
    """Return what each persona type was handed out for, and how often that failed."""
    outcomes = ("minted", "reused", "replayed", "stale", "failed")
    counts: dict[str, dict[str, int]] = {}
    for metric in (TOKENS, FAILURES):
        for (outcome, persona_type), number in found.by_labels(metric).items():
            own = counts.setdefault(persona_type, dict.fromkeys(outcomes, 0))
            own[outcome if metric is TOKENS else "failed"] += int(number)
    return dict(sorted(counts.items()))


def _histograms(found: Snapshot, metric: Metric) -> dict[str, dict[str, object]]:
    """Return the histograms of a metric by its labels, which are joined by a space."""
    series = found.histograms.get(metric.name, {})
    return {" ".join(labels): _histogram(metric, series[labels]) for labels in sorted(series)}


def _histogram(metric: Metric, spread: HistogramData) -> dict[str, object]:
    """Return a histogram as Prometheus counts it: each bucket holds all values up to its bound."""
    buckets, so_far = {}, 0
    for bound, count in zip((*metric.buckets, "+Inf"), spread.counts, strict=True):
        so_far += count
        buckets[str(bound)] = so_far
    return {"count": so_far, "sum": spread.total, "buckets": buckets}
