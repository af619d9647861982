"""Every store keeps the same promises: memory, SQLite, PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flask_anam.core.usage.quotas import Quota, Window
from flask_anam.core.usage.records import (
    GRACE,
    MAX_SESSIONS_PER_TOKEN,
    OutcomeCount,
    SessionRecord,
    Totals,
    UsageQuery,
)
from flask_anam.core.usage.store import SessionStore
from flask_anam.errors import MinutesExhausted, TooManySessions
from flask_anam.testing import ManualClock

Maker = Callable[..., SessionRecord]


def only(records: list[SessionRecord]) -> SessionRecord:
    """Return the one record that was records."""
    (record,) = records
    return record


def test_a_record_comes_back_as_it_was_stored(store: SessionStore, record: Maker) -> None:
    """Every field, unusual letters and case included."""
    whole = record(
        "Token-Id_16chars",
        user_id="Ädä 😀 'x'; --",
        session_id="s-1",
        account="a" * 43,
        slot="b" * 43,
        max_seconds=60,
        refused_at=1.5,
        started_at=2.25,
        ended_at=3.125,
        seconds=0.875,
        source="anam",
        exit_status="NORMAL_EXIT",
    )
    store.add(whole)
    stored = only(store.find(session_id="s-1"))
    assert stored.id > 0
    assert replace(stored, id=0) == whole
    assert store.find(token_id="token-id_16chars") == []
    assert store.find(token_id="Token-Id_16chars", user_id="ädä 😀 'x'; --") == []


def test_a_session_of_a_token_is_stored_once(store: SessionStore, record: Maker) -> None:
    """Adding the same token and session again changes nothing."""
    store.add(record("t", session_id="s", persona_type="first"))
    store.add(record("t", session_id="s", persona_type="second"))
    store.add(record("t", session_id="other"))
    assert only(store.find(session_id="s")).persona_type == "first"
    assert len(store.find(token_id="t")) == 2


def test_a_start_and_an_end_are_written_once(store: SessionStore, record: Maker) -> None:
    """The first report counts; later ones, and other ids for the same token, change nothing."""
    store.add(record("t"))
    begun = store.start("ada", "t", "s", 100.0)
    assert begun
    assert (begun.session_id, begun.started_at, begun.source) == ("s", 100.0, "report")
    assert store.start("ada", "t", "s", 150.0) is None
    assert store.start("ada", "t", "another", 150.0) is None
    over = store.end("ada", "s", 160.0)
    assert over
    assert (over.ended_at, over.seconds, over.source) == (160.0, 60.0, "report")
    assert store.end("ada", "s", 170.0) is None
    assert only(store.find(session_id="s")) == over


def test_only_the_owner_starts_and_ends(store: SessionStore, record: Maker) -> None:
    """Foreign and unknown reports change nothing."""
    store.add(record("t"))
    assert store.start("bob", "t", "s", 1.0) is None
    assert store.start("ada", "unknown", "s", 1.0) is None
    store.start("ada", "t", "s", 1.0)
    before = store.find(session_id="s")
    assert store.end("bob", "s", 2.0) is None
    assert store.end(None, "s", 2.0) is None
    assert store.end("ada", "unknown", 2.0) is None
    assert store.find(session_id="s") == before


def test_two_users_may_claim_one_session_id(store: SessionStore, record: Maker) -> None:
    """A forged id cannot keep the true report out, and each ends only what is theirs."""
    store.add(record("mine"))
    store.add(record("theirs", user_id="eve"))
    assert store.start("eve", "theirs", "s", 1.0)
    assert store.start("ada", "mine", "s", 2.0)
    assert store.end("eve", "s", 3.0)
    assert only(store.find(session_id="s", user_id="ada")).ended_at is None


@pytest.mark.slow
def test_ids_that_look_alike_are_told_apart(store: SessionStore, record: Maker) -> None:
    """Nobody is somebody else for a blank, a letter's case, or another spelling of it."""
    names = ["ada", "ada ", " ada", "Ada", "\u00e4da", "a\u0308da", "ada\t", "ada\u3000"]
    for number, name in enumerate(names):
        store.add(record(f"t{number}", user_id=name))
        assert store.start(name, f"t{number}", "s", 1.0)
    for name in names:
        assert only(store.find(session_id="s", user_id=name)).user_id == name
    assert store.end("ada ", "s", 2.0)
    ended = [r.user_id for r in store.find(session_id="s") if r.ended_at is not None]
    assert ended == ["ada "]


