"""What a dashboard shows, asked of a session store in a number of queries that never grows.

Two sources: the counts of tokens (minted, reused, error codes) and the session records (who,
which persona, how long). Both belong to the time at which a token was asked for or made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from flask_anam.core.usage.periods import Period
from flask_anam.core.usage.quotas import Quota, Window
from flask_anam.core.usage.records import SessionRecord, Totals, UsageQuery
from flask_anam.core.usage.store import SessionStore
from flask_anam.errors import AnamError, RequestError

#: How asking for a token can end, in the order of every chart.
GROUPS = ("minted", "reused", "refused", "failed")
_REUSED = {"reused", "replayed", "stale"}
#: Users shown at most; running sessions read at most, and rows of user and persona.
SHOWN, READ, READ_USERS = 10, 1000, 10_000
#: A step that swallows all of a period at once.
_WHOLE = 300 * 10**9
#: Steps in which lengths are counted, in seconds: fine where conversations are short.
EDGES = tuple(
    float(edge)
    for start, stop, step in (
        (15, 300, 15),
        (300, 600, 30),
        (600, 3600, 60),
        (3600, 7200, 300),
        (7200, 14401, 600),
    )
    for edge in range(start, stop, step)
)
#: Widths of a bar of the histogram, and how many bars there are at most.
_WIDTHS, _MOST_BARS = (15, 30, 60, 120, 300, 600), 24


def _kinds(base: type[AnamError]) -> Iterator[type[AnamError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def group_of(outcome: str) -> str:
    """Return which of `GROUPS` an outcome belongs to.

    A refusal is ours and the caller's business: a limit, a permission, a wrong request. All
    else that is no token is a failure.
    """
    if outcome == "minted":
        return "minted"
    if outcome in _REUSED:
        return "reused"
    return "refused" if outcome in _refusals() else "failed"


@cache
def _refusals() -> frozenset[str]:
    return frozenset(kind.code for kind in _kinds(RequestError))


def meanings() -> dict[str, str]:
    """Return error code to the sentence that says what it means."""
    # The code of a base class is that of its most common kind, which comes later and wins.
    return {kind.code: kind.default_text for kind in _kinds(AnamError)}


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What somebody wants to see.

    Attributes:
        period: the time.
        persona_type: only this persona, or None.
        outcome: only tokens that came out so: one of `GROUPS`, an outcome, an error code or None.

    """

    period: Period
    persona_type: str | None = None
    outcome: str | None = None

    def wanted(self, *, before: bool = False) -> UsageQuery:
        """Return the records of the period, or of the time before it that is as long."""
        since, until = self.period.before() if before else (self.period.since, self.period.until)
        return UsageQuery(since=since, until=until, persona_type=self.persona_type)

    def asks_for(self, outcome: str) -> bool:
        """Whether an outcome is to be seen."""
        return self.outcome in {None, outcome, group_of(outcome)}


