"""The HTTP API of this package, described as OpenAPI 3.1 for tools and client generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask_anam.core.settings import Settings

_ERROR = {
    "type": "object",
    "required": ["error", "code", "retryable"],
    "properties": {
        "error": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "A stable name for programs."},
        "retryable": {"type": "boolean"},
        "retryAfter": {"type": "integer", "description": "Seconds to wait before a retry."},
        "details": {"type": "object", "description": "Field name to messages."},
    },
}
_TOKEN_REQUEST = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "personaType": {"type": "string", "minLength": 1, "maxLength": 100},
        "slot": {"type": "string", "minLength": 1, "maxLength": 64},
        "overrides": {"type": "object"},
        "refused": {"type": "string", "minLength": 16, "maxLength": 16},
    },
}
_TOKEN = {
    "type": "object",
    "required": ["sessionToken", "tokenId", "personaType", "expiresAt", "expiresIn"],
    "properties": {
        "sessionToken": {"type": "string"},
        "tokenId": {"type": "string"},
        "personaType": {"type": "string"},
        "expiresAt": {"type": "integer", "description": "Unix seconds."},
        "expiresIn": {"type": "integer", "description": "Seconds from now."},
    },
}
_SESSION_REPORT = {
    "type": "object",
    "required": ["tokenId", "sessionId"],
    "additionalProperties": False,
    "properties": {"tokenId": {"type": "string"}, "sessionId": {"type": "string"}},
}
_VALIDATE_REQUEST = {
    "type": "object",
    "required": ["sessionToken"],
    "additionalProperties": False,
    "properties": {"sessionToken": {"type": "string", "maxLength": 8192}},
}
_VERDICT = {
    "type": "object",
    "properties": {
        "valid": {"type": "boolean"},
        "reason": {"enum": ["ok", "malformed", "expired", "legacy"]},
        "expiresIn": {"type": ["integer", "null"]},
    },
}
_PERSONAS = {
    "type": "object",
    "properties": {
        "personas": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "personaType": {"type": "string"},
                    "label": {"type": "string"},
                    "isDefault": {"type": "boolean"},
                },
            },
        }
    },
}
_CONCURRENCY = {
    "type": "object",
    "properties": {
        "limit": {"type": ["integer", "null"]},
        "active": {"type": ["integer", "null"]},
        "canStartSession": {"type": ["boolean", "null"]},
        "estimatedWaitSeconds": {"type": ["integer", "null"]},
        "ageSeconds": {"type": "number", "description": "Since Anam said so."},
        "stale": {"type": "boolean", "description": "Anam was asked again since, in vain."},
    },
}
_FORMAT = {"name": "format", "in": "query", "schema": {"enum": ["json", "prometheus"]}}
_SESSION_ID = {"name": "session_id", "in": "path", "required": True, "schema": {"type": "string"}}
_KEY = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}}
_PERIOD = [
    {"name": name, "in": "query", "schema": schema}
    for name, schema in (
        ("range", {"enum": ["hour", "day", "week", "month", "custom"], "default": "day"}),
        ("since", {"type": "string", "description": "A date, or a date and time (UTC)."}),
        ("until", {"type": "string", "description": "The same; now if left out."}),
        ("persona", {"type": "string", "maxLength": 100}),
        ("outcome", {"type": "string", "description": "A group of outcomes, or an error code."}),
    )
]
_TABLE = {"name": "table", "in": "query", "schema": {"enum": ["sessions", "tokens"]}}


def describe(settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI description of the routes as these settings place them."""
    prefix = settings.url_prefix
    return {
        "openapi": "3.1.0",
        "info": {"title": "Flask-Anam", "version": "1"},
        "components": {"schemas": {"Error": _ERROR}},
        "paths": {
            settings.token_path: {
                "post": _operation("Get a session token", _TOKEN_REQUEST, _TOKEN, [_KEY])
            },
            f"{prefix}/personas": {
                "get": _operation("List the personas you may use", None, _PERSONAS)
            },
            f"{prefix}/sessions": {
                "post": _operation("Report that a conversation started", _SESSION_REPORT, None)
            },
            f"{prefix}/sessions/{{session_id}}/end": {
                "post": _operation("Report that a conversation ended", None, None, [_SESSION_ID])
            },
            f"{prefix}/sessions/{{session_id}}": {
                "delete": _operation("Stop a session of your own", None, None, [_SESSION_ID])
            },
            f"{prefix}/concurrency": {
                "get": _operation("See whether a session can start", None, _CONCURRENCY)
            },
            f"{prefix}/session-token/validate": {
                "post": _operation("Judge a session token", _VALIDATE_REQUEST, _VERDICT)
            },
            f"{prefix}/metrics": {"get": _metrics()},
            **(_dashboard(prefix) if settings.dashboard else {}),
        },
    }


def _metrics() -> dict[str, Any]:
    operation = _operation("Read the counters", None, {"type": "object"}, [_FORMAT])
    operation["responses"]["200"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    return operation


def _dashboard(prefix: str) -> dict[str, Any]:
    paths = {}
    for rule, summary, kind, more in (
        ("/dashboard", "See what was used, as a page", "text/html", []),
        ("/dashboard.csv", "Download what was used", "text/csv", [_TABLE]),
    ):
        operation = _operation(summary, None, {"type": "string"}, [*_PERIOD, *more])
        operation["responses"]["200"]["content"] = {kind: {"schema": {"type": "string"}}}
        paths[prefix + rule] = {"get": operation}
    return paths


def _operation(
    summary: str,
    body: dict[str, Any] | None,
    answer: dict[str, Any] | None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "parameters": parameters or []}
    if body:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    success = {"200": {"description": "Done", "content": _json(answer)}} if answer else {}
    error = {"description": "Error", "content": _json({"$ref": "#/components/schemas/Error"})}
    operation["responses"] = {**(success or {"204": {"description": "Noted"}}), "default": error}
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
