"""The routes. Views are thin: admit, identify, check, call, answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request

from flask_anam.auth import METRICS, TALK, Caller
from flask_anam.core.schemas.fields import camel
from flask_anam.core.tokens.token import check_token
from flask_anam.metrics.collector import prometheus_text
from flask_anam.session_control import stop_own, tell_end, tell_start
from flask_anam.state import AnamState, get_state
from flask_anam.web.content_negotiation import wants_prometheus
from flask_anam.web.request_guards import admit, check_same_site, idempotency_key, load_json
from flask_anam.web.responses import answer_token, finish
from flask_anam.web.schemas import SessionReportSchema, TokenRequestSchema, ValidateRequestSchema

if TYPE_CHECKING:
    from flask_anam.core.config.settings import Settings

# Schemas keep nothing of a request, so that every thread may share them.
_TOKEN_REQUEST = TokenRequestSchema()
_SESSION_REPORT = SessionReportSchema()
_VALIDATE_REQUEST = ValidateRequestSchema()


def make_blueprint(settings: Settings) -> Blueprint:
    """Return the routes of one app; a blueprint is made anew for each."""
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

    @bp.after_app_request
    def finish_ours(response: Response) -> Response:
        """Look at the path, not the endpoint: a wrong method or path has no endpoint."""
        path = request.path
        if path != settings.token_path and not path.startswith(below):
            return response
        found_file = request.endpoint == "anam.static" and response.status_code < 400
        return response if found_file else finish(response, settings.allowed_origins)

    return bp


def issue_token() -> Response:
    """Turn a logged-in, permitted, rate-limited user and a persona type into a session token."""
    state = get_state()
    body = admit(state.settings.allowed_origins)
    caller = _caller(state, TALK)
    wanted = load_json(body, _TOKEN_REQUEST)
    persona = state.registry.choose(wanted.get("persona_type"))
    if persona.permission:
        caller.must_have(persona.permission)
    allowance = state.limits.allowance(caller.user_id)
    issued = state.issue_token(
        persona,
        user=caller.user,
        user_id=caller.user_id,
        overrides=wanted["overrides"],
        slot=wanted.get("slot"),
        idempotency_key=idempotency_key(),
        refused=wanted.get("refused"),
        allowance=allowance,
    )
    return answer_token(state.app, issued, allowance.window)


def list_personas() -> Response:
    """List the personas that the caller may use."""
    state = get_state()
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
    state = get_state()
    body = admit(state.settings.allowed_origins)
    caller = _caller(state, TALK)
    report = load_json(body, _SESSION_REPORT)
    token_id, session_id = report["token_id"], report["session_id"]
    vouched = state.manager.report_started(caller.user_id, token_id)
    record = state.recorder.started(caller.user_id, token_id, session_id, vouched=vouched)
    tell_start(state, record, caller.user_id)
    return "", 204  # the same for a foreign or forged report: nothing is told


def report_end(session_id: str) -> tuple[str, int]:
    """Note that a conversation is over; a browser may send this as a beacon."""
    state = get_state()
    admit(state.settings.allowed_origins, json_only=False)
    caller = _caller(state, TALK)
    tell_end(state, state.recorder.ended(caller.user_id, session_id), caller.user_id)
    return "", 204


def stop_session(session_id: str) -> tuple[str, int]:
    """Stop a session of the caller's own at Anam."""
    state = get_state()
    admit(state.settings.allowed_origins, json_only=False)
    caller = _caller(state, TALK)
    state.limits.allowance(caller.user_id).admit()
    stop_own(state, caller.user, caller.user_id, session_id)
    return "", 204


def concurrency() -> Response:
    """Answer Anam's advisory view of how many sessions run and may run."""
    state = get_state()
    caller = _caller(state, TALK)
    state.limits.allowance(caller.user_id).admit()
    found = state.concurrency.status(state.api_key(), state.deadline())
    return jsonify(
        limit=found.limit,
        active=found.active,
        canStartSession=found.can_start,
        estimatedWaitSeconds=found.wait,
        ageSeconds=round(found.age, 1),
        stale=found.stale,
    )


def validate() -> Response:
    """Judge a session token by what it says of itself; no session is opened."""
    state = get_state()
    body = admit(state.settings.allowed_origins)
    _caller(state, TALK)
    wanted = load_json(body, _VALIDATE_REQUEST)
    status = check_token(wanted["session_token"], state.clock.time())
    left = None if status.expires_in is None else int(status.expires_in)
    return jsonify(valid=bool(status), reason=status.reason, expiresIn=left)


def metrics() -> Response:
    """Answer the counters, as JSON or as Prometheus wants them."""
    state = get_state()
    _caller(state, METRICS)
    if wants_prometheus(request):
        text, content_type = prometheus_text(state, request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)
    found = state.metrics()
    return jsonify({camel(name): value for name, value in found.items()})


def openapi() -> Response:
    """Describe these routes as OpenAPI."""
    from flask_anam.web.openapi import describe  # of no use to browsers

    return jsonify(describe(get_state().app, root=request.script_root or "/"))


def _caller(state: AnamState, permission: str) -> Caller:
    if request.method != "POST":  # which has been admitted with its body
        check_same_site(state.settings.allowed_origins)
    caller = state.caller()
    caller.must_have(permission)
    return caller
