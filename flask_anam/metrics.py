"""Who wants the counts in which form; Prometheus' part is imported only when it is wanted."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from flask_anam.errors import ConfigError, InvalidRequest
from flask_anam.intake import query

if TYPE_CHECKING:
    from flask import Request
    from prometheus_client.registry import Collector

    from flask_anam.core.tally import Mirror
    from flask_anam.state import AnamState

log = logging.getLogger("flask_anam")

_TEXT = {"text/plain", "application/openmetrics-text"}
_JSON = {"application/json", "application/*", "*/*"}


def open_mirror(app_name: str) -> Mirror | None:
    """Return what the workers of an app share, where Prometheus has a folder for it."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return None
    try:
        from flask_anam import prometheus
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
    """Return a collector for the registry of a host; empty where the workers share a folder.

    Raises:
        ConfigError: `prometheus_client` is missing, or two apps have one name.

    """
    names = [state.app.name for state in states]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(
            f"Two of these apps are called {twice[0]!r}, so that their counts could not be told "
            "apart. Give each Flask() another name."
        )
    sources = {state.app.name: state.usage.read for state in states if not state.usage.is_shared}
    try:
        from flask_anam.prometheus import AnamCollector
    except ImportError:
        raise _missing() from None
    return AnamCollector(sources)


def prometheus_text(state: AnamState, accept: str) -> tuple[bytes, str]:
    """Return the counts as text for a scraper with that Accept header, and the content type.

    Raises:
        ConfigError: `prometheus_client` is missing.

    """
    try:
        from flask_anam.prometheus import AnamCollector, exposition
    except ImportError:
        raise _missing() from None
    return exposition(AnamCollector({state.app.name: state.usage.read}), accept)


def wants_prometheus(request: Request) -> bool:
    """Whether a request asks for Prometheus' text: by ``?format=``, else by its Accept header.

    Raises:
        InvalidRequest: the format is unknown, or given more than once.

    """
    wanted = query().get("format")
    if wanted is None:
        asked = [(kind.partition(";")[0], weight) for kind, weight in request.accept_mimetypes]
        text = max((weight for kind, weight in asked if kind in _TEXT), default=0)
        return text > max((weight for kind, weight in asked if kind in _JSON), default=0)
    if wanted not in {"json", "prometheus"}:
        raise InvalidRequest(details={"format": ["Must be json or prometheus."]})
    return wanted == "prometheus"


def _missing() -> ConfigError:
    return ConfigError(
        "Metrics for Prometheus need the package prometheus-client, which is not installed. "
        "Install it with: pip install 'Flask-Anam[prometheus]'"
    )
