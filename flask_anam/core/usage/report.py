"""Usage report: what the dashboard shows, read from a session store in a fixed number of queries.

There are two sources: the counts of token requests (minted, reused, error codes) and the session
records (who, which persona, how long). Both belong to the time of the request for the token.
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

#: Groups of outcomes of a request for a token, in the order of every chart.
GROUPS = ("minted", "reused", "refused", "failed")
_REUSED = {"reused", "replayed", "stale"}
#: Upper limit of users in a list.
MAX_USERS_SHOWN = 10
#: Upper limit of running sessions that are read.
MAX_RUNNING_READ = 1000
#: Upper limit of totals of user and persona that are read.
MAX_TOTALS_READ = 10_000
#: Seconds of an interval that holds every period.
_WHOLE = 300 * 10**9
#: Upper bounds of the buckets of durations, in seconds: narrow where conversations are short.
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
#: Seconds that a bar of the histogram may stand for.
_BAR_WIDTHS = (15, 30, 60, 120, 300, 600)
#: Upper limit of bars of the histogram.
_MAX_BARS = 24


def _kinds(base: type[AnamError]) -> Iterator[type[AnamError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def group_of(outcome: str) -> str:
    """Return which of `GROUPS` an outcome belongs to.

    A request is refused by this app and for reasons of the caller: a limit, a permission, wrong
    input. Every other error is a failure.
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
    """Return the sentence that explains each error code."""
    # A base class has the code of its most common subclass, which comes later and wins.
    return {kind.code: kind.default_text for kind in _kinds(AnamError)}


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """Query: what a report covers.

    Attributes:
        period: the time.
        persona_type: only this persona, or None.
        outcome: only requests with this outcome (one of `GROUPS`, an outcome or an error code), or
            None.

    """

    period: Period
    persona_type: str | None = None
    outcome: str | None = None

    def usage_query(self, *, before: bool = False) -> UsageQuery:
        """Return the filter of the period, or of the preceding period of equal length."""
        since, until = self.period.before() if before else (self.period.since, self.period.until)
        return UsageQuery(since=since, until=until, persona_type=self.persona_type)

    def includes(self, outcome: str) -> bool:
        """Whether an outcome belongs to the report."""
        return self.outcome in {None, outcome, group_of(outcome)}


