"""What the dashboard says: figures of a store turned into sentences, charts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from flask_anam.core.usage.records import Totals
from flask_anam.core.usage.report import (
    GROUPS,
    READ,
    SHOWN,
    UsageReport,
    UserUse,
    group_of,
    meanings,
)
from flask_anam.web.dashboard import charts
from flask_anam.web.dashboard import formatting as fmt

#: What an outcome is called, and what it means.
GROUP_TEXTS = {
    "minted": ("Minted", "new tokens from Anam"),
    "reused": ("Reused", "stored tokens handed out again"),
    "refused": ("Refused", "by a limit of yours"),
    "failed": ("Failed", "no token could be had"),
}
RANGES = {"hour": "Hour", "day": "24 hours", "week": "7 days", "month": "30 days"}
_PREVIOUS = {
    "hour": "the hour before",
    "day": "the 24 hours before",
    "week": "the 7 days before",
    "month": "the 30 days before",
    "custom": "the time before",
}
#: Share of a limit from which a user is close to it.
CLOSE_TO_LIMIT = 0.8


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in large."""

    kind: str
    label: str
    value: str
    hint: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class BarRow:
    """One line of a list of bars."""

    name: str
    value: str
    note: str
    bar: Markup
    flag: str = ""


def present(found: UsageReport) -> dict[str, Any]:
    """Return what the template of the dashboard is rendered with."""
    period = found.query.period
    chosen = [g for g in GROUPS if _is_chosen(found.query.outcome, g)]
    return {
        "shared": found.shared,
        "since": fmt.timestamp(period.since),
        "until": fmt.timestamp(period.until),
        "unfinished": period.until > found.now,
        "tiles": _tiles(found, chosen),
        "groups": [(g, *GROUP_TEXTS[g]) for g in chosen],
        "token_chart": _token_chart(found, chosen),
        "token_rows": [
            (fmt.interval(start, period.step), [step[g] for g in chosen])
            for start, step in found.token_steps.items()
        ],
        "refusals": _refusals(found),
        "session_chart": _session_chart(found),
        "session_rows": [
            (fmt.interval(start, period.step), [n]) for start, n in found.session_steps.items()
        ],
        "sessions": _total(found.personas, "sessions"),
        "personas": _personas(found),
        **_durations(found),
        "talkers": _top_users(found),
        "limits": _limits(found),
        "nearest": _users_near_limit(found),
        "running": [
            (one.user_id, one.persona_type, fmt.duration(found.now - (one.started_at or found.now)))
            for one in found.running[:SHOWN]
        ],
        "running_more": fmt.number(max(0, len(found.running) - SHOWN)),
        "running_count": len(found.running),
        "nothing": not found.tokens and not any(one.tokens for one in found.personas),
    }


def _is_chosen(outcome: str | None, group: str) -> bool:
    return outcome in {None, group} or (outcome not in GROUPS and group_of(str(outcome)) == group)


