"""What the dashboard says: figures of a store turned into sentences, charts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from flask_anam.core.usage.records import Totals
from flask_anam.core.usage.report import GROUPS, READ, SHOWN, Figures, UserUse, group_of, meanings
from flask_anam.web.dashboard import charts
from flask_anam.web.dashboard import formatting as human

#: What an outcome is called, and what it means.
GROUP_TEXTS = {
    "minted": ("Minted", "new tokens from Anam"),
    "reused": ("Reused", "stored tokens handed out again"),
    "refused": ("Refused", "by a limit of yours"),
    "failed": ("Failed", "no token could be had"),
}
RANGES = {"hour": "Hour", "day": "24 hours", "week": "7 days", "month": "30 days"}
_BEFORE = {
    "hour": "the hour before",
    "day": "the 24 hours before",
    "week": "the 7 days before",
    "month": "the 30 days before",
    "custom": "the time before",
}
#: How full a limit is before it is called close.
CLOSE = 0.8


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in large."""

    kind: str
    label: str
    value: str
    hint: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list of bars."""

    name: str
    value: str
    note: str
    bar: Markup
    flag: str = ""


def present(found: Figures) -> dict[str, Any]:
    """Return what the template of the dashboard is rendered with."""
    period = found.question.period
    chosen = [g for g in GROUPS if _is_chosen(found.question.outcome, g)]
    return {
        "shared": found.shared,
        "since": human.moment(period.since),
        "until": human.moment(period.until),
        "unfinished": period.until > found.now,
        "tiles": _tiles(found, chosen),
        "groups": [(g, *GROUP_TEXTS[g]) for g in chosen],
        "token_chart": _token_chart(found, chosen),
        "token_rows": [
            (human.step(start, period.step), [step[g] for g in chosen])
            for start, step in found.token_steps.items()
        ],
        "refusals": _refusals(found),
        "session_chart": _session_chart(found),
        "session_rows": [
            (human.step(start, period.step), [n]) for start, n in found.session_steps.items()
        ],
        "sessions": _sum(found.personas, "sessions"),
        "personas": _personas(found),
        **_lengths(found),
        "talkers": _talkers(found),
        "limits": _limits(found),
        "nearest": _nearest(found),
        "running": [
            (one.user_id, one.persona_type, human.length(found.now - (one.started_at or found.now)))
            for one in found.running[:SHOWN]
        ],
        "running_more": human.number(max(0, len(found.running) - SHOWN)),
        "running_count": len(found.running),
        "nothing": not found.tokens and not any(one.tokens for one in found.personas),
    }


def _is_chosen(outcome: str | None, group: str) -> bool:
    return outcome in {None, group} or (outcome not in GROUPS and group_of(str(outcome)) == group)


def _tiles(found: Figures, chosen: Sequence[str]) -> list[Tile]:
    name = found.question.period.name
    now, before = found.groups(), found.groups(before=True)
    tiles = [
        Tile(g, label, human.number(now[g]), hint, _change(now[g], before[g], name))
        for g in chosen
        for label, hint in [GROUP_TEXTS[g]]
    ]
    sessions = _sum(found.personas, "sessions")
    seconds = sum(one.seconds for one in found.personas)
    median, ended = found.lengths.quantile(0.5), found.lengths.ended
    mean = human.length(seconds / ended) if ended else ""
    active = human.number(len(found.running)) + ("+" if len(found.running) == READ else "")
    return [
        *tiles,
        Tile(
            "session",
            "Conversations",
            human.number(sessions),
            "were started",
            _change(sessions, _sum(found.personas_before, "sessions"), name),
        ),
        Tile("session", "Active now", active, "at this moment"),
        Tile(
            "session",
            "Median length",
            human.length(median),
            f"mean {mean}" if mean else "of those that ended",
        ),
        Tile(
            "session",
            "Talked in all",
            human.talked(seconds),
            f"in {human.number(ended)} that ended",
            _change(seconds, sum(one.seconds for one in found.personas_before), name),
        ),
    ]


def _change(now: float, before: float, name: str) -> str:
    if not before:
        return ""
    share = now / before - 1
    if abs(share) < 0.005:
        return f"as in {_BEFORE[name]}"
    if share > 9.99:
        return f"{now / before:,.0f} times {_BEFORE[name]}"
    return f"{'+' if share > 0 else '−'}{human.percent(abs(share))} on {_BEFORE[name]}"  # noqa: RUF001 - a minus


def _token_chart(found: Figures, chosen: Sequence[str]) -> Markup | None:
    if not found.tokens:
        return None
    period = found.question.period
    bars = [
        charts.Bar(
            f"{human.step(start, period.step)}: "
            + ", ".join(f"{human.number(step[g])} {g}" for g in chosen),
            [(g, step[g]) for g in chosen],
            unfinished=start + period.step > found.now,
        )
        for start, step in found.token_steps.items()
    ]
    sums = found.groups()
    told = ", ".join(f"{human.number(sums[g])} {g}" for g in chosen)
    ticks = charts.time_ticks(list(found.token_steps), period.step)
    return charts.columns(bars, ticks, f"Bars of tokens over time. In all: {told}.")


def _session_chart(found: Figures) -> Markup | None:
    if not _sum(found.personas, "sessions"):
        return None
    period = found.question.period
    bars = [
        charts.Bar(
            f"{human.step(start, period.step)}: {_counted(number, 'conversation')}",
            [("session", number)],
            unfinished=start + period.step > found.now,
        )
        for start, number in found.session_steps.items()
    ]
    most = max(found.session_steps.values())
    ticks = charts.time_ticks(list(found.session_steps), period.step)
    label = f"Bars of conversations over time, at most {human.number(most)} in one bar."
    return charts.columns(bars, ticks, label)


def _lengths(found: Figures) -> dict[str, Any]:
    width, numbers, longer = found.lengths.bars()
    if not numbers:
        return {"length_chart": None, "length_rows": [], "longer": "", "most_within": ""}
    names = [
        f"{human.length(n * width) if n else '0'} to {human.length((n + 1) * width)}"
        for n in range(len(numbers))
    ]
    median = found.lengths.quantile(0.5) or 0.0
    told = f"median {human.length(median)}"
    bars = [
        charts.Bar(f"{name}: {_counted(number, 'conversation')}", [("session", number)])
        for name, number in zip(names, numbers, strict=True)
    ]
    ends = len(numbers) * width
    more = f"{human.number(longer)} lasted longer than {human.length(ends)}." if longer else ""
    label = f"Bars of how long conversations lasted, {told}. {more}".rstrip()
    return {
        "length_chart": charts.columns(
            bars,
            charts.length_ticks(width, len(numbers)),
            label,
            charts.Mark(median / ends, told),
            gap=0.03,
        ),
        "length_rows": [(name, [n]) for name, n in zip(names, numbers, strict=True)]
        + ([(f"longer than {human.length(ends)}", [longer])] if longer else []),
        "longer": more,
        "most_within": human.length(found.lengths.quantile(0.9)),
    }


def _personas(found: Figures) -> list[Row]:
    most = max((one.sessions for one in found.personas), default=0)
    ended = {one.persona_type: one.seconds / one.ended for one in found.personas if one.ended}
    rows = []
    for one in found.personas:
        mean = ended.get(one.persona_type)
        note = f"{human.talked(one.seconds)} in all"
        if mean is not None:
            note = f"{human.length(mean)} on average, {note}"
        title = f"{one.persona_type}: {_counted(one.sessions, 'conversation')}, {note}"
        bar = charts.row([("session", one.sessions)], most, title)
        rows.append(Row(one.persona_type, human.number(one.sessions), note, bar))
    return rows


def _refusals(found: Figures) -> list[Row]:
    codes, texts = found.refusals(), meanings()
    most = max((number for _, number in codes), default=0)
    return [
        Row(
            code,
            human.number(number),
            texts.get(code, "An error code of another release."),
            charts.row([(group_of(code), number)], most, f"{code}: {_counted(number, 'time')}"),
            group_of(code),
        )
        for code, number in codes
    ]


def _talkers(found: Figures) -> list[Row]:
    most = max((one.seconds[0] for one in found.talkers), default=0.0)
    return [
        Row(
            _user(one),
            human.talked(one.seconds[0]),
            "",
            charts.row(
                [("session", one.seconds[0])],
                most,
                f"{_user(one)}: {human.talked(one.seconds[0])}",
            ),
        )
        for one in found.talkers
    ]


def _limits(found: Figures) -> str:
    """Return the limits as a sentence; empty where there are none."""
    told = [
        f"{human.talked(window.seconds)} in the window since {human.moment(window.since)}"
        for window in found.windows
    ]
    if found.at_once is not None:
        told.append(f"{_counted(found.at_once, 'conversation')} at once")
    return " and ".join(told)


def _nearest(found: Figures) -> list[Row]:
    rows = []
    for one in found.nearest:
        parts = [
            f"{human.talked(had)} of {human.talked(window.seconds)}"
            for had, window in zip(one.seconds, found.windows, strict=True)
        ]
        if found.at_once is not None:
            parts.append(f"{one.running} of {found.at_once} at once")
        flag = "full" if one.share >= 1 else "close" if one.share >= CLOSE else "fine"
        value, note = human.percent(one.share), ", ".join(parts)
        bar = charts.row([(flag, min(1.0, one.share))], 1.0, f"{_user(one)}: {value}, {note}")
        rows.append(Row(_user(one), value, note, bar, flag))
    return rows


def _user(one: UserUse) -> str:
    return "without a user" if one.user_id is None else one.user_id


def _sum(totals: Sequence[Totals], field: str) -> int:
    return sum(int(getattr(one, field)) for one in totals)


def _counted(number: int, what: str) -> str:
    return f"{human.number(number)} {what}{'' if number == 1 else 's'}"