def test_a_token_that_may_be_used_again_gets_a_record_per_session(
    store: SessionStore, record: Maker
) -> None:
    """As many sessions as are reported, each once."""
    store.add(record("t"))
    for session in ("s1", "s2", "s2", "s3"):
        store.start("ada", "t", session, 5.0, again=True)
    assert [r.session_id for r in store.find(token_id="t")] == ["s1", "s2", "s3"]
    store.end("ada", "s1", 6.0)
    assert store.start("ada", "t", "s4", 7.0, again=True)
    assert only(store.find(session_id="s4")).ended_at is None


@pytest.mark.slow
def test_a_token_fills_no_store(store: SessionStore, record: Maker) -> None:
    """Invented session ids cost their inventor a hundred records, and nobody more."""
    store.add(record("t"))
    for number in range(MAX_SESSIONS_PER_TOKEN + 20):
        result = store.start("ada", "t", f"s{number}", 5.0, again=True)
        assert bool(result) is (number < MAX_SESSIONS_PER_TOKEN)
    assert len(store.find(token_id="t")) == MAX_SESSIONS_PER_TOKEN


def test_equal_reports_at_the_same_time_count_once(store: SessionStore, record: Maker) -> None:
    """None of them is an error, which would read as an outage."""
    store.add(record("t"))
    store.start("ada", "t", "first", 5.0, again=True)
    for number in range(20):
        with ThreadPoolExecutor(4) as pool:
            results = pool.map(
                lambda _, name: store.start("ada", "t", name, 6.0, again=True),
                range(4),
                [f"s{number}"] * 4,
            )
        assert len([result for result in results if result]) == 1
    assert len(store.find(token_id="t")) == 21


def test_a_session_is_never_longer_than_it_may_be(store: SessionStore, record: Maker) -> None:
    """A report that comes hours later, or before the start, does not make it so."""
    for name, at in (("late", 9000.0), ("early", 50.0)):
        store.add(record(name, max_seconds=300))
        store.start("ada", name, name, 100.0)
        store.end("ada", name, at)
    late, early = (only(store.find(session_id=name)) for name in ("late", "early"))
    assert (late.ended_at, late.seconds) == (400.0, 300.0)
    assert (early.ended_at, early.seconds) == (100.0, 0.0)


def quota(
    clock: ManualClock, minutes: float | None = None, max_concurrent: int | None = None
) -> Quota:
    """Return limits as of now; the window began an hour ago."""
    windows = (Window(clock.now - 3600, minutes * 60, 1800.0),) if minutes is not None else ()
    return Quota(clock.now, windows, max_concurrent)


def test_reserved_and_used_seconds_count_together(
    store: SessionStore, record: Maker, clock: ManualClock
) -> None:
    """What is left goes to the next one, rounded down; nothing left is refused until the end."""
    limit = quota(clock, minutes=10)
    assert store.reserve(record("a", max_seconds=240), limit).max_seconds == 240
    store.start("ada", "a", "a", clock.now - 100)
    store.end("ada", "a", clock.now - 9.5)
    assert store.reserve(record("b", max_seconds=300), limit).max_seconds == 300
    assert store.reserve(record("c", max_seconds=300), limit).max_seconds == 209
    with pytest.raises(MinutesExhausted) as caught:
        store.reserve(record("d"), limit)
    assert caught.value.retry_after == 1800.0
    assert store.find(token_id="d") == []
    assert store.reserve(record("d", user_id="bob"), limit).max_seconds == 600


@pytest.mark.parametrize("how", ["cancelled", "refused", "expired", "settled"])
def test_a_reservation_is_given_back(
    store: SessionStore, record: Maker, clock: ManualClock, how: str
) -> None:
    """When the mint fails, the token is refused, or has expired unused, or Anam knows nothing."""
    store.reserve(record("a", max_seconds=600), quota(clock, minutes=10, max_concurrent=1))
    if how == "cancelled":
        store.cancel("flask-anam.a")
    elif how == "refused":
        store.refuse("ada", "a", clock.now)
    elif how == "settled":
        store.change(only(store.find(token_id="a")).id, source="anam")
    else:
        clock.move(3600 + GRACE)
    later = replace(quota(clock, minutes=10, max_concurrent=1), windows=(Window(0.0, 600.0, 1.0),))
    assert store.reserve(record("b"), later).max_seconds == 600


