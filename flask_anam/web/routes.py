"""Routes of the blueprint. Views are thin: read, identify, check, call, respond."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, current_app, jsonify, request

from flask_anam.auth import METRICS, TALK, Caller, current_caller
from flask_anam.core.schemas.fields import camel
from flask_anam.core.tokens.token import check_token
from flask_anam.errors import AnamError
from flask_anam.metrics.collector import prometheus_text, read_metrics
from flask_anam.session_control import stop_own_session
from flask_anam.state import AnamState
from flask_anam.web.content_negotiation import wants_prometheus
from flask_anam.web.request_guards import check_same_site, idempotency_key, load_json, read_body
from flask_anam.web.responses import finalize_response, token_response
from flask_anam.web.schemas import (
    TOKEN_REQUEST_TEXTS,
    SessionReportSchema,
    TokenRequestSchema,
    ValidateRequestSchema,
)

if TYPE_CHECKING:
    from flask_anam.core.config.settings import Settings

# Schemas keep nothing of a request, so that every thread may share them.
_TOKEN_REQUEST = TokenRequestSchema()
_SESSION_REPORT = SessionReportSchema()
_VALIDATE_REQUEST = ValidateRequestSchema()


def make_blueprint(settings: Settings) -> Blueprint:
    """Return the blueprint of one app; each app gets its own."""
    prefix = settings.url_prefix
    below = f"{prefix}/"
    bp = Blueprint(
        "anam",
        "flask_anam",
        static_folder="static",
        static_url_path=f"{prefix}/static",
        template_folder="templates",
    )
    bp.add_url_rule(settings.token_path, view_func=issue_token, methods=["POST"])
    for rule, view, method in (
        ("/personas", list_personas, "GET"),
        ("/sessions", report_start, "POST"),
        ("/sessions/<session_id>/end", report_end, "POST"),
        ("/sessions/<session_id>", stop_session, "DELETE"),
        ("/concurrency", concurrency, "GET"),
        ("/session-token/validate", validate, "POST"),
        ("/metrics", metrics, "GET"),
        ("/openapi.json", openapi, "GET"),
    ):
        bp.add_url_rule(prefix + rule, view_func=view, methods=[method])
    if settings.dashboard:
        from flask_anam.web.dashboard.views import (  # of no use to most apps
            dashboard,
            dashboard_csv,
        )

        bp.add_url_rule(f"{prefix}/dashboard", view_func=dashboard, methods=["GET"])
        bp.add_url_rule(f"{prefix}/dashboard.csv", view_func=dashboard_csv, methods=["GET"])

    owners_only = {f"{prefix}/{name}" for name in ("metrics", "dashboard", "dashboard.csv")}

    @bp.after_app_request
    def finish_ours(response: Response) -> Response:
        """Look at the path, not the endpoint: a wrong method or path has no endpoint."""
        path = request.path
        if path != settings.token_path and not path.startswith(below):
            return response
        is_file = request.endpoint == "anam.static" and response.status_code < 400
        # An origin that may ask for tokens may not read the figures of its visitors.
        origins = frozenset[str]() if path in owners_only else settings.allowed_origins
        return response if is_file else finalize_response(response, origins)

    return bp


def issue_token() -> Response:
    """Turn a logged-in, permitted, rate-limited user and a persona type into a session token."""
    state = _state()
    try:
        body = read_body(state.settings.allowed_origins)
        caller = _caller(state, TALK)
        wanted = load_json(body, _TOKEN_REQUEST, TOKEN_REQUEST_TEXTS)
        persona = state.registry.choose(wanted.get("persona_type"))
        if persona.permission:
            caller.must_have(persona.permission)
        quota = state.limits.quota(caller.user_id)
        issued = state.issuer.issue(
            persona,
            user=caller.user,
            user_id=caller.user_id,
            overrides=wanted.get("overrides") or {},
            slot=wanted.get("slot"),
            idempotency_key=idempotency_key(),
            refused=wanted.get("refused"),
            quota=quota,
        )
    except AnamError as error:
        state.events.token_refused(error)
        raise
    return token_response(state.app, issued, quota.window)


def list_personas() -> Response:
    """List the personas that the caller may use."""
    state = _state()
    caller = _caller(state, TALK)
    default = state.registry.default
    return jsonify(
        personas=[
            {"personaType": p.name, "label": p.label, "isDefault": p.name == default}
            for p in state.registry
            if p.permission is None or p.permission in caller.permissions
        ]
    )


def report_start() -> tuple[str, int]:
    """Note that a conversation has started, which uses its token up."""
    state = _state()
    body = read_body(state.settings.allowed_origins)
    caller = _caller(state, TALK)
    state.limits.admit_report(caller.user_id)
    report = load_json(body, _SESSION_REPORT)
    token_id, session_id = report["token_id"], report["session_id"]
    vouched = state.manager.report_started(caller.user_id, token_id)
    record = state.recorder.started(caller.user_id, token_id, session_id, vouched=vouched)
    state.events.session_started(record, caller.user_id)
    return "", 204  # the same for a foreign or forged report, so that nothing leaks


def report_end(session_id: str) -> tuple[str, int]:
    """Note that a conversation is over; a browser may send this as a beacon."""
    state = _state()
    read_body(state.settings.allowed_origins, json_only=False)
    caller = _caller(state, TALK)
    state.limits.admit_report(caller.user_id)
    record = state.recorder.ended(caller.user_id, session_id)
    state.events.session_ended(record, caller.user_id)
    return "", 204


def stop_session(session_id: str) -> tuple[str, int]:
    """Stop a session of the caller's own at Anam."""
    state = _state()
    read_body(state.settings.allowed_origins, json_only=False)
    caller = _caller(state, TALK)
    state.limits.quota(caller.user_id).admit()
    stop_own_session(state, caller.user, caller.user_id, session_id)
    return "", 204


