"""Days as a busy site would have them, made up the same way each time: for tests and pictures."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Self

from sqlalchemy import insert

from flask_anam.core.usage import sql_tables
from flask_anam.core.usage.records import COUNT_BUCKET, CountKey, SessionRecord
from flask_anam.core.usage.sql_store import SqlSessionStore
from flask_anam.core.usage.store import SessionStore

#: A Tuesday, 16:40 UTC.
NOW = 1_784_047_200.0
DAY = 86400
#: Persona type: its share, the usual length in seconds, and how much lengths differ.
PERSONAS = {
    "support": (0.56, 210, 0.75),
    "guide": (0.27, 420, 0.6),
    "coach": (0.14, 780, 0.45),
    "interview": (0.03, 1080, 0.3),
}
#: Hours (UTC) around which people come, how wide, and how many of them.
PEAKS = ((10.2, 2.0, 1.0), (15.1, 2.3, 1.2), (20.0, 1.5, 0.5))
MAX_SECONDS, USERS = 1800, 2400


@dataclass
class Made:
    """What was put into a store, to compare with what comes out."""

    records: list[SessionRecord]
    counts: Counter[CountKey]

    def __iadd__(self, other: Made) -> Self:
        self.records += other.records
        self.counts += other.counts
        return self


def busy_days(*, now: float = NOW, sessions: int = 5000, days: int = 1, seed: int = 7) -> Made:
    """Make up days that end now, each with so many sessions; earlier ones had a little fewer."""
    dice = random.Random(seed)
    made = Made([], Counter())
    for day in reversed(range(days)):
        share = 0.93**day if day < 7 else 0.6
        made += _day(dice, now - day * DAY, round(sessions * share), now)
    made.records.sort(key=lambda record: record.minted_at)
    return made


def fill(store: SessionStore, made: Made) -> None:
    """Put what was made up into a store."""
    if isinstance(store, SqlSessionStore):  # one by one would take a minute
        rows = [asdict(record) for record in made.records]
        for row in rows:
            del row["id"]
        with store._database.writing() as connection:
            connection.execute(insert(sql_tables.sessions), rows)
            keys = ("start", "persona_type", "outcome")
            counted = [
                {**dict(zip(keys, k, strict=True)), "number": n} for k, n in made.counts.items()
            ]
            connection.execute(insert(sql_tables.counts), counted)
        return
    for record in made.records:
        store.add(record)
    store.count(made.counts)


def _day(dice: random.Random, end: float, sessions: int, now: float) -> Made:
    made = Made([], Counter())
    begun = 0
    while begun < sessions:
        at = _moment(dice, end)
        persona = dice.choices(list(PERSONAS), [share for share, _, _ in PERSONAS.values()])[0]
        _count(made, at, persona, "minted")
        for outcome, chance in (("reused", 0.24), ("replayed", 0.03), ("stale", 0.002)):
            if dice.random() < chance:
                _count(made, at, persona, outcome)
        trouble = end - 3 * 3600 < at < end - 2.4 * 3600  # half an hour in which Anam was slow
        for code, chance in (
            ("rate_limited", 0.017),
            ("minutes_exhausted", 0.008),
            ("too_many_sessions", 0.006),
            ("anam_rate_limited", 0.16 if trouble else 0.001),
            ("anam_timeout", 0.21 if trouble else 0.002),
            ("anam_unavailable", 0.06 if trouble else 0.0008),
        ):
            if dice.random() < chance:
                _count(made, at, persona, code)
        made.records.append(_record(dice, at, persona, len(made.records), now))
        begun += made.records[-1].started_at is not None
    return made


def _moment(dice: random.Random, end: float) -> float:
    """Return a moment of the day before `end`, more likely when people are awake."""
    while True:
        at = end - dice.random() * DAY
        hour = at % DAY / 3600
        likely = 0.03 + sum(
            height * math.exp(-(((hour - middle) / wide) ** 2)) for middle, wide, height in PEAKS
        )
        if dice.random() * 1.3 < likely:
            return round(at, 3)


def _record(dice: random.Random, at: float, persona: str, number: int, now: float) -> SessionRecord:
    _, usual, spread = PERSONAS[persona]
    user = f"user-{1 + int(USERS * dice.random() ** 1.2):04}"
    record = SessionRecord(
        label=f"label-{int(at)}-{number}",
        token_id=f"{dice.getrandbits(64):016x}",
        user_id=user,
        persona_type=persona,
        minted_at=at,
        expires_at=at + 3600,
        max_seconds=MAX_SECONDS,
    )
    if dice.random() < 0.06:  # never started
        return record
    started = at + dice.uniform(0.5, 4)
    if started > now:
        return record
    seconds = round(min(MAX_SECONDS, dice.lognormvariate(math.log(usual), spread)), 1)
    record = replace(
        record,
        session_id=f"{dice.getrandbits(128):032x}",
        started_at=started,
        source="report",
    )
    if started + seconds > now or dice.random() < 0.012:  # still under way, or its end never came
        return record
    return replace(record, ended_at=started + seconds, seconds=seconds, exit_status="completed")


def _count(made: Made, at: float, persona: str, outcome: str) -> None:
    made.counts[int(at // COUNT_BUCKET * COUNT_BUCKET), persona, outcome] += 1
