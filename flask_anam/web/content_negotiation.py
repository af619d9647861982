"""Content negotiation: JSON or the Prometheus text format for metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_anam.errors import InvalidRequest
from flask_anam.web.request_guards import query

if TYPE_CHECKING:
    from flask import Request

_TEXT = {"text/plain", "application/openmetrics-text"}
_JSON = {"application/json", "application/*", "*/*"}


def wants_prometheus(request: Request) -> bool:
    """Whether a request asks for the Prometheus text format.

    The parameter ``?format=`` decides; without it, the Accept header.

    Raises:
        InvalidRequest: the format is unknown, or given more than once.

    """
    chosen = query().get("format")
    if chosen is None:
        accepted = [(kind.partition(";")[0], weight) for kind, weight in request.accept_mimetypes]
        text = max((weight for kind, weight in accepted if kind in _TEXT), default=0)
        return text > max((weight for kind, weight in accepted if kind in _JSON), default=0)
    if chosen not in {"json", "prometheus"}:
        raise InvalidRequest(details={"format": ["Must be json or prometheus."]})
    return chosen == "prometheus"
