"""What a request may cost, in function calls: they do not depend on how busy the machine is."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from flask import Flask
from hosts import ADA, TOKEN_PATH, client_of, make_app, make_host

import flask_anam
from benchmarks import instant
from benchmarks.apps import floor
from benchmarks.driver import Driver
from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox

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


PACKAGE = str(Path(flask_anam.__file__).parent)
#: The way of a request for a token, by slot: most calls of our own functions, and most files. The
#: plan was 24 files for a mint; the terms of the field made files of their own of the bulkhead,
#: the retry budget, the responses, the key check, the hashes and the outage guard.
WAYS = {"reused": ("first", 80, 16), "minted": ("second", 190, 32)}


def own_calls_of(work: Callable[[], object]) -> Counter[tuple[str, str]]:
    """Return how often some work calls each function of the package, by file and name."""
    calls: Counter[tuple[str, str]] = Counter()

    def seen(frame: FrameType, event: str, _argument: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(PACKAGE) and "/sandbox/" not in path:
            calls[path.removeprefix(PACKAGE), frame.f_code.co_qualname] += 1

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("way", WAYS)
def test_the_way_of_a_token_request_is_short(way: str, sandbox: Sandbox) -> None:
    """Few calls of our own functions in few files, with tokens, limits and records in memory."""
    slot, most_calls, most_files = WAYS[way]
    client = client_of(make_app(sandbox), ADA)
    body = {"personaType": "support", "slot": "first"}
    for _ in range(2):  # what is imported or remembered at the first use does not count
        assert client.post(TOKEN_PATH, json=body).status_code == 200
    calls = own_calls_of(lambda: client.post(TOKEN_PATH, json={**body, "slot": slot}))
    files = {path for path, _ in calls}
    figures = f"{way}: {calls.total()} calls of {len(calls)} functions in {len(files)} files"
    sys.stdout.write(f"{figures}\n")
    assert calls.total() <= most_calls
    assert len(files) <= most_files


def test_a_reused_token_costs_little_over_the_floor() -> None:
    """Limits, checks, key, store and headers together: about half of what Flask itself does."""
    base, anam = Driver(floor.make_app(5), users=5), Driver(instant.make_app(5, 3), users=5)
    for driver in (base, anam):
        driver.batch(20)  # mints, and remembers what is remembered
    assert calls_of(anam.once) < 1.6 * calls_of(base.once)


@pytest.mark.slow
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
    # Flask asks this about every function of ours; newer Pythons take more calls to answer.
    asks = calls_of(lambda: inspect.iscoroutinefunction(make_host))
    assert calls_of(answer(ours)) - calls_of(answer(plain)) - asks <= 11
