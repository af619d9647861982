"""Content negotiation: whether a client wants metrics as JSON or as Prometheus' text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_anam.errors import InvalidRequest
from flask_anam.web.request_guards import query

if TYPE_CHECKING:
    from flask import Request

_TEXT = {"text/plain", "application/openmetrics-text"}
_JSON = {"application/json", "application/*", "*/*"}


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
