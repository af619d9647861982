"""How long Anam asks us to wait, in all its spellings, and what is done about it."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from faults.upstream.asking import ask, mints_of
from hosts import ADA, BOB, make_app

from flask_anam.core.upstream.retries import wait_hint
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

NOW = 1_800_000_000.0
RATE = {"error": "Too many requests"}


@pytest.mark.parametrize("value", ["1", "1.0", " 1 ", "01"])
def test_row_19_a_short_wait_is_slept(sandbox: Sandbox, value: str) -> None:
    """It waits exactly as long as required, then the user gets the token."""
    clock = ManualClock()
    sandbox.fail_next(429, json=RATE, headers={"Retry-After": value})
    assert ask(make_app(sandbox, clock=clock)).status == 200
    assert (clock.slept, mints_of(sandbox)) == ([1.0], 2)


def test_row_19_two_seconds_is_the_longest_sleep(sandbox: Sandbox) -> None:
    """A wait of 2 s happens in the request, one of 3 s is passed on to the browser."""
    clock = ManualClock()
    app = make_app(sandbox, ADA, BOB, clock=clock)
    sandbox.fail_next(429, json=RATE, headers={"Retry-After": "2"})
    assert (ask(app).status, clock.slept) == (200, [2.0])
    sandbox.fail_next(503, headers={"Retry-After": "3"})
    asked = ask(app, BOB)
    assert (asked.status, asked.headers["Retry-After"]) == (503, "3")
    assert (clock.slept, mints_of(sandbox)) == ([2.0], 3)


@pytest.mark.parametrize(
    "value", ["3600", "1e9", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_row_20_a_long_wait_is_told_and_kept(sandbox: Sandbox, value: str) -> None:
    """No wait, a Retry-After of at most 300 s, and no call for any user until then."""
    clock = ManualClock()
    app = make_app(sandbox, ADA, BOB, clock=clock)
    sandbox.fail_next(429, json=RATE, headers={"Retry-After": value})
    asked = ask(app)
    assert (asked.status, asked.code) == (503, "anam_rate_limited")
    assert (asked.headers["Retry-After"], clock.slept) == ("300", [])
    assert asked.seconds < 2.0
    clock.move(299)
    later = ask(app, BOB)
    assert (later.code, later.headers["Retry-After"]) == ("anam_rate_limited", "1")
    assert mints_of(sandbox) == 1
    clock.move(1.1)
    assert (ask(app, BOB).status, mints_of(sandbox)) == (200, 2)


@pytest.mark.parametrize(
    "value",
    [
        *("soon", "-1", "NaN", "inf", "-inf", "1e999", "", "0x10", "1;2"),
        *(["1", "2"], ["soon", "1"]),
        *("Fri, 31 Feb 2027 00:00:00 GMT", "Mon, 01 Jan 99999 00:00:00 GMT"),
    ],
)
def test_row_21_nonsense_is_ignored(sandbox: Sandbox, value: str | list[str]) -> None:
    """The usual backoff is used instead, and nothing fails."""
    clock = ManualClock()
    sandbox.fail_next(429, json=RATE, headers={"Retry-After": value})
    assert ask(make_app(sandbox, clock=clock)).status == 200
    assert mints_of(sandbox) == 2
    assert len(clock.slept) == 1
    assert 0 <= clock.slept[0] <= 0.25


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
@pytest.mark.parametrize(("ahead", "status"), [(1, 200), (40, 503)])
def test_row_22_a_date_is_held_against_the_answers_own_clock(
    sandbox: Sandbox, skew: int, ahead: int, status: int
) -> None:
    """If the upstream clock is an hour wrong, the number of seconds is still right."""
    clock = ManualClock(NOW)
    headers = {
        "Date": formatdate(NOW + skew, usegmt=True),
        "Retry-After": formatdate(NOW + skew + ahead, usegmt=True),
    }
    sandbox.fail_next(429, json=RATE, headers=headers)
    asked = ask(make_app(sandbox, clock=clock))
    assert asked.status == status
    assert clock.slept == ([1.0] if status == 200 else [])
    assert asked.headers.get("Retry-After") == (None if status == 200 else "40")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "301"}, 300.0),
        ({"retry-after": "7"}, None),  # requests hands over a mapping that ignores case
        ({"Retry-After": formatdate(NOW + 9, usegmt=True)}, None),  # no Date to hold it against
        (
            {
                "Retry-After": formatdate(NOW - 9, usegmt=True),
                "Date": formatdate(NOW, usegmt=True),
            },
            0.0,
        ),
        (
            {
                "Retry-After": "Sunday, 06-Nov-94 08:49:37 GMT",
                "Date": "Sun, 06 Nov 1994 08:49:30 GMT",
            },
            7.0,
        ),
        (
            {"Retry-After": "Sun Nov  6 08:49:37 1994", "Date": "Sun, 06 Nov 1994 08:49:30 GMT"},
            7.0,
        ),
        ({"RateLimit-Reset": "4"}, 4.0),
        ({"X-RateLimit-Org-Hour-Reset": "5"}, 5.0),
        ({"Retry-After": "soon", "RateLimit-Reset": "4"}, 4.0),
        ({"Retry-After": "2", "RateLimit-Reset": "40"}, 2.0),
        ({}, None),
    ],
)
def test_every_spelling_of_a_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, the three forms of an HTTP date, and the reset headers that Anam documents."""
    assert wait_hint(headers) == seconds


def test_a_wait_of_zero_is_no_licence_to_hammer(sandbox: Sandbox) -> None:
    """Three attempts at most, and then a pause of a second or more."""
    sandbox.fail_next(429, json=RATE, headers={"Retry-After": "0"}, times=9)
    clock = ManualClock()
    app = make_app(sandbox, clock=clock)
    assert (ask(app).headers["Retry-After"], mints_of(sandbox)) == ("1", 3)
    clock.move(0.9)
    assert (ask(app).code, mints_of(sandbox)) == ("anam_rate_limited", 3)


def test_no_sleep_goes_past_the_deadline(sandbox: Sandbox) -> None:
    """A wait that leaves less than a second for the attempt after it is not begun."""
    clock = ManualClock()
    app = make_app(sandbox, clock=clock, ANAM_DEADLINE=2)
    sandbox.fail_next(429, json=RATE, headers={"Retry-After": "1.5"})
    asked = ask(app)
    assert (asked.status, asked.headers["Retry-After"]) == (503, "2")
    assert (clock.slept, mints_of(sandbox)) == ([], 1)