def test_nothing_is_given_back_too_early(
    store: SessionStore, record: Maker, clock: ManualClock
) -> None:
    """Not by somebody else's refusal, nor after a start, nor just before the token's end."""
    limit = quota(clock, max_concurrent=1)
    store.reserve(record("a"), limit)
    store.refuse("bob", "a", clock.now)
    clock.move(3599 + GRACE)
    with pytest.raises(TooManySessions):
        store.reserve(record("b"), quota(clock, max_concurrent=1))
    store.start("ada", "a", "a", clock.now)
    store.refuse("ada", "a", clock.now)
    with pytest.raises(TooManySessions) as caught:
        store.reserve(record("b"), quota(clock, max_concurrent=1))
    assert caught.value.retry_after == 10


def test_a_refused_token_that_starts_after_all_counts_again(
    store: SessionStore, record: Maker, clock: ManualClock
) -> None:
    """The start is what counts, whatever was said before."""
    store.reserve(record("a"), quota(clock, max_concurrent=1))
    store.refuse("ada", "a", clock.now)
    assert store.start("ada", "a", "s", clock.now)
    with pytest.raises(TooManySessions):
        store.reserve(record("b"), quota(clock, max_concurrent=1))
    store.end("ada", "s", clock.now)
    assert store.reserve(record("b"), quota(clock, max_concurrent=1)).token_id == "b"


def test_a_mint_confirms_its_reservation(
    store: SessionStore, record: Maker, clock: ManualClock
) -> None:
    """Token id and times come once they are known."""
    store.reserve(record("a", token_id=None), quota(clock, max_concurrent=1))
    store.confirm("flask-anam.a", "tok", clock.now + 1, clock.now + 9)
    confirmed = only(store.find(token_id="tok"))
    assert (confirmed.minted_at, confirmed.expires_at) == (clock.now + 1, clock.now + 9)


def test_a_tab_gives_its_older_token_back(
    store: SessionStore, record: Maker, clock: ManualClock
) -> None:
    """Only unused ones of the same user, persona and slot; the newest stays."""
    same = {"slot": "tab"}
    store.add(record("old", **same))
    store.add(record("used", session_id="s", started_at=1.0, **same))
    store.add(record("other tab", slot="b"))
    store.add(record("other persona", persona_type="coach", **same))
    store.add(record("other user", user_id="bob", **same))
    new = record("new", **same)
    store.add(new)
    store.supersede(new, 7.0)
    refused = {r.token_id for r in store.sessions(UsageQuery()) if r.refused_at}
    assert refused == {"old"}


def test_running_sessions_are_those_that_may_still_run(
    store: SessionStore, record: Maker, clock: ManualClock
) -> None:
    """Started, not ended, and not past their longest time."""
    store.add(record("waiting"))
    store.add(record("short", session_id="a", started_at=clock.now, max_seconds=60))
    store.add(record("long", session_id="b", started_at=clock.now, user_id="bob"))
    store.add(record("over", session_id="c", started_at=1.0, ended_at=2.0, seconds=1.0))
    assert [r.token_id for r in store.running(clock.now)] == ["short", "long"]
    assert store.count_running(clock.now) == 2
    assert [r.token_id for r in store.running(clock.now, user_id="bob")] == ["long"]
    clock.move(60 + GRACE)
    assert [r.token_id for r in store.running(clock.now)] == ["long"]


def fill(store: SessionStore, record: Maker) -> None:
    """Store five tokens: at 1000, 1300, ..., three of them used, r still running."""
    for number in range(5):
        at = 1000.0 + 300 * number
        store.add(record(f"t{number}", minted_at=at, user_id="bob" if number == 3 else "ada"))
    store.add(record("coach", minted_at=1000.0, persona_type="coach", user_id=None))
    for number, seconds in ((0, 30.0), (1, 90.0), (3, None)):
        user = "bob" if number == 3 else "ada"
        store.start(user, f"t{number}", f"s{number}", 5000.0)
        if seconds:
            store.end(user, f"s{number}", 5000.0 + seconds)


def test_sessions_are_listed_newest_first_and_page_by_page(
    store: SessionStore, record: Maker
) -> None:
    """By time, user and persona; only started ones where that is wanted."""
    fill(store, record)
    listed = store.sessions(UsageQuery(persona_type="support"), limit=2)
    assert [r.token_id for r in listed] == ["t4", "t3"]
    rest = store.sessions(UsageQuery(persona_type="support"), limit=9, before=listed[-1].id)
    assert [r.token_id for r in rest] == ["t2", "t1", "t0"]
    started = store.sessions(UsageQuery(started=True, user_id="ada"))
    assert [r.token_id for r in started] == ["t1", "t0"]
    timed = store.sessions(UsageQuery(since=1300.0, until=1900.0))
    assert [r.token_id for r in timed] == ["t2", "t1"]