def concurrency() -> Response:
    """Return Anam's advisory view of how many sessions run and may run."""
    state = _state()
    caller = _caller(state, TALK)
    state.limits.quota(caller.user_id).admit()
    status = state.concurrency.status(state.issuer.api_key(), state.deadline())
    return jsonify(
        limit=status.limit,
        active=status.active,
        canStartSession=status.can_start,
        estimatedWaitSeconds=status.wait,
        ageSeconds=round(status.age, 1),
        stale=status.stale,
    )


def validate() -> Response:
    """Check a session token by its own claims; no session is started."""
    state = _state()
    body = read_body(state.settings.allowed_origins)
    _caller(state, TALK)
    wanted = load_json(body, _VALIDATE_REQUEST)
    status = check_token(wanted["session_token"], state.clock.time())
    left = None if status.expires_in is None else int(status.expires_in)
    return jsonify(valid=bool(status), reason=status.reason, expiresIn=left)


def metrics() -> Response:
    """Return the counters, as JSON or as text for Prometheus."""
    state = _state()
    _caller(state, METRICS)
    if wants_prometheus(request):
        text, content_type = prometheus_text(state, request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)
    return jsonify({camel(name): value for name, value in read_metrics(state).items()})


def openapi() -> Response:
    """Describe these routes as OpenAPI."""
    from flask_anam.web.openapi import describe  # of no use to browsers

    return jsonify(describe(_state().app, root=request.script_root or "/"))


def _state() -> AnamState:
    """Return the state of the app; our routes exist only where it does."""
    state: AnamState = current_app.extensions["anam"]
    return state


def _caller(state: AnamState, permission: str) -> Caller:
    if request.method != "POST":  # whose origin is checked with its body
        check_same_site(frozenset() if permission == METRICS else state.settings.allowed_origins)
    caller = current_caller(state.loaders)
    caller.must_have(permission)
    return caller