@dataclass(frozen=True, slots=True)
class DurationHistogram:
    """How long conversations lasted: how many per step of `EDGES`, and one for longer ones."""

    steps: tuple[int, ...]

    @property
    def ended(self) -> int:
        """How many have ended."""
        return sum(self.steps)

    def quantile(self, share: float) -> float | None:
        """Return the seconds within which this share of them ended, right to within a step."""
        left = self.ended * share
        for number, found in enumerate(self.steps):
            if found and found >= left:
                low = EDGES[number - 1] if number else 0.0
                high = EDGES[number] if number < len(EDGES) else low
                return low + (high - low) * left / found
            left -= found
        return None

    def bars(self) -> tuple[int, list[int], int]:
        """Return seconds of a bar, how many in each, and how many lasted longer than all bars."""
        if not self.ended:
            return _WIDTHS[0], [], 0
        reach = self.quantile(0.98) or 0.0
        width = next((one for one in _WIDTHS if reach <= one * _MOST_BARS), _WIDTHS[-1])
        last = max(number for number, found in enumerate(self.steps) if found)
        top = EDGES[last] if last < len(EDGES) else EDGES[-1]
        bars = [0] * min(_MOST_BARS, -(-int(top) // width))
        longer = 0
        for number, found in enumerate(self.steps):
            bar = -(-int(EDGES[number]) // width) - 1 if number < len(EDGES) else len(bars)
            if bar < len(bars):
                bars[bar] += found
            else:
                longer += found
        return width, bars, longer


@dataclass(frozen=True, slots=True)
class UserUse:
    """What one user has had.

    Attributes:
        user_id: as it is stored; None for tokens made without a user.
        seconds: talked, in each window of the minutes limit; of the period where there is none.
        running: sessions that run now.
        share: how full the user's fullest limit is, 1.0 being full; 0.0 without limits.

    """

    user_id: str | None
    seconds: tuple[float, ...]
    running: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """The answer to a `ReportQuery`.

    Attributes:
        query: what was asked.
        shared: whether the store knows of all workers, and of the time before their start.
        tokens: how often each outcome came about.
        tokens_before: the same in the time before that is as long.
        token_steps: start of a step to how often each of `GROUPS` came about in it.
        personas: totals per persona, most sessions first.
        personas_before: totals per persona in the time before.
        session_steps: start of a step to how many sessions started.
        durations: how long ended sessions lasted.
        running: sessions that run now, oldest first, whatever the period.
        top_users: who talked most in the period.
        users_near_limit: who is nearest to a limit now, whatever the period and persona; empty
            without limits.
        windows: of the minutes limit, now.
        max_concurrent: how many sessions a user may have at once, or None.
        now: Unix seconds of the answer.

    """

    query: ReportQuery
    shared: bool
    tokens: Counter[str]
    tokens_before: Counter[str]
    token_steps: dict[int, Counter[str]]
    personas: list[Totals]
    personas_before: list[Totals]
    session_steps: dict[int, int]
    durations: DurationHistogram
    running: list[SessionRecord]
    top_users: list[UserUse]
    users_near_limit: list[UserUse]
    windows: tuple[Window, ...]
    max_concurrent: int | None
    now: float

    def groups(self, *, before: bool = False) -> Counter[str]:
        """Return how often each of `GROUPS` came about."""
        sums: Counter[str] = Counter()
        for outcome, number in (self.tokens_before if before else self.tokens).items():
            sums[group_of(outcome)] += number
        return sums

    def refusals(self) -> list[tuple[str, int]]:
        """Return error codes and how often each came about, most often first."""
        codes = {o: n for o, n in self.tokens.items() if group_of(o) in {"refused", "failed"}}
        return sorted(codes.items(), key=lambda one: (-one[1], one[0]))


def build_report(store: SessionStore, query: ReportQuery, quota: Quota) -> UsageReport:
    """Ask the store for all figures; raises what the store raises."""
    which, before = query.wanted(), query.wanted(before=True)
    step = query.period.step
    tokens: Counter[str] = Counter()
    token_steps = {start: Counter[str]() for start in query.period.starts()}
    for count in store.counts(which, step):
        if query.asks_for(count.outcome):
            tokens[count.outcome] += count.number
            token_steps[count.start][group_of(count.outcome)] += count.number
    tokens_before: Counter[str] = Counter()
    for count in store.counts(before, _WHOLE):
        if query.asks_for(count.outcome):
            tokens_before[count.outcome] += count.number
    found = store.totals_by_interval(which, step)
    session_steps = dict.fromkeys(query.period.starts(), 0)
    for part in found:
        session_steps[part.start] += part.sessions
    everybody = store.running(quota.now, limit=READ)
    return UsageReport(
        query=query,
        shared=store.shared,
        tokens=tokens,
        tokens_before=tokens_before,
        token_steps=token_steps,
        personas=_by_persona(found),
        personas_before=_by_persona(store.totals_by_interval(before, _WHOLE)),
        session_steps=session_steps,
        durations=DurationHistogram(tuple(store.duration_histogram(which, EDGES))),
        running=[r for r in everybody if query.persona_type in {None, r.persona_type}],
        top_users=_top_users(store.per_user(which, limit=READ_USERS)),
        users_near_limit=_users_near_limit(store, quota, everybody),
        windows=quota.windows,
        max_concurrent=quota.max_concurrent,
        now=quota.now,
    )


def _by_persona(found: Iterable[Totals]) -> list[Totals]:
    sums: dict[str, Totals] = {}
    for one in found:
        old = sums.get(one.persona_type, Totals(0, None, one.persona_type, 0, 0, 0, 0.0))
        sums[one.persona_type] = Totals(
            0,
            None,
            one.persona_type,
            old.tokens + one.tokens,
            old.sessions + one.sessions,
            old.ended + one.ended,
            old.seconds + one.seconds,
        )
    return sorted(sums.values(), key=lambda one: (-one.sessions, -one.tokens, one.persona_type))


def _top_users(found: Iterable[Totals]) -> list[UserUse]:
    sums: dict[str | None, float] = defaultdict(float)
    for one in found:
        sums[one.user_id] += one.seconds
    most = sorted(sums.items(), key=lambda one: (-one[1], one[0] or ""))
    return [UserUse(user, (seconds,), 0, 0.0) for user, seconds in most[:SHOWN] if seconds]


def _users_near_limit(
    store: SessionStore, quota: Quota, everybody: Iterable[SessionRecord]
) -> list[UserUse]:
    """Return who has least left: what has been talked counts, and what is being talked."""
    if not quota.windows and quota.max_concurrent is None:
        return []
    now_running = [one for one in everybody if one.user_id is not None]
    running = Counter(str(one.user_id) for one in now_running)
    in_windows = [_used(store, window, quota.now, now_running) for window in quota.windows]
    found = []
    for user_id in {*running, *(user for used in in_windows for user in used)}:
        had = tuple(used[user_id] for used in in_windows)
        shares = [h / w.seconds for h, w in zip(had, quota.windows, strict=True) if w.seconds]
        if quota.max_concurrent:
            shares.append(running[user_id] / quota.max_concurrent)
        found.append(UserUse(user_id, had, running[user_id], max(shares, default=0.0)))
    found.sort(key=lambda one: (-one.share, -sum(one.seconds), one.user_id or ""))
    return [one for one in found if one.share > 0][:SHOWN]


def _used(
    store: SessionStore, window: Window, now: float, running: Iterable[SessionRecord]
) -> dict[str, float]:
    """Return the seconds that each user has talked in a window so far."""
    seconds: dict[str, float] = defaultdict(float)
    for one in store.per_user(UsageQuery(since=window.since), limit=READ_USERS):
        if one.user_id is not None:
            seconds[one.user_id] += one.seconds
    for record in running:
        if record.minted_at >= window.since:
            so_far = max(0.0, now - (record.started_at or now))
            seconds[str(record.user_id)] += min(so_far, record.max_seconds or so_far)
    return seconds
