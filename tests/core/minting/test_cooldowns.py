"""Cool-downs: what is not tried again yet, for how long, and for whom."""

from __future__ import annotations

import json

import pytest
from cachelib import NullCache, SimpleCache
from cachelib.base import BaseCache
from core.conftest import SECRET, Broken, store_on

from flask_anam import errors
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.minting import cooldowns
from flask_anam.core.minting.cooldowns import CoolDowns
from flask_anam.core.minting.error_codec import encode_error
from flask_anam.testing import ManualClock

KEYS = KeyHasher(SECRET)
ACCOUNT, BODY, OTHER = KEYS("account", "a"), KEYS("body", "b"), KEYS("body", "c")


@pytest.fixture
def cache() -> SimpleCache:
    """Return a cache that processes share."""
    return SimpleCache()


def made(cache: BaseCache, clock: ManualClock) -> CoolDowns:
    """Return the cool_downs of one process, without jitter."""
    return CoolDowns(store_on(cache, clock), clock, lambda low, high: (low + high) / 2)


@pytest.fixture
def cool_downs(cache: SimpleCache, clock: ManualClock) -> CoolDowns:
    """Return the cool_downs of one process."""
    return made(cache, clock)


def missing(error: errors.AnamRejected) -> errors.AnamRejected:
    """Return a refusal that says that the persona is unknown."""
    error.persona_missing = True
    return error


def lasts(cool_downs: CoolDowns, clock: ManualClock, body: str = BODY) -> int:
    """Return for how many seconds a call is refused, moving the clock on."""
    for second in range(1000):
        try:
            cool_downs.raise_if_cooling(ACCOUNT, body)
        except errors.UpstreamError:
            clock.move(1)
        else:
            return second
    raise AssertionError("it never ends")


def test_nothing_is_refused_at_first(cool_downs: CoolDowns) -> None:
    """Neither account nor body."""
    cool_downs.raise_if_cooling(ACCOUNT, BODY)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.AnamAuthError(), 30),
        (errors.AnamQuotaError(), 300),
        (errors.AnamRateLimited(), 2),
        (errors.AnamRateLimited(hinted_wait=17), 17),
        (errors.AnamRateLimited(hinted_wait=0.1), 1),
        (errors.AnamRejected(), 10),
        (errors.AnamUnavailable(), 0),
        (errors.AnamTimeout(), 0),
        (errors.AnamBadResponse(), 0),
        (errors.Busy(), 0),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
def test_each_refusal_is_remembered_for_its_time(
    cool_downs: CoolDowns, clock: ManualClock, error: errors.UpstreamError, seconds: int
) -> None:
    """What may pass by itself at once is not remembered at all."""
    cool_downs.record(error, ACCOUNT, BODY, has_fallback=False)
    assert lasts(cool_downs, clock) == seconds


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (errors.AnamAuthError(), [30, 60, 120, 240, 300, 300]),
        (errors.AnamRateLimited(), [2, 4, 8, 16, 32, 60, 60]),
        (errors.AnamQuotaError(), [300, 300]),
        (errors.AnamRejected(), [10, 10]),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_repeated_refusals_last_longer(
    cool_downs: CoolDowns, clock: ManualClock, error: errors.UpstreamError, waits: list[int]
) -> None:
    """Doubling up to a bound, where asking again is a burden."""
    lasting = []
    for _ in waits:
        cool_downs.record(error, ACCOUNT, BODY, has_fallback=False)
        lasting.append(lasts(cool_downs, clock))
    assert lasting == waits


def test_a_mint_that_worked_ends_the_doubling(cool_downs: CoolDowns, clock: ManualClock) -> None:
    """The next refusal is a first one."""
    for _ in range(3):
        cool_downs.record(errors.AnamAuthError(), ACCOUNT, BODY, has_fallback=False)
        lasts(cool_downs, clock)
    cool_downs.clear(ACCOUNT, BODY)
    cool_downs.record(errors.AnamAuthError(), ACCOUNT, BODY, has_fallback=False)
    assert lasts(cool_downs, clock) == 30


def test_another_kind_of_refusal_is_a_first_one(cool_downs: CoolDowns, clock: ManualClock) -> None:
    """A rate limit after refused keys does not wait for minutes."""
    for _ in range(3):
        cool_downs.record(errors.AnamAuthError(), ACCOUNT, BODY, has_fallback=False)
        lasts(cool_downs, clock)
    cool_downs.record(errors.AnamRateLimited(), ACCOUNT, BODY, has_fallback=False)
    assert lasts(cool_downs, clock) == 2


def test_a_refused_body_leaves_other_bodies_alone(cool_downs: CoolDowns) -> None:
    """A refused account does not: it is refused whatever is sent."""
    cool_downs.record(errors.AnamRejected("No."), ACCOUNT, BODY, has_fallback=False)
    cool_downs.raise_if_cooling(ACCOUNT, OTHER)
    with pytest.raises(errors.AnamRejected, match=r"^No\.$"):
        cool_downs.raise_if_cooling(ACCOUNT, BODY)
    cool_downs.record(errors.AnamQuotaError(), ACCOUNT, BODY, has_fallback=False)
    with pytest.raises(errors.AnamQuotaError):
        cool_downs.raise_if_cooling(ACCOUNT, OTHER)


