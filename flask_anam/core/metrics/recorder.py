"""Metrics recorder: counts token requests, calls to Anam and sessions."""

from __future__ import annotations

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
    summary,
)
from flask_anam.core.metrics.registry import MetricsRegistry, SharedBackend, Snapshot

#: Upper limit of persona types that have a label of their own.
MAX_PERSONA_LABELS = 100
#: The label of all others.
OTHER = "other"


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
