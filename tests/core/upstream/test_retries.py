"""Retries: what headers say, how long backoffs are, and what the retry budget lets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from flask_anam.core.upstream.retries import (
    RETRY_COST,
    RETRY_TOKENS,
    RetryBudget,
    backoff,
    wait_hint,
)

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:50:07 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="nothing said"),
        pytest.param({"Retry-After": "7"}, 7.0, id="seconds"),
        pytest.param({"Retry-After": " 7 "}, 7.0, id="spaces"),
        pytest.param({"Retry-After": "0"}, 0.0, id="at once"),
        pytest.param({"Retry-After": "1.5"}, 1.5, id="fraction"),
        pytest.param({"Retry-After": "300"}, 300.0, id="the longest"),
        pytest.param({"Retry-After": "3600"}, 300.0, id="an hour is cut"),
        pytest.param({"Retry-After": "1e9"}, 300.0, id="exponent is cut"),
        pytest.param({"Retry-After": "9" * 20}, 300.0, id="twenty digits are cut"),
        pytest.param({"Retry-After": "9" * 5000}, None, id="overflow"),
        pytest.param({"Retry-After": "soon"}, None, id="garbage"),
        pytest.param({"Retry-After": "-1"}, None, id="negative"),
        pytest.param({"Retry-After": "NaN"}, None, id="NaN"),
        pytest.param({"Retry-After": "inf"}, None, id="infinity"),
        pytest.param({"Retry-After": ""}, None, id="empty"),
        pytest.param({"Retry-After": "1, 2"}, None, id="sent twice"),
        pytest.param({"Retry-After": LATER, "Date": DATE}, 30.0, id="date against Date"),
        pytest.param({"Retry-After": DATE, "Date": LATER}, 0.0, id="date gone by"),
        pytest.param({"Retry-After": LATER}, None, id="date without Date"),
        pytest.param({"Retry-After": LATER, "Date": "now"}, None, id="date, Date is garbage"),
        pytest.param(
            {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": DATE}, 300.0, id="year 9999"
        ),
        pytest.param(
            {"Retry-After": "Fri, 31 Dec 99999 23:59:59 GMT", "Date": DATE}, None, id="no date"
        ),
        pytest.param({"RateLimit-Reset": "9"}, 9.0, id="RateLimit-Reset"),
        pytest.param({"X-RateLimit-Org-Hour-Reset": "11"}, 11.0, id="reset of the hour"),
        pytest.param(
            {"X-RateLimit-Org-Hour-Reset": "11", "RateLimit-Reset": "9"}, 9.0, id="both resets"
        ),
        pytest.param({"Retry-After": "2", "RateLimit-Reset": "9"}, 2.0, id="Retry-After first"),
        pytest.param({"Retry-After": "x", "RateLimit-Reset": "9"}, 9.0, id="garbage, then reset"),
        pytest.param({"RateLimit-Reset": "x"}, None, id="garbage reset"),
        pytest.param({"retry-after": "4"}, 4.0, id="lower case"),
    ],
)
def test_headers_tell_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date held against the answer's own Date; nonsense is ignored, 300 the cap."""
    assert wait_hint(CaseInsensitiveDict(headers)) == seconds


@given(st.text(), st.text())
def test_no_header_makes_it_raise(value: str, date: str) -> None:
    """Whatever Anam, or something in between, sends: a number from 0 to 300, or None."""
    hint = wait_hint({"Retry-After": value, "Date": date, "RateLimit-Reset": date})
    assert hint is None or 0 <= hint <= 300


@given(st.datetimes(), st.datetimes())
def test_dates_of_any_year_are_read_without_an_exception(until: object, now: object) -> None:
    """Dates with and without a zone, near both ends of the calendar."""
    from email.utils import format_datetime

    for text in (format_datetime(until), format_datetime(until).replace("-0000", "+1400")):  # type: ignore[arg-type]
        hint = wait_hint({"Retry-After": text, "Date": format_datetime(now)})  # type: ignore[arg-type]
        assert hint is None or 0 <= hint <= 300


@pytest.mark.parametrize(
    ("attempt", "longest"), [(0, 0.25), (1, 0.5), (2, 1.0), (3, 2.0), (4, 2.0), (30, 2.0)]
)
def test_a_back_off_doubles_up_to_its_cap(attempt: int, longest: float) -> None:
    """Full jitter: any time from zero to 0.25 s, doubling to 2 s."""
    assert backoff(attempt, lambda low, high: high) == longest
    assert backoff(attempt, lambda low, high: low) == 0.0
    assert all(0 <= backoff(attempt) <= longest for _ in range(50))


def test_back_offs_are_spread() -> None:
    """Callers that failed together do not come back together."""
    assert len({backoff(3) for _ in range(50)}) > 40


def test_retries_are_paid_from_a_budget() -> None:
    """Four in a row, then none until five calls have worked."""
    budget = RetryBudget()
    assert [budget.acquire() for _ in range(6)] == [True] * 4 + [False] * 2
    for _ in range(RETRY_COST - 1):
        budget.release(retried=False)
        assert budget.acquire() is False
    budget.release(retried=False)
    assert budget.acquire() is True
    assert budget.acquire() is False


def test_the_budget_does_not_grow_above_its_size() -> None:
    """However long all went well."""
    budget = RetryBudget()
    for _ in range(1000):
        budget.release(retried=False)
    assert sum(budget.acquire() for _ in range(100)) == RETRY_TOKENS // RETRY_COST


def test_the_budget_of_a_child_has_a_lock_of_its_own() -> None:
    """And the tokens that the parent had."""
    budget = RetryBudget()
    budget.acquire()
    with budget._lock:
        budget.reinit_after_fork()
        assert sum(budget.acquire() for _ in range(9)) == 3


def test_a_retry_that_works_gets_its_price_back() -> None:
    """So that retries that help are never the ones that are missing."""
    budget = RetryBudget()
    for _ in range(100):
        assert budget.acquire()
        budget.release(retried=True)