@pytest.mark.parametrize(
    "error",
    [errors.AnamAuthError("Key."), errors.AnamQuotaError("Plan."), errors.AnamRateLimited()],
)
def test_a_refused_account_is_known_to_every_process(
    cache: SimpleCache, clock: ManualClock, cool_downs: CoolDowns, error: errors.UpstreamError
) -> None:
    """Through the store: the same error with the same text, for the same time."""
    cool_downs.record(error, ACCOUNT, BODY, has_fallback=False)
    with pytest.raises(type(error)) as caught:
        made(cache, clock).raise_if_cooling(ACCOUNT, OTHER)
    assert caught.value.text == error.text
    began = clock.time()
    lasts(made(cache, clock), clock)
    cool_downs.raise_if_cooling(ACCOUNT, BODY)
    assert clock.time() > began


def test_a_refused_body_is_known_to_this_process_only(
    cache: SimpleCache, clock: ManualClock, cool_downs: CoolDowns
) -> None:
    """Unless it is a persona that is gone and another one takes its place."""
    cool_downs.record(errors.AnamRejected(), ACCOUNT, BODY, has_fallback=True)
    cool_downs.record(missing(errors.AnamRejected()), ACCOUNT, BODY, has_fallback=False)
    made(cache, clock).raise_if_cooling(ACCOUNT, BODY)
    cool_downs.record(missing(errors.AnamRejected()), ACCOUNT, BODY, has_fallback=True)
    with pytest.raises(errors.AnamRejected) as caught:
        made(cache, clock).raise_if_cooling(ACCOUNT, BODY)
    assert caught.value.persona_missing is True
    assert lasts(made(cache, clock), clock) == 600


def test_the_time_left_is_told_where_it_is_promised(
    cool_downs: CoolDowns, clock: ManualClock
) -> None:
    """Retry-After of a 503 counts down, to a second at least; a 502 has none."""
    cool_downs.record(errors.AnamRateLimited(hinted_wait=20), ACCOUNT, BODY, has_fallback=False)
    for moved, left in ((0, 20), (15, 5), (4.5, 1)):
        clock.move(moved)
        with pytest.raises(errors.AnamRateLimited) as caught:
            cool_downs.raise_if_cooling(ACCOUNT, BODY)
        assert caught.value.retry_after == left
    cool_downs.record(errors.AnamAuthError(), ACCOUNT, BODY, has_fallback=False)
    with pytest.raises(errors.AnamAuthError) as refused:
        cool_downs.raise_if_cooling(ACCOUNT, BODY)
    assert refused.value.retry_after is None


def test_each_caller_gets_an_error_of_its_own(cool_downs: CoolDowns) -> None:
    """Tracebacks of many requests do not pile up on one object."""
    error = errors.AnamQuotaError()
    cool_downs.record(error, ACCOUNT, BODY, has_fallback=False)
    raised = []
    for _ in range(2):
        with pytest.raises(errors.AnamQuotaError) as caught:
            cool_downs.raise_if_cooling(ACCOUNT, BODY)
        raised.append(caught.value)
    assert len({id(each) for each in (error, *raised)}) == 3


@pytest.mark.parametrize("cache", [Broken(), NullCache()], ids=lambda c: type(c).__name__)
def test_without_a_store_this_process_still_knows(cache: BaseCache, clock: ManualClock) -> None:
    """Cool-downs protect Anam also when the cache is down."""
    cool_downs = made(cache, clock)
    cool_downs.record(errors.AnamAuthError(), ACCOUNT, BODY, has_fallback=False)
    assert lasts(cool_downs, clock) == 30


@pytest.mark.parametrize(
    "note",
    [
        "x",
        "{}",
        "null",
        "[1]",
        "[1, 2, 3]",
        '["x", {"code": "anam_auth"}]',
        '[null, {"code": "anam_auth"}]',
        '[9e9, {"code": "unauthenticated"}]',
        "[9e9, {}]",
    ],
)
def test_a_note_that_makes_no_sense_is_no_setback(
    cache: SimpleCache, clock: ManualClock, cool_downs: CoolDowns, note: str
) -> None:
    """Notes of another version of this package, for instance."""
    store_on(cache, clock).put_text(ACCOUNT, note, 60)
    cool_downs.raise_if_cooling(ACCOUNT, BODY)


def test_notes_hold_facts_and_no_secret(
    cache: SimpleCache, clock: ManualClock, cool_downs: CoolDowns
) -> None:
    """The end, what `encode_error` tells, and the length."""
    error = errors.AnamAuthError("Key.")
    cool_downs.record(error, ACCOUNT, BODY, has_fallback=False)
    noted = store_on(cache, clock).get_text(ACCOUNT)
    assert json.loads(noted or "") == [clock.time() + 30, encode_error(error), 30.0]


def test_only_so_many_are_remembered(
    cache: SimpleCache, cool_downs: CoolDowns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten first."""
    monkeypatch.setattr(cooldowns, "MAX_REMEMBERED", 3)
    bodies = [KEYS("body", number) for number in range(5)]
    for body in bodies:
        cool_downs.record(errors.AnamRejected(), ACCOUNT, body, has_fallback=False)
    cool_downs.raise_if_cooling(ACCOUNT, bodies[0])
    cool_downs.raise_if_cooling(ACCOUNT, bodies[1])
    for body in bodies[2:]:
        with pytest.raises(errors.AnamRejected):
            cool_downs.raise_if_cooling(ACCOUNT, body)


def test_a_child_has_a_lock_of_its_own(cool_downs: CoolDowns) -> None:
    """And knows what its parent knew."""
    cool_downs.record(errors.AnamAuthError(), ACCOUNT, BODY, has_fallback=False)
    with cool_downs._lock:
        cool_downs.reinit_after_fork()
        cool_downs.record(errors.AnamRejected(), ACCOUNT, BODY, has_fallback=False)
    with pytest.raises(errors.AnamAuthError):
        cool_downs.raise_if_cooling(ACCOUNT, BODY)
