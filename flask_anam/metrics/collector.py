"""Metrics collector for Prometheus, whose library is imported only when it is used."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from flask_anam.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from flask_anam.core.metrics.definitions import SharedBackend
    from flask_anam.state import AnamState

log = logging.getLogger("flask_anam")


def open_shared_backend(app_name: str) -> SharedBackend | None:
    """Return the metrics backend of all workers, if `PROMETHEUS_MULTIPROC_DIR` names a folder."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return None
    try:
        from flask_anam.metrics import prometheus
    except ImportError:
        log.warning("PROMETHEUS_MULTIPROC_DIR is set, but prometheus-client is not installed.")
        return None
    if not prometheus.is_shared():
        log.warning(
            "PROMETHEUS_MULTIPROC_DIR was set after prometheus_client had been imported, so that "
            "it is not used. Set it in the environment of the server."
        )
        return None
    return prometheus.SharedFiles(app_name)


def collector_of(*states: AnamState) -> Collector:
    """Return a collector for the host's own registry; empty where the workers share a folder.

    Raises:
        ConfigError: `prometheus_client` is missing, or two apps have one name.

    """
    names = [state.app.name for state in states]
    duplicates = [name for name in names if names.count(name) > 1]
    if duplicates:
        raise ConfigError(
            f"Two of these apps are called {duplicates[0]!r}, so that their counts could not be "
            "told apart. Give each Flask() another name."
        )
    sources = {
        state.app.name: state.metrics_recorder.read
        for state in states
        if not state.metrics_recorder.is_shared
    }
    try:
        from flask_anam.metrics.prometheus import AnamCollector
    except ImportError:
        raise _missing() from None
    return AnamCollector(sources)


def read_metrics(state: AnamState) -> dict[str, object]:
    """Return the counters of this process, and how many sessions run as far as is known."""
    active = state.recorder.active()
    return state.metrics_recorder.metrics() | (
        {} if active is None else {"sessions_active": active}
    )


def prometheus_text(state: AnamState, accept: str) -> tuple[bytes, str]:
    """Return the metrics as text for a scraper with this Accept header, and the content type.

    Raises:
        ConfigError: `prometheus_client` is missing.

    """
    try:
        from flask_anam.metrics.prometheus import AnamCollector, exposition
    except ImportError:
        raise _missing() from None
    return exposition(AnamCollector({state.app.name: state.metrics_recorder.read}), accept)


def _missing() -> ConfigError:
    return ConfigError(
        "Metrics for Prometheus need the package prometheus-client, which is not installed. "
        "Install it with: pip install 'Flask-Anam[prometheus]'"
    )