@dataclass(frozen=True, slots=True)
class DurationHistogram:
    """Histogram: the number of ended sessions per bucket of `EDGES`, the last for longer ones."""

    buckets: tuple[int, ...]

    @property
    def ended(self) -> int:
        """Number of ended sessions."""
        return sum(self.buckets)

    def quantile(self, share: float) -> float | None:
        """Return the quantile in seconds, exact to a bucket; None without ended sessions.

        Args:
            share: of 1.0, so that 0.5 is the median.

        """
        left = self.ended * share
        for index, count in enumerate(self.buckets):
            if count and count >= left:
                low = EDGES[index - 1] if index else 0.0
                high = EDGES[index] if index < len(EDGES) else low
                return low + (high - low) * left / count
            left -= count
        return None

    def bars(self) -> tuple[int, list[int], int]:
        """Return the seconds per bar, the sessions in each, and those longer than the last bar."""
        if not self.ended:
            return _BAR_WIDTHS[0], [], 0
        reach = self.quantile(0.98) or 0.0
        width = next((w for w in _BAR_WIDTHS if reach <= w * _MAX_BARS), _BAR_WIDTHS[-1])
        last = max(index for index, count in enumerate(self.buckets) if count)
        top = EDGES[last] if last < len(EDGES) else EDGES[-1]
        bars = [0] * min(_MAX_BARS, -(-int(top) // width))
        longer = 0
        for index, count in enumerate(self.buckets):
            bar = -(-int(EDGES[index]) // width) - 1 if index < len(EDGES) else len(bars)
            if bar < len(bars):
                bars[bar] += count
            else:
                longer += count
        return width, bars, longer


@dataclass(frozen=True, slots=True)
class UserUse:
    """Usage of one user.

    Attributes:
        user_id: as it is stored; None for tokens made without a user.
        seconds: of conversation, in each window of the minutes limit; without one in the period.
        running: number of sessions that run now.
        share: of the limit that is used most, 1.0 when it is reached; 0.0 without limits.

    """

    user_id: str | None
    seconds: tuple[float, ...]
    running: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """Usage report: the answer to a `ReportQuery`.

    Attributes:
        query: what the report covers.
        shared: whether the store has the records of all workers, and those from before their start.
        tokens: number of requests for tokens by outcome.
        tokens_before: the same in the preceding period of equal length.
        token_steps: start of a step to the number of requests by group of `GROUPS`.
        personas: totals per persona, most sessions first.
        personas_before: totals per persona in the preceding period.
        session_steps: start of a step to the number of sessions started.
        durations: of ended sessions.
        running: sessions that run now, oldest first, whatever the period.
        top_users: users with most seconds in the period.
        users_near_limit: users nearest to a limit now, whatever the period and persona; empty
            without limits.
        windows: of the minutes limit, now.
        max_concurrent: upper limit of sessions that a user may have at once, or None.
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
        """Return the number of requests by group of `GROUPS`."""
        sums: Counter[str] = Counter()
        for outcome, number in (self.tokens_before if before else self.tokens).items():
            sums[group_of(outcome)] += number
        return sums

    def refusals(self) -> list[tuple[str, int]]:
        """Return error codes and the number of requests with each, most frequent first."""
        codes = {o: n for o, n in self.tokens.items() if group_of(o) in {"refused", "failed"}}
        return sorted(codes.items(), key=lambda item: (-item[1], item[0]))


def build_report(store: SessionStore, query: ReportQuery, quota: Quota) -> UsageReport:
    """Return the report; raises what the store raises."""
    period, before = query.usage_query(), query.usage_query(before=True)
    step = query.period.step
    tokens: Counter[str] = Counter()
    token_steps = {start: Counter[str]() for start in query.period.starts()}
    for count in store.counts(period, step):
        if query.includes(count.outcome):
            tokens[count.outcome] += count.number
            token_steps[count.start][group_of(count.outcome)] += count.number
    tokens_before: Counter[str] = Counter()
    for count in store.counts(before, _WHOLE):
        if query.includes(count.outcome):
            tokens_before[count.outcome] += count.number
    totals = store.totals_by_interval(period, step)
    session_steps = dict.fromkeys(query.period.starts(), 0)
    for total in totals:
        session_steps[total.start] += total.sessions
    running = store.running(quota.now, limit=MAX_RUNNING_READ)
    return UsageReport(
        query=query,
        shared=store.shared,
        tokens=tokens,
        tokens_before=tokens_before,
        token_steps=token_steps,
        personas=_by_persona(totals),
        personas_before=_by_persona(store.totals_by_interval(before, _WHOLE)),
        session_steps=session_steps,
        durations=DurationHistogram(tuple(store.duration_histogram(period, EDGES))),
        running=[r for r in running if query.persona_type in {None, r.persona_type}],
        top_users=_top_users(store.totals_by_user(period, limit=MAX_TOTALS_READ)),
        users_near_limit=_users_near_limit(store, quota, running),
        windows=quota.windows,
        max_concurrent=quota.max_concurrent,
        now=quota.now,
    )


def _by_persona(totals: Iterable[Totals]) -> list[Totals]:
    sums: dict[str, Totals] = {}
    for total in totals:
        so_far = sums.get(total.persona_type, Totals(0, None, total.persona_type, 0, 0, 0, 0.0))
        sums[total.persona_type] = Totals(
            0,
            None,
            total.persona_type,
            so_far.tokens + total.tokens,
            so_far.sessions + total.sessions,
            so_far.ended + total.ended,
            so_far.seconds + total.seconds,
        )
    return sorted(
        sums.values(), key=lambda total: (-total.sessions, -total.tokens, total.persona_type)
    )


def _top_users(totals: Iterable[Totals]) -> list[UserUse]:
    sums: dict[str | None, float] = defaultdict(float)
    for total in totals:
        sums[total.user_id] += total.seconds
    most = sorted(sums.items(), key=lambda item: (-item[1], item[0] or ""))
    return [
        UserUse(user, (seconds,), 0, 0.0) for user, seconds in most[:MAX_USERS_SHOWN] if seconds
    ]


def _users_near_limit(
    store: SessionStore, quota: Quota, running: Iterable[SessionRecord]
) -> list[UserUse]:
    """Return the users with the least left; the seconds of running sessions count so far."""
    if not quota.windows and quota.max_concurrent is None:
        return []
    of_users = [record for record in running if record.user_id is not None]
    numbers = Counter(str(record.user_id) for record in of_users)
    in_windows = [_used(store, window, quota.now, of_users) for window in quota.windows]
    users = []
    for user_id in {*numbers, *(user for used in in_windows for user in used)}:
        seconds = tuple(used[user_id] for used in in_windows)
        shares = [s / w.seconds for s, w in zip(seconds, quota.windows, strict=True) if w.seconds]
        if quota.max_concurrent:
            shares.append(numbers[user_id] / quota.max_concurrent)
        users.append(UserUse(user_id, seconds, numbers[user_id], max(shares, default=0.0)))
    users.sort(key=lambda user: (-user.share, -sum(user.seconds), user.user_id or ""))
    return [user for user in users if user.share > 0][:MAX_USERS_SHOWN]


def _used(
    store: SessionStore, window: Window, now: float, running: Iterable[SessionRecord]
) -> dict[str, float]:
    """Return the seconds of conversation of each user in a window so far."""
    seconds: dict[str, float] = defaultdict(float)
    for total in store.totals_by_user(UsageQuery(since=window.since), limit=MAX_TOTALS_READ):
        if total.user_id is not None:
            seconds[total.user_id] += total.seconds
    for record in running:
        if record.minted_at >= window.since:
            so_far = max(0.0, now - (record.started_at or now))
            seconds[str(record.user_id)] += min(so_far, record.max_seconds or so_far)
    return seconds
