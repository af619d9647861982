"""What a request may cost, in function calls: they do not depend on how busy the machine is."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from flask import Flask
from hosts import make_host

from benchmarks import instant
from benchmarks.apps import floor
from benchmarks.driver import Driver
from flask_anam import FlaskAnam

pytestmark = pytest.mark.source


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions some work calls, those in C included."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_a_reused_token_costs_little_over_the_floor() -> None:
    """Limits, checks, key, store and headers together: about half of what Flask itself does."""
    base, anam = Driver(floor.make_app(5), users=5), Driver(instant.make_app(5, 3), users=5)
    for driver in (base, anam):
        driver.batch(20)  # mints, and remembers what is remembered
    assert calls_of(anam.once) < 1.6 * calls_of(base.once)


def test_more_users_and_personas_cost_no_more_calls() -> None:
    """A thousand of each, with a token for each: the same work for every request."""
    few = Driver(instant.make_app(5, 1), users=5)
    many = Driver(instant.make_app(1000, 1000), users=1000, personas=1000)
    for driver, requests in ((few, 20), (many, 1000)):
        driver.batch(requests)
    assert calls_of(many.once) <= 1.1 * calls_of(few.once)


def test_other_routes_of_the_host_hardly_notice() -> None:
    """One look at the path, and nothing else, for a route that is not ours."""

    def answer(app: Flask) -> Callable[[], object]:
        app.add_url_rule("/page", view_func=lambda: "a page")
        client = app.test_client()
        client.get("/page")
        return lambda: client.get("/page")

    plain, ours = make_host(), make_host(ANAM_SANDBOX=True)
    FlaskAnam(ours)
    assert calls_of(answer(ours)) - calls_of(answer(plain)) <= 20
