"""What is measured with servers: reused tokens, a cold herd, and a mixed day."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.load import Ask, crowd, run
from benchmarks.processes import cpu_seconds, memory
from benchmarks.stage import Running, Stage

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured; times in seconds.

    Attributes:
        servers: whose contenders are measured.
        rounds: how often each contender has its turn.
        seconds: of load in each turn.
        crowd: callers of the herd.
        growth: users up to which growth is measured.
        tokens: of which the memory is measured.
        repeats: of what is measured in a process of its own.

    """

    servers: tuple[str, ...]
    rounds: int
    seconds: float
    crowd: int = 200
    growth: int
    tokens: int
    repeats: int


FULL = Size(
    servers=("gunicorn", "granian", "waitress", "node"),
    rounds=5,
    seconds=3,
    growth=100_000,
    tokens=100_000,
    repeats=7,
)
SHORT = Size(
    servers=("granian", "node"), rounds=2, seconds=1, growth=1_000, tokens=10_000, repeats=1
)

#: Connections that ask all the time, and users that take turns.
CONNECTIONS, USERS = 32, 100
#: Seconds that a mint takes at Anam: for a herd, and on a mixed day.
HERD_LATENCY, DAY_LATENCY = 0.3, 0.1
#: One in so many requests of a mixed day needs a new token.
ONE_IN = 10

_fresh = count(1)


def reused(stage: Stage, size: Size, log: Any) -> list[Row]:
    """Measure answers from stored tokens: everybody has one, all the time."""
    stage.upstream(0)
    users = [f"user-{number}" for number in range(USERS)]
    rows: list[tuple[Running, list[Ask], Row]] = []
    for running in _started(stage, contenders.reused(size.servers), users, log):
        row = _row(running.contender)
        rows.append((running, running.asks(users, "persona-0", "tab"), row))
        if running.contender.app == "ours" and running.contender.server == "granian":
            without = {**_row(running.contender), "slot": False}
            rows.append((running, running.asks(users, "persona-0"), without))
    for running, asks, _ in rows:
        run(running.port, asks, 1, CONNECTIONS)
    for turn in range(size.rounds):
        log(f"reused tokens, round {turn + 1} of {size.rounds}")
        for running, asks, row in rows:
            _measure(stage, running, asks, size.seconds, row)
    return [row for *_, row in rows]


def mixed(stage: Stage, size: Size, log: Any) -> list[Row]:
    """Measure a day on which one request in ten needs a new token."""
    users = [f"user-{number}" for number in range(USERS)]
    started = list(_started(stage, contenders.mixed(size.servers), users, log))
    rows = [(running, _row(running.contender)) for running in started]
    stage.upstream(DAY_LATENCY)
    for running, _ in rows:
        run(running.port, running.asks(users, "persona-0", "tab"), 1, CONNECTIONS)
    for turn in range(size.rounds):
        log(f"mixed day, round {turn + 1} of {size.rounds}")
        for running, row in rows:
            asks = _mixed_asks(running, users, int(6000 * size.seconds))
            _measure(stage, running, asks, size.seconds, row, connections=2 * CONNECTIONS)
    stage.upstream(0)
    return [row for _, row in rows]


def herd(stage: Stage, size: Size, log: Any) -> list[Row]:
    """Measure a crowd that asks at the same moment, when nothing is stored."""
    users = [f"user-{number}" for number in range(size.crowd)]
    started = list(_started(stage, contenders.herd(size.servers), users, log))
    rows: list[Row] = [
        {**_row(running.contender), "kind": kind, "calls": [], "last": [], "answered": []}
        for running in started
        for kind in ("one key", "all different")
    ]
    stage.upstream(HERD_LATENCY)
    for turn in range(size.rounds):
        log(f"cold herd, round {turn + 1} of {size.rounds}")
        for number, running in enumerate(started):
            for row in rows[2 * number : 2 * number + 2]:
                persona = f"persona-{next(_fresh)}"
                who = users[:1] * size.crowd if row["kind"] == "one key" else users
                stage.upstream(HERD_LATENCY)
                seen = crowd(running.port, running.asks(who, persona, "herd"))
                row["calls"].append(stage.upstream(HERD_LATENCY))
                row["last"].append(seen.last)
                row["answered"].append(seen.answered)
    stage.upstream(0)
    return rows


def _started(
    stage: Stage, wanted: Sequence[Contender], users: Sequence[str], log: Any
) -> Iterator[Running]:
    for contender in wanted:
        if reason := contender.missing():
            log(f"{contender.label} is left out: {reason}")
            continue
        log(f"starting {contender.label}, {contender.stores}")
        yield stage.start(contender, users)


def _row(contender: Contender) -> Row:
    return {
        "app": contender.app,
        "server": contender.server,
        "label": contender.label,
        "stores": contender.stores,
        "cache": contender.cache,
        "limits": contender.limits,
        "workers": contender.workers,
        "threads": contender.threads,
        "slot": True,
    }


def _measure(
    stage: Stage,
    running: Running,
    asks: Sequence[Ask],
    seconds: float,
    row: Row,
    connections: int = CONNECTIONS,
) -> None:
    """Run one load and add what was seen to each list of a row."""
    cpu, (commands, reads) = cpu_seconds(running.pid), stage.redis_work()
    told = run(running.port, asks, seconds, connections)
    cpu_after, (commands_after, reads_after) = cpu_seconds(running.pid), stage.redis_work()
    calls = stage.upstream(DAY_LATENCY if connections > CONNECTIONS else 0)
    done = max(told.requests, 1)
    seen = {
        "rps": told.requests / told.seconds,
        "cpu_us": (cpu_after - cpu) / done * 1e6,
        "p50_ms": told.p50,
        "p99_ms": told.p99,
        "errors": told.errors,
        "redis_commands": (commands_after - commands) / done,
        "redis_trips": (reads_after - reads) / done,
        "upstream_calls": calls / done,
        "memory_mb": memory(running.pid)[0],
    }
    for name, value in seen.items():
        row.setdefault(name, []).append(value)


def _mixed_asks(running: Running, users: Sequence[str], number: int) -> list[Ask]:
    """Return requests of which one in ten is for a persona that its user has no token of."""
    asks = []
    persona = next(_fresh)
    for position in range(number):
        user = users[position % len(users)]
        if position % ONE_IN == ONE_IN - 1:
            if position % (ONE_IN * len(users)) == ONE_IN - 1:
                persona = next(_fresh)
            body = {"personaType": f"persona-{persona % 1000}", "slot": f"day-{persona}"}
            user = users[position // ONE_IN % len(users)]
        else:
            body = {"personaType": "persona-0", "slot": "tab"}
        asks.append((running.cookies[user], json.dumps(body)))
    return asks