def test_totals_are_per_user_and_persona(store: SessionStore, record: Maker) -> None:
    """Most seconds first; tokens without a user have a line of their own."""
    fill(store, record)
    totals = store.totals_by_user(UsageQuery())
    assert totals[0] == Totals(0, "ada", "support", tokens=4, sessions=2, ended=2, seconds=120.0)
    rest = {
        (total.user_id, total.persona_type): (total.tokens, total.sessions) for total in totals[1:]
    }
    assert rest == {("bob", "support"): (1, 1), (None, "coach"): (1, 0)}
    assert len(store.totals_by_user(UsageQuery(), limit=1)) == 1
    assert store.totals_by_user(UsageQuery(user_id="nobody")) == []


def test_totals_are_per_interval(store: SessionStore, record: Maker) -> None:
    """Stretches begin at multiples of their length; empty ones are left out."""
    fill(store, record)
    intervals = [
        (total.start, total.persona_type, total.tokens)
        for total in store.totals_by_interval(UsageQuery(), 600)
    ]
    assert intervals == [
        (600, "coach", 1),
        (600, "support", 1),
        (1200, "support", 2),
        (1800, "support", 2),
    ]
    assert sum(total.seconds for total in store.totals_by_interval(UsageQuery(), 600)) == 120.0


def test_lengths_fall_into_steps(store: SessionStore, record: Maker) -> None:
    """An edge belongs to the step below it; what is longer than all edges comes last."""
    fill(store, record)
    assert store.duration_histogram(UsageQuery(), [30, 60]) == [1, 0, 1]
    assert store.duration_histogram(UsageQuery(), [29, 89, 1000]) == [0, 1, 1, 0]
    assert store.duration_histogram(UsageQuery(user_id="bob"), [60]) == [0, 0]
    assert store.duration_histogram(UsageQuery(), []) == [2]


def test_counts_add_up(store: SessionStore) -> None:
    """In intervals of five minutes, or of multiples of that."""
    store.count({(300, "support", "minted"): 2, (600, "support", "busy"): 1})
    store.count({(300, "support", "minted"): 3, (600, "coach", "minted"): 1})
    assert store.counts(UsageQuery(), 300) == [
        OutcomeCount(300, "support", "minted", 5),
        OutcomeCount(600, "coach", "minted", 1),
        OutcomeCount(600, "support", "busy", 1),
    ]
    wide = store.counts(UsageQuery(persona_type="support"), 3600)
    assert wide == [OutcomeCount(0, "support", "busy", 1), OutcomeCount(0, "support", "minted", 5)]
    assert store.counts(UsageQuery(since=600, until=900, persona_type="coach"), 300) == [
        OutcomeCount(600, "coach", "minted", 1)
    ]


def test_a_purge_forgets_what_is_older(store: SessionStore, record: Maker) -> None:
    """Records by the time of their mint, counts when their interval is over."""
    fill(store, record)
    store.count({(1200, "support", "minted"): 1, (1500, "support", "minted"): 1})
    assert store.purge(1600.0) == 3
    assert [r.token_id for r in store.sessions(UsageQuery())] == ["t4", "t3", "t2"]
    assert [count.start for count in store.counts(UsageQuery(), 300)] == [1500]
    assert store.purge(9999.0, user_id="bob") == 1
    assert [r.token_id for r in store.sessions(UsageQuery())] == ["t4", "t2"]
    assert len(store.counts(UsageQuery(), 300)) == 1


def test_pending_records_come_in_order(store: SessionStore, record: Maker) -> None:
    """All that Anam has not confirmed, page by page."""
    fill(store, record)
    store.change(only(store.find(token_id="t0")).id, source="anam")
    first = store.pending(since=0.0, limit=2)
    rest = store.pending(since=0.0, after=first[-1].id)
    names = [r.token_id for r in first + rest]
    assert names == ["t1", "t2", "t3", "t4", "coach"]
    assert [r.token_id for r in store.pending(since=1900.0)] == ["t3", "t4"]
    assert [r.token_id for r in store.pending(since=0.0, user_id="bob")] == ["t3"]
