"""Presenter of the dashboard: turns a usage report into texts, charts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from flask_anam.core.usage.records import Totals
from flask_anam.core.usage.report import (
    GROUPS,
    MAX_RUNNING_READ,
    MAX_USERS_SHOWN,
    UsageReport,
    UserUse,
    group_of,
    meanings,
)
from flask_anam.web.dashboard import charts
from flask_anam.web.dashboard import formatting as fmt

#: Label and description of each group of outcomes.
GROUP_TEXTS = {
    "minted": ("Minted", "new tokens from Anam"),
    "reused": ("Reused", "stored tokens handed out again"),
    "refused": ("Refused", "by a limit of yours"),
    "failed": ("Failed", "no token was issued"),
}
RANGES = {"hour": "Hour", "day": "24 hours", "week": "7 days", "month": "30 days"}
_PREVIOUS = {
    "hour": "the hour before",
    "day": "the 24 hours before",
    "week": "the 7 days before",
    "month": "the 30 days before",
    "custom": "the time before",
}
#: A user who has used this share of a limit is shown as close to it.
CLOSE_TO_LIMIT = 0.8


@dataclass(frozen=True, slots=True)
class Tile:
    """Tile: one number in large type.

    Attributes:
        kind: the group of outcomes, or "session"; sets the colour.
        label: the heading.
        value: the number.
        hint: the line below the number.
        change: the comparison with the time before; empty if there is none.

    """

    kind: str
    label: str
    value: str
    hint: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class BarRow:
    """Bar row: one line of a bar list.

    Attributes:
        name: the heading.
        value: the number.
        note: the line below the bar; empty if there is none.
        bar: the bar as SVG.
        flag: sets the colour; empty for the default.

    """

    name: str
    value: str
    note: str
    bar: Markup
    flag: str = ""


def present(report: UsageReport) -> dict[str, Any]:
    """Return the context of the dashboard template."""
    period = report.query.period
    chosen = [g for g in GROUPS if _is_chosen(report.query.outcome, g)]
    return {
        "shared": report.shared,
        "since": fmt.timestamp(period.since),
        "until": fmt.timestamp(period.until),
        "unfinished": period.until > report.now,
        "tiles": _tiles(report, chosen),
        "groups": [(g, *GROUP_TEXTS[g]) for g in chosen],
        "token_chart": _token_chart(report, chosen),
        "token_rows": [
            (fmt.interval(start, period.step), [step[g] for g in chosen])
            for start, step in report.token_steps.items()
        ],
        "refusals": _refusals(report),
        "session_chart": _session_chart(report),
        "session_rows": [
            (fmt.interval(start, period.step), [n]) for start, n in report.session_steps.items()
        ],
        "sessions": _total(report.personas, "sessions"),
        "personas": _personas(report),
        **_durations(report),
        "top_users": _top_users(report),
        "limits": _limits(report),
        "users_near_limit": _users_near_limit(report),
        "running": [
            (
                session.user_id,
                session.persona_type,
                fmt.duration(report.now - (session.started_at or report.now)),
            )
            for session in report.running[:MAX_USERS_SHOWN]
        ],
        "running_more": fmt.number(max(0, len(report.running) - MAX_USERS_SHOWN)),
        "running_count": len(report.running),
        "nothing": not report.tokens and not any(persona.tokens for persona in report.personas),
    }


def _is_chosen(outcome: str | None, group: str) -> bool:
    return outcome in {None, group} or (outcome not in GROUPS and group_of(str(outcome)) == group)


def _tiles(report: UsageReport, chosen: Sequence[str]) -> list[Tile]:
    name = report.query.period.name
    now, before = report.groups(), report.groups(before=True)
    tiles = [
        Tile(g, label, fmt.number(now[g]), hint, _change(now[g], before[g], name))
        for g in chosen
        for label, hint in [GROUP_TEXTS[g]]
    ]
    sessions = _total(report.personas, "sessions")
    seconds = sum(persona.seconds for persona in report.personas)
    median, ended = report.durations.quantile(0.5), report.durations.ended
    mean = fmt.duration(seconds / ended) if ended else ""
    more = "+" if len(report.running) == MAX_RUNNING_READ else ""
    active = fmt.number(len(report.running)) + more
    return [
        *tiles,
        Tile(
            "session",
            "Conversations",
            fmt.number(sessions),
            "were started",
            _change(sessions, _total(report.personas_before, "sessions"), name),
        ),
        Tile("session", "Active now", active, "at this moment"),
        Tile(
            "session",
            "Median length",
            fmt.duration(median),
            f"mean {mean}" if mean else "of those that ended",
        ),
        Tile(
            "session",
            "Talked in all",
            fmt.total_duration(seconds),
            f"in {fmt.number(ended)} that ended",
            _change(seconds, sum(persona.seconds for persona in report.personas_before), name),
        ),
    ]


def _change(now: float, before: float, name: str) -> str:
    if not before:
        return ""
    share = now / before - 1
    if abs(share) < 0.005:
        return f"as in {_PREVIOUS[name]}"
    if share > 9.99:
        return f"{now / before:,.0f} times {_PREVIOUS[name]}"
    return f"{'+' if share > 0 else '−'}{fmt.percent(abs(share))} on {_PREVIOUS[name]}"  # noqa: RUF001 - a minus


def _token_chart(report: UsageReport, chosen: Sequence[str]) -> Markup | None:
    if not report.tokens:
        return None
    period = report.query.period
    bars = [
        charts.Bar(
            f"{fmt.interval(start, period.step)}: "
            + ", ".join(f"{fmt.number(step[g])} {g}" for g in chosen),
            [(g, step[g]) for g in chosen],
            unfinished=start + period.step > report.now,
        )
        for start, step in report.token_steps.items()
    ]
    sums = report.groups()
    summary = ", ".join(f"{fmt.number(sums[g])} {g}" for g in chosen)
    ticks = charts.time_ticks(list(report.token_steps), period.step)
    return charts.column_chart(bars, ticks, f"Bars of tokens over time. In all: {summary}.")


def _session_chart(report: UsageReport) -> Markup | None:
    if not _total(report.personas, "sessions"):
        return None
    period = report.query.period
    bars = [
        charts.Bar(
            f"{fmt.interval(start, period.step)}: {_count_of(number, 'conversation')}",
            [("session", number)],
            unfinished=start + period.step > report.now,
        )
        for start, number in report.session_steps.items()
    ]
    most = max(report.session_steps.values())
    ticks = charts.time_ticks(list(report.session_steps), period.step)
    label = f"Bars of conversations over time, at most {fmt.number(most)} in one bar."
    return charts.column_chart(bars, ticks, label)


def _durations(report: UsageReport) -> dict[str, Any]:
    width, numbers, longer = report.durations.bars()
    if not numbers:
        return {"duration_chart": None, "duration_rows": [], "longer": "", "most_within": ""}
    names = [
        f"{fmt.duration(n * width) if n else '0'} to {fmt.duration((n + 1) * width)}"
        for n in range(len(numbers))
    ]
    median = report.durations.quantile(0.5) or 0.0
    median_text = f"median {fmt.duration(median)}"
    bars = [
        charts.Bar(f"{name}: {_count_of(number, 'conversation')}", [("session", number)])
        for name, number in zip(names, numbers, strict=True)
    ]
    end = len(numbers) * width
    more = f"{fmt.number(longer)} lasted longer than {fmt.duration(end)}." if longer else ""
    label = f"Bars of how long conversations lasted, {median_text}. {more}".rstrip()
    return {
        "duration_chart": charts.column_chart(
            bars,
            charts.duration_ticks(width, len(numbers)),
            label,
            charts.Marker(median / end, median_text),
            gap=0.03,
        ),
        "duration_rows": [(name, [n]) for name, n in zip(names, numbers, strict=True)]
        + ([(f"longer than {fmt.duration(end)}", [longer])] if longer else []),
        "longer": more,
        "most_within": fmt.duration(report.durations.quantile(0.9)),
    }


def _personas(report: UsageReport) -> list[BarRow]:
    most = max((persona.sessions for persona in report.personas), default=0)
    rows = []
    for persona in report.personas:
        note = f"{fmt.total_duration(persona.seconds)} in all"
        if persona.ended:
            note = f"{fmt.duration(persona.seconds / persona.ended)} on average, {note}"
        title = f"{persona.persona_type}: {_count_of(persona.sessions, 'conversation')}, {note}"
        bar = charts.bar_row([("session", persona.sessions)], most, title)
        rows.append(BarRow(persona.persona_type, fmt.number(persona.sessions), note, bar))
    return rows


def _refusals(report: UsageReport) -> list[BarRow]:
    codes, texts = report.refusals(), meanings()
    most = max((number for _, number in codes), default=0)
    return [
        BarRow(
            code,
            fmt.number(number),
            texts.get(code, "An error code of another version."),
            charts.bar_row(
                [(group_of(code), number)], most, f"{code}: {_count_of(number, 'time')}"
            ),
            group_of(code),
        )
        for code, number in codes
    ]


def _top_users(report: UsageReport) -> list[BarRow]:
    most = max((user.seconds[0] for user in report.top_users), default=0.0)
    return [
        BarRow(
            _user_name(user),
            fmt.total_duration(user.seconds[0]),
            "",
            charts.bar_row(
                [("session", user.seconds[0])],
                most,
                f"{_user_name(user)}: {fmt.total_duration(user.seconds[0])}",
            ),
        )
        for user in report.top_users
    ]


def _limits(report: UsageReport) -> str:
    """Return the limits as a phrase; empty if there are none."""
    texts = [
        f"{fmt.total_duration(window.seconds)} in the window since {fmt.timestamp(window.since)}"
        for window in report.windows
    ]
    if report.max_concurrent is not None:
        texts.append(f"{_count_of(report.max_concurrent, 'conversation')} at once")
    return " and ".join(texts)


def _users_near_limit(report: UsageReport) -> list[BarRow]:
    rows = []
    for user in report.users_near_limit:
        parts = [
            f"{fmt.total_duration(seconds)} of {fmt.total_duration(window.seconds)}"
            for seconds, window in zip(user.seconds, report.windows, strict=True)
        ]
        if report.max_concurrent is not None:
            parts.append(f"{user.running} of {report.max_concurrent} at once")
        flag = "full" if user.share >= 1 else "close" if user.share >= CLOSE_TO_LIMIT else "fine"
        value, note = fmt.percent(user.share), ", ".join(parts)
        bar = charts.bar_row(
            [(flag, min(1.0, user.share))], 1.0, f"{_user_name(user)}: {value}, {note}"
        )
        rows.append(BarRow(_user_name(user), value, note, bar, flag))
    return rows


def _user_name(user: UserUse) -> str:
    return "without a user" if user.user_id is None else user.user_id


def _total(totals: Sequence[Totals], field: str) -> int:
    return sum(int(getattr(record, field)) for record in totals)


def _count_of(number: int, what: str) -> str:
    return f"{fmt.number(number)} {what}{'' if number == 1 else 's'}"
