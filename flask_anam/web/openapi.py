"""OpenAPI 3.1 description of the HTTP API, for tools and client generators.

Paths and methods come from the URL map of the app, request bodies from the schemas that validate
them, and error responses from the error classes. `ROUTES` adds what these do not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from marshmallow import Schema

from flask_anam import errors
from flask_anam.auth import METRICS, TALK
from flask_anam.core.schemas.fields import camel
from flask_anam.core.schemas.json_schema import schema_of
from flask_anam.web.schemas import SessionReportSchema, TokenRequestSchema, ValidateRequestSchema

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

Json = dict[str, Any]
ErrorKind = type[errors.AnamError]

_ACCESS_ERRORS: tuple[ErrorKind, ...] = (
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.CrossSite,
)
_BODY_ERRORS: tuple[ErrorKind, ...] = (
    errors.MalformedJson,
    errors.UnsupportedMediaType,
    errors.PayloadTooLarge,
    errors.InvalidRequest,
)
_UPSTREAM_ERRORS: tuple[ErrorKind, ...] = tuple(errors.UpstreamError.__subclasses__())
_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


def _object(**properties: Json) -> Json:
    required = list(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _or_null(kind: str) -> Json:
    return {"type": [kind, "null"]}


_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_TOKEN_ID: Json = {"type": "string", "minLength": 16, "maxLength": 16}
_TOKEN = _object(
    sessionToken={"type": "string", "description": "Anam's token; secret."},
    tokenId={**_TOKEN_ID, "description": "An identifier of the token that is safe to log."},
    personaType=_TEXT,
    expiresAt={"type": "integer", "description": "Unix seconds."},
    expiresIn={**_COUNT, "description": "Seconds from now."},
)
_PERSONA = _object(personaType=_TEXT, label=_TEXT, isDefault={"type": "boolean"})
_VERDICT = _object(
    valid={"type": "boolean"},
    reason={"enum": ["ok", "malformed", "expired", "legacy"]},
    expiresIn=_or_null("integer"),
)
_CONCURRENCY = _object(
    limit=_or_null("integer"),
    active=_or_null("integer"),
    canStartSession=_or_null("boolean"),
    estimatedWaitSeconds=_or_null("number"),
    ageSeconds={"type": "number", "description": "Seconds since Anam's answer."},
    stale={"type": "boolean", "description": "Whether a later request to Anam failed."},
)
_FORMAT: Json = {"name": "format", "in": "query", "schema": {"enum": ["json", "prometheus"]}}
_PERIOD: tuple[Json, ...] = tuple(
    {"name": name, "in": "query", "schema": schema}
    for name, schema in (
        ("range", {"enum": ["", "hour", "day", "week", "month", "custom"], "default": "day"}),
        ("since", {"type": "string", "description": "A date, or a date and time (UTC)."}),
        ("until", {"type": "string", "description": "The same; now if left out."}),
        ("persona", {"type": "string", "maxLength": 100}),
        ("outcome", {"type": "string", "description": "A group of outcomes, or an error code."}),
    )
)
_TABLE: Json = {"name": "table", "in": "query", "schema": {"enum": ["", "sessions", "tokens"]}}
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Identifies one attempt to start, for callers without a slot.",
    "schema": {"type": "string", "maxLength": 255},
}
_RATE: Json = {
    "RateLimit-Limit": {"schema": _COUNT, "description": "Requests allowed in the window."},
    "RateLimit-Remaining": {"schema": _COUNT, "description": "Requests left in the window."},
    "RateLimit-Reset": {"schema": _COUNT, "description": "Seconds until the window ends."},
}
_ALWAYS: Json = {"Cache-Control": {"schema": {"const": "no-store"}, "required": True}}
_RETRY: Json = {
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1},
        "required": True,
        "description": "Seconds to wait.",
    }
}
_ERROR: Json = {
    "type": "object",
    "required": ["error", "code", "retryable"],
    "properties": {
        "error": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "A stable name for programs."},
        "retryable": {"type": "boolean"},
        "retryAfter": {"type": "integer", "minimum": 1, "description": "Seconds to wait."},
        "details": {"type": "object", "description": "Field name to messages."},
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSpec:
    """Route specification: what neither the URL map nor the docstring of the view says.

    Attributes:
        permission: the permission that the caller needs; None if anybody may call.
        body: the schema of the request body; None if there is none, or it is ignored.
        answer: the JSON Schema of the JSON response; None for 204 without a body.
        errors: possible errors, besides those of every protected route.
        text_types: media types of text responses.
        parameters: the headers and query parameters that the route reads.
        headers: the headers of the successful response.
        links: operations that use values of the response (OpenAPI link objects).

    """

    permission: str | None = TALK
    body: type[Schema] | None = None
    answer: Json | None = None
    text_types: tuple[str, ...] = ()
    errors: tuple[ErrorKind, ...] = ()
    parameters: tuple[Json, ...] = ()
    headers: Json = field(default_factory=dict)
    links: Json = field(default_factory=dict)


#: View function names and the specifications of their routes; a test checks that all are here.
ROUTES: Mapping[str, RouteSpec] = {
    "issue_token": RouteSpec(
        body=TokenRequestSchema,
        answer=_TOKEN,
        errors=(
            *_BODY_ERRORS,
            errors.UnknownPersona,
            errors.RateLimited,
            errors.MinutesExhausted,
            errors.TooManySessions,
            errors.PersonaInvalid,
            *_UPSTREAM_ERRORS,
        ),
        parameters=(_IDEMPOTENCY_KEY,),
        headers={"Server-Timing": {"schema": _TEXT}, **_RATE},
        links={
            "report the start": {
                "operationId": "reportStart",
                "requestBody": {"tokenId": "$response.body#/tokenId", "sessionId": "session-1"},
            },
            "judge it": {
                "operationId": "validate",
                "requestBody": {"sessionToken": "$response.body#/sessionToken"},
            },
        },
    ),
    "list_personas": RouteSpec(answer=_object(personas={"type": "array", "items": _PERSONA})),
    "report_start": RouteSpec(
        body=SessionReportSchema,
        errors=_BODY_ERRORS,
        links={
            "report the end": {
                "operationId": "reportEnd",
                "parameters": {"session_id": "$request.body#/sessionId"},
            }
        },
    ),
    "report_end": RouteSpec(errors=(errors.NotFound, errors.PayloadTooLarge)),
    "concurrency": RouteSpec(answer=_CONCURRENCY, errors=(errors.RateLimited, *_UPSTREAM_ERRORS)),
    "validate": RouteSpec(body=ValidateRequestSchema, answer=_VERDICT, errors=_BODY_ERRORS),
    "stop_session": RouteSpec(errors=(errors.NotFound, *_UPSTREAM_ERRORS)),
    "metrics": RouteSpec(
        permission=METRICS,
        answer={"type": "object"},
        text_types=("text/plain", "application/openmetrics-text"),
        errors=(errors.InvalidRequest,),
        parameters=(_FORMAT,),
    ),
    "dashboard": RouteSpec(
        permission=METRICS,
        text_types=("text/html",),
        errors=(errors.InvalidRequest, errors.Busy),
        parameters=_PERIOD,
    ),
    "dashboard_csv": RouteSpec(
        permission=METRICS,
        text_types=("text/csv",),
        errors=(errors.InvalidRequest, errors.Busy),
        parameters=(*_PERIOD, _TABLE),
    ),
    "openapi": RouteSpec(permission=None, answer={"type": "object"}),
}


def describe(app: Flask, *, root: str) -> Json:
    """Return the OpenAPI description of our routes in an app.

    Args:
        app: the app, which decides on the paths.
        root: the path at which the app itself is mounted.

    """
    paths: Json = {}
    for rule in app.url_map.iter_rules():
        blueprint, _, name = rule.endpoint.partition(".")
        if blueprint != "anam" or name == "static":
            continue
        view = app.view_functions[rule.endpoint]
        summary = (view.__doc__ or name).strip().splitlines()[0]
        operation = _operation(name, summary, rule, ROUTES.get(name, RouteSpec()))
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        path = paths.setdefault(_PARAMETER.sub(r"{\1}", rule.rule), {})
        path.update({method.lower(): operation for method in methods})
    cookie = app.config["SESSION_COOKIE_NAME"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Flask-Anam", "version": "1"},
        "servers": [{"url": root}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "The login of the app.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "If the app identifies its users by a token.",
                },
            },
        },
    }


def _operation(name: str, summary: str, rule: Rule, route: RouteSpec) -> Json:
    path = [
        {"name": argument, "in": "path", "required": True, "schema": _TEXT}
        for argument in sorted(rule.arguments)
    ]
    operation: Json = {
        "operationId": camel(name),
        "summary": summary,
        "parameters": [*path, *route.parameters],
        "responses": _responses(route),
        "security": [{"session": []}, {"bearer": []}] if route.permission else [],
    }
    if route.permission:
        operation["description"] = f"Needs the permission {route.permission}."
    if route.body:
        body = schema_of(route.body(), secrets=False)
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _responses(route: RouteSpec) -> Json:
    success: Json = {"description": "Done.", "headers": {**_ALWAYS, **route.headers}}
    content = _json(route.answer) if route.answer is not None else {}
    content.update({kind: {"schema": _TEXT} for kind in route.text_types})
    if content:
        success["content"] = content
    if route.links:
        success["links"] = route.links
    gate = _ACCESS_ERRORS if route.permission else ()
    kinds: tuple[ErrorKind, ...] = (*gate, *route.errors, errors.ConfigError)
    return {
        "200" if content else "204": success,
        **{
            str(status): _error_response(kinds, status)
            for status in sorted({k.status for k in kinds})
        },
        "default": {
            "description": "An error of the host app, or of its server.",
            "content": _json({"$ref": "#/components/schemas/Error"}),
        },
    }


def _error_response(kinds: Iterable[ErrorKind], status: int) -> Json:
    """Return the response object for the errors that share a status."""
    same = [kind for kind in kinds if kind.status == status]
    codes = {"properties": {"code": {"enum": sorted({kind.code for kind in same})}}}
    limited = errors.RateLimited in same
    waits = limited or all(kind.default_retry_after is not None for kind in same)
    return {
        "description": " ".join(f"{kind.default_text.rstrip('.')}." for kind in same),
        "headers": {**_ALWAYS, **(_RETRY if waits else {}), **(_RATE if limited else {})},
        "content": _json({"allOf": [{"$ref": "#/components/schemas/Error"}, codes]}),
    }


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
