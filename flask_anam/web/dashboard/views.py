"""Views of the dashboard: an HTML page for product owners, and its data as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from flask import Response, current_app, request, url_for

from flask_anam.auth import METRICS, current_caller, host_login_page
from flask_anam.core.usage.csv_export import session_lines, token_lines
from flask_anam.core.usage.periods import CUSTOM, Period, custom, preset
from flask_anam.core.usage.report import GROUPS, ReportQuery, build_report, meanings
from flask_anam.core.usage.store import unavailable_as_busy
from flask_anam.errors import AnamError, InvalidRequest, Unauthenticated
from flask_anam.state import AnamState, get_state
from flask_anam.web.dashboard import formatting as fmt
from flask_anam.web.dashboard.presenter import GROUP_TEXTS, RANGES, present
from flask_anam.web.request_guards import check_same_site, query
from flask_anam.web.responses import keep_as_is
from flask_anam.web.templating import render

#: Only our own stylesheets and images: no scripts, no inline styles, no embedding in frames.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
#: Texts of the error page, by HTTP status; they replace the messages of the API.
_NOTICES = {
    403: f"Your account may not see this page. It needs the permission {METRICS}.",
    422: "The address of this page has an unknown or invalid parameter.",
    503: "The usage store does not answer. Tokens are handed out all the same; try again soon.",
}
_TABLES = ("sessions", "tokens")


def dashboard() -> Response:
    """Show the usage of a period as a page."""
    state = get_state()
    try:
        _check_access(state)
        query = _read_query(state)
        report = _report(state, query)
    except AnamError as exc:
        return _error_response(exc)
    return _page("anam/dashboard.html", **_navigation(state, query), **report)


def dashboard_csv() -> Response:
    """Send the sessions of a period, or the counts of its tokens, as CSV."""
    state = get_state()
    try:
        _check_access(state)
        query = _read_query(state)
        lines = _csv_lines(state, query)
    except AnamError as exc:
        return _error_response(exc)
    name = f"anam-{_table()}-{query.period.since}-{query.period.until}.csv"
    response = Response(lines, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _check_access(state: AnamState) -> None:
    """Raise unless the caller may see the dashboard; links on other sites are allowed."""
    if request.headers.get("Sec-Fetch-Mode") != "navigate":
        check_same_site(frozenset())  # an origin that may ask for tokens may not read figures
    current_caller(state.loaders).must_have(METRICS)


def _read_query(state: AnamState) -> ReportQuery:
    args = query()
    now = state.clock.time()
    since, until = args.get("since", "").strip(), args.get("until", "").strip()
    name = args.get("range") or "day"
    period = None if name == CUSTOM else preset(name, now)
    if period is None or since or until:
        period = custom(since, until, now)
    persona_type, outcome = args.get("persona") or None, args.get("outcome") or None
    if persona_type and (len(persona_type) > 100 or "\0" in persona_type):
        texts = ["A persona type has at most 100 characters, none of them NUL."]
        raise InvalidRequest(details={"persona": texts})
    if outcome and outcome not in {*GROUPS, "replayed", "stale", *meanings()}:
        known = ", ".join(GROUPS)
        raise InvalidRequest(details={"outcome": [f"Use one of {known}, or an error code."]})
    return ReportQuery(period, persona_type, outcome)


def _report(state: AnamState, query: ReportQuery) -> dict[str, Any]:
    quota = state.recorder.rules.at(state.clock.time())
    state.recorder.flush()
    with unavailable_as_busy():
        return present(build_report(state.recorder.store, query, quota))


def _csv_lines(state: AnamState, query: ReportQuery) -> Iterator[str]:
    """Return the lines of a table. The first is read here, so that a store that is down raises."""
    state.recorder.flush()
    store, which = state.recorder.store, query.usage_query()
    if _table() == "tokens":
        lines = token_lines(store, which, query.period.step)
    else:
        lines = session_lines(store, which, state.clock.time())
    with unavailable_as_busy():
        first = next(lines)
    return chain([first], lines)


def _table() -> str:
    table = query().get("table") or _TABLES[0]
    if table not in _TABLES:
        raise InvalidRequest(details={"table": [f"Use one of {', '.join(_TABLES)}."]})
    return table


def _error_response(error: AnamError) -> Response:
    """Return an error page, or the login page, to browsers; raise the error for other clients."""
    formats = ["application/json", "text/html"]
    if request.accept_mimetypes.best_match(formats) != "text/html":
        raise error
    if isinstance(error, Unauthenticated):
        login = host_login_page()
        if login is None:
            raise error
        return keep_as_is(current_app.make_response(login))
    response = _page(
        "anam/dashboard_notice.html",
        status=error.status,
        sentence=_NOTICES.get(error.status, error.public_text),
        details=[
            (name, " ".join(map(str, _as_list(m)))) for name, m in (error.details or {}).items()
        ],
    )
    response.status_code = error.status
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(round(error.retry_after))
    return keep_as_is(response)


def _as_list(messages: object) -> list[object]:
    return messages if isinstance(messages, list) else [messages]


def _page(template: str, **context: Any) -> Response:
    page = render(template, home=url_for("anam.dashboard"), **context)
    response = Response(page, mimetype="text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _navigation(state: AnamState, query: ReportQuery) -> dict[str, Any]:
    """Return the context for the links and the filter form."""
    period, persona, outcome = query.period, query.persona_type, query.outcome
    filters: dict[str, Any] = {"persona": persona, "outcome": outcome}
    here = {**_period_query(period), **filters}
    names = sorted({known.name for known in state.registry} | ({persona} if persona else set()))
    return {
        "ranges": [
            (label, url_for("anam.dashboard", range=name, **filters), name == period.name)
            for name, label in RANGES.items()
        ],
        "range": period.name,
        "fields": [fmt.datetime_local(t) if period.name == CUSTOM else "" for t in _ends(period)],
        "persona": persona,
        "persona_names": names,
        "outcome": outcome,
        "outcome_names": [(g, GROUP_TEXTS[g][0]) for g in GROUPS],
        "codes": sorted(meanings()),
        "again": url_for("anam.dashboard", **here),
        "all_outcomes": url_for("anam.dashboard", **{**here, "outcome": None}),
        "csv_sessions": url_for("anam.dashboard_csv", **here),
        "csv_tokens": url_for("anam.dashboard_csv", table="tokens", **here),
        "sandbox": state.sandbox is not None,
    }


def _ends(period: Period) -> tuple[int, int]:
    return period.since, period.until


def _period_query(period: Period) -> dict[str, str]:
    if period.name != CUSTOM:
        return {"range": period.name}
    return {name: value for name in ("since", "until") if (value := request.args.get(name))}
