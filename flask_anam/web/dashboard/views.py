"""The dashboard: one page for a product owner, and its figures as CSV."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from flask import Response, current_app, request, url_for

from flask_anam.auth import METRICS, host_login_page
from flask_anam.core.usage.csv_export import session_lines, token_lines
from flask_anam.core.usage.periods import CUSTOM, Period, custom, preset
from flask_anam.core.usage.report import GROUPS, ReportQuery, build_report, meanings
from flask_anam.errors import AnamError, Busy, InvalidRequest, Unauthenticated
from flask_anam.state import AnamState, get_state
from flask_anam.web.dashboard import formatting as fmt
from flask_anam.web.dashboard.presenter import GROUP_TEXTS, RANGES, present
from flask_anam.web.request_guards import check_same_site, query
from flask_anam.web.responses import as_it_is
from flask_anam.web.templating import render

log = logging.getLogger("flask_anam")

#: Own files and nothing else: no script, no inline style, no frame around it.
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
#: What the page says where the answer of the API would be too terse.
_NOTICES = {
    403: f"Your account may not see this page. It needs the permission {METRICS}.",
    422: "This page was asked for something that it does not know.",
    503: "The usage store does not answer. Tokens are handed out all the same; try again soon.",
}
_TABLES = ("sessions", "tokens")


def dashboard() -> Response:
    """Show the figures of a period."""
    state = get_state()
    try:
        _check_access(state)
        query = _read_query(state)
        found = _report(state, query)
    except AnamError as error:
        return _error_response(error)
    return _page("anam/dashboard.html", **_navigation(state, query), **found)


def dashboard_csv() -> Response:
    """Send the sessions of a period, or the counts of its tokens, as CSV."""
    state = get_state()
    try:
        _check_access(state)
        query = _read_query(state)
        lines = _csv_lines(state, query)
    except AnamError as error:
        return _error_response(error)
    name = f"anam-{_table()}-{query.period.since}-{query.period.until}.csv"
    response = Response(lines, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _check_access(state: AnamState) -> None:
    """Raise unless the caller may see the figures; a link on another site may lead here."""
    if request.headers.get("Sec-Fetch-Mode") != "navigate":
        check_same_site(state.settings.allowed_origins)
    state.caller().must_have(METRICS)


def _read_query(state: AnamState) -> ReportQuery:
    given = query()
    now = state.clock.time()
    since, until = given.get("since", "").strip(), given.get("until", "").strip()
    name = given.get("range") or "day"
    period = None if name == CUSTOM else preset(name, now)
    if period is None or since or until:
        period = custom(since, until, now)
    persona_type, outcome = given.get("persona") or None, given.get("outcome") or None
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
    try:
        return present(build_report(state.recorder.store, query, quota))
    except Exception as failure:  # noqa: BLE001 - any library may be behind a store
        raise _store_unavailable(failure) from None


def _csv_lines(state: AnamState, query: ReportQuery) -> Iterator[str]:
    """Return the lines of a table, of which the first has been read: the store answers."""
    state.recorder.flush()
    store, which = state.recorder.store, query.wanted()
    if _table() == "tokens":
        lines = token_lines(store, which, query.period.step)
    else:
        lines = session_lines(store, which, state.clock.time())
    try:
        first = next(lines)
    except Exception as failure:  # noqa: BLE001 - as above
        raise _store_unavailable(failure) from None
    return chain([first], lines)


def _table() -> str:
    table = query().get("table") or _TABLES[0]
    if table not in _TABLES:
        raise InvalidRequest(details={"table": [f"Use one of {', '.join(_TABLES)}."]})
    return table


def _store_unavailable(failure: Exception) -> AnamError:
    log.error("The usage store cannot be read: %s", type(failure).__name__)
    return Busy("The usage store does not answer. Try again in a moment.", hinted_wait=5)


def _error_response(error: AnamError) -> Response:
    """Return a page that says what is wrong, to a browser; raise for everybody else."""
    formats = ["application/json", "text/html"]
    if request.accept_mimetypes.best_match(formats) != "text/html":
        raise error
    if isinstance(error, Unauthenticated):
        login = host_login_page()
        if login is None:
            raise error
        return as_it_is(current_app.make_response(login))
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
    return as_it_is(response)


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
    """Return what stands around the figures: where one can go from here."""
    period, persona, outcome = query.period, query.persona_type, query.outcome
    filters: dict[str, Any] = {"persona": persona, "outcome": outcome}
    here = {**_period_query(period), **filters}
    names = sorted({one.name for one in state.registry} | ({persona} if persona else set()))
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