def _tiles(found: UsageReport, chosen: Sequence[str]) -> list[Tile]:
    name = found.query.period.name
    now, before = found.groups(), found.groups(before=True)
    tiles = [
        Tile(g, label, fmt.number(now[g]), hint, _change(now[g], before[g], name))
        for g in chosen
        for label, hint in [GROUP_TEXTS[g]]
    ]
    sessions = _total(found.personas, "sessions")
    seconds = sum(one.seconds for one in found.personas)
    median, ended = found.durations.quantile(0.5), found.durations.ended
    mean = fmt.duration(seconds / ended) if ended else ""
    active = fmt.number(len(found.running)) + ("+" if len(found.running) == READ else "")
    return [
        *tiles,
        Tile(
            "session",
            "Conversations",
            fmt.number(sessions),
            "were started",
            _change(sessions, _total(found.personas_before, "sessions"), name),
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
            _change(seconds, sum(one.seconds for one in found.personas_before), name),
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


def _token_chart(found: UsageReport, chosen: Sequence[str]) -> Markup | None:
    if not found.tokens:
        return None
    period = found.query.period
    bars = [
        charts.Bar(
            f"{fmt.interval(start, period.step)}: "
            + ", ".join(f"{fmt.number(step[g])} {g}" for g in chosen),
            [(g, step[g]) for g in chosen],
            unfinished=start + period.step > found.now,
        )
        for start, step in found.token_steps.items()
    ]
    sums = found.groups()
    told = ", ".join(f"{fmt.number(sums[g])} {g}" for g in chosen)
    ticks = charts.time_ticks(list(found.token_steps), period.step)
    return charts.column_chart(bars, ticks, f"Bars of tokens over time. In all: {told}.")


def _session_chart(found: UsageReport) -> Markup | None:
    if not _total(found.personas, "sessions"):
        return None
    period = found.query.period
    bars = [
        charts.Bar(
            f"{fmt.interval(start, period.step)}: {_count_of(number, 'conversation')}",
            [("session", number)],
            unfinished=start + period.step > found.now,
        )
        for start, number in found.session_steps.items()
    ]
    most = max(found.session_steps.values())
    ticks = charts.time_ticks(list(found.session_steps), period.step)
    label = f"Bars of conversations over time, at most {fmt.number(most)} in one bar."
    return charts.column_chart(bars, ticks, label)


def _durations(found: UsageReport) -> dict[str, Any]:
    width, numbers, longer = found.durations.bars()
    if not numbers:
        return {"length_chart": None, "length_rows": [], "longer": "", "most_within": ""}
    names = [
        f"{fmt.duration(n * width) if n else '0'} to {fmt.duration((n + 1) * width)}"
        for n in range(len(numbers))
    ]
    median = found.durations.quantile(0.5) or 0.0
    told = f"median {fmt.duration(median)}"
    bars = [
        charts.Bar(f"{name}: {_count_of(number, 'conversation')}", [("session", number)])
        for name, number in zip(names, numbers, strict=True)
    ]
    ends = len(numbers) * width
    more = f"{fmt.number(longer)} lasted longer than {fmt.duration(ends)}." if longer else ""
    label = f"Bars of how long conversations lasted, {told}. {more}".rstrip()
    return {
        "length_chart": charts.column_chart(
            bars,
            charts.duration_ticks(width, len(numbers)),
            label,
            charts.Marker(median / ends, told),
            gap=0.03,
        ),
        "length_rows": [(name, [n]) for name, n in zip(names, numbers, strict=True)]
        + ([(f"longer than {fmt.duration(ends)}", [longer])] if longer else []),
        "longer": more,
        "most_within": fmt.duration(found.durations.quantile(0.9)),
    }


def _personas(found: UsageReport) -> list[BarRow]:
    most = max((one.sessions for one in found.personas), default=0)
    ended = {one.persona_type: one.seconds / one.ended for one in found.personas if one.ended}
    rows = []
    for one in found.personas:
        mean = ended.get(one.persona_type)
        note = f"{fmt.total_duration(one.seconds)} in all"
        if mean is not None:
            note = f"{fmt.duration(mean)} on average, {note}"
        title = f"{one.persona_type}: {_count_of(one.sessions, 'conversation')}, {note}"
        bar = charts.bar_row([("session", one.sessions)], most, title)
        rows.append(BarRow(one.persona_type, fmt.number(one.sessions), note, bar))
    return rows


def _refusals(found: UsageReport) -> list[BarRow]:
    codes, texts = found.refusals(), meanings()
    most = max((number for _, number in codes), default=0)
    return [
        BarRow(
            code,
            fmt.number(number),
            texts.get(code, "An error code of another release."),
            charts.bar_row(
                [(group_of(code), number)], most, f"{code}: {_count_of(number, 'time')}"
            ),
            group_of(code),
        )
        for code, number in codes
    ]


def _top_users(found: UsageReport) -> list[BarRow]:
    most = max((one.seconds[0] for one in found.top_users), default=0.0)
    return [
        BarRow(
            _user_name(one),
            fmt.total_duration(one.seconds[0]),
            "",
            charts.bar_row(
                [("session", one.seconds[0])],
                most,
                f"{_user_name(one)}: {fmt.total_duration(one.seconds[0])}",
            ),
        )
        for one in found.top_users
    ]


def _limits(found: UsageReport) -> str:
    """Return the limits as a sentence; empty where there are none."""
    told = [
        f"{fmt.total_duration(window.seconds)} in the window since {fmt.timestamp(window.since)}"
        for window in found.windows
    ]
    if found.max_concurrent is not None:
        told.append(f"{_count_of(found.max_concurrent, 'conversation')} at once")
    return " and ".join(told)


def _users_near_limit(found: UsageReport) -> list[BarRow]:
    rows = []
    for one in found.users_near_limit:
        parts = [
            f"{fmt.total_duration(had)} of {fmt.total_duration(window.seconds)}"
            for had, window in zip(one.seconds, found.windows, strict=True)
        ]
        if found.max_concurrent is not None:
            parts.append(f"{one.running} of {found.max_concurrent} at once")
        flag = "full" if one.share >= 1 else "close" if one.share >= CLOSE_TO_LIMIT else "fine"
        value, note = fmt.percent(one.share), ", ".join(parts)
        bar = charts.bar_row(
            [(flag, min(1.0, one.share))], 1.0, f"{_user_name(one)}: {value}, {note}"
        )
        rows.append(BarRow(_user_name(one), value, note, bar, flag))
    return rows


def _user_name(one: UserUse) -> str:
    return "without a user" if one.user_id is None else one.user_id


def _total(totals: Sequence[Totals], field: str) -> int:
    return sum(int(getattr(one, field)) for one in totals)


def _count_of(number: int, what: str) -> str:
    return f"{fmt.number(number)} {what}{'' if number == 1 else 's'}"
