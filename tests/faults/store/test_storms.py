"""Rows 38 to 41: what many callers cost, and that nobody gets what is another's."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults.store.workers import job_on, run_all
from hosts import MINT, TOKEN_PATH, User, client_of, make_app

from flask_anam import FlaskAnam
from flask_anam.sandbox import Sandbox

PROCESSES, THREADS, KEYS = 8, 50, 10
BROWSERS = 10


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_row_38_a_thousand_callers_of_one_key_cost_one_mint(slow_sandbox: Sandbox) -> None:
    """One process, one key, a thousand threads: one upstream call, the same answer for all."""
    anam = FlaskAnam()
    app = make_app(slow_sandbox, anam=anam)
    gate = threading.Barrier(1000)

    def call(_number: int) -> str:
        gate.wait()
        with app.app_context():
            return anam.create_token("support", user_id="ada", slot="tab").token_id

    with ThreadPoolExecutor(1000) as pool:
        tokens = set(pool.map(call, range(1000)))
    assert len(tokens) == 1
    assert slow_sandbox.ledger.count(MINT) == 1


def _storm(sandbox: Sandbox, cache: str, **facts: Any) -> list[list[dict[str, Any]]]:
    """Return the answers of each process.

    A machine too busy for a cache to answer in a quarter of a second is an outage of the cache,
    which other rows are about: then the storm is made again, with other users.
    """
    for attempt in range(5):
        sandbox.ledger.clear()
        job = job_on(sandbox, cache, **{"threads": THREADS, "keys": KEYS, **facts})
        reports = run_all("storm_worker.py", [{**job, "users": f"user-{attempt}"}] * PROCESSES)
        if not any(report["cache_failures"] for report in reports):
            break
    return [report["answers"] for report in reports]


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("cache_url", ["redis", "memcached", "file"], indirect=True)
def test_row_39_eight_processes_cost_one_mint_per_key(
    slow_sandbox: Sandbox, cache_url: str
) -> None:
    """8 processes x 50 threads x 10 keys: 4,000 answers, exactly 10 upstream calls."""
    answers = [answer for report in _storm(slow_sandbox, cache_url) for answer in report]
    assert len(answers) == PROCESSES * THREADS * KEYS
    assert {answer.get("error") for answer in answers} == {None}
    assert slow_sandbox.ledger.count(MINT) == KEYS
    assert len({(answer["key"], answer["id"]) for answer in answers}) == KEYS
    assert sum(not answer["reused"] for answer in answers) == KEYS


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_row_39_in_memory_each_process_mints_at_most_once_per_key(slow_sandbox: Sandbox) -> None:
    """Without a shared store, each process mints exactly one token per key."""
    reports = _storm(slow_sandbox, "memory://")
    for report in reports:
        assert {answer.get("error") for answer in report} == {None}
        assert len({(answer["key"], answer["id"]) for answer in report}) == KEYS
    assert slow_sandbox.ledger.count(MINT) == PROCESSES * KEYS


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("cache_url", ["redis", "memcached", "file"], indirect=True)
def test_row_40_a_failing_upstream_is_not_asked_by_everybody(
    sandbox: Sandbox, cache_url: str
) -> None:
    """8 x 50 callers of one key, Anam down: at most two series of attempts, an error for all."""
    sandbox.fail_next(500, times=1000, delay=0.4)
    reports = _storm(sandbox, cache_url, keys=1)
    answers = [answer for report in reports for answer in report]
    assert {answer.get("error") for answer in answers} == {"anam_unavailable"}
    assert 2 <= sandbox.ledger.count(MINT) <= 2 * 3
    assert max(answer["seconds"] for answer in answers) < 1.5 * (3 * 0.4 + 0.75) + 3.0


@pytest.mark.slow
@pytest.mark.parametrize("reuse", ["until_used", "until_expiry"])
def test_row_41_ten_thousand_requests_never_show_a_foreign_token(
    sandbox: Sandbox, reuse: str, soak: bool
) -> None:
    """50 users, one persona, the same slots, reports in between: each token has one owner."""
    users = [User(f"user-{number}") for number in range(50)]
    app = make_app(
        sandbox,
        *users,
        ANAM_TOKEN_REUSE=reuse,
        ANAM_TOKEN_RATE_LIMIT="1000000 per hour",
        ANAM_REQUEST_RATE_LIMIT="1000000 per hour",
    )
    owners: defaultdict[str, set[str]] = defaultdict(set)
    statuses: set[int] = set()
    rounds = 1000 if soak else 500  # the two modes together make the ten thousand

    def browse(seed: int) -> None:
        dice = random.Random(seed)
        clients = {user.get_id(): client_of(app, user) for user in users}
        last: dict[str, str] = {}
        for _ in range(rounds):
            user_id = dice.choice(users).get_id()
            body: dict[str, object] = {"slot": f"tab-{dice.randrange(3)}"}
            if user_id in last and dice.random() < 0.05:
                body["refused"] = last[user_id]
            answer = clients[user_id].post(TOKEN_PATH, json=body)
            statuses.add(answer.status_code)
            last[user_id] = answer.get_json()["tokenId"]
            owners[last[user_id]].add(user_id)
            if dice.random() < 0.05:
                start = {"tokenId": last[user_id], "sessionId": f"s-{seed}-{dice.getrandbits(40)}"}
                statuses.add(clients[user_id].post("/anam/sessions", json=start).status_code)

    with ThreadPoolExecutor(BROWSERS) as pool:
        list(pool.map(browse, range(BROWSERS)))
    assert statuses <= {200, 204}
    assert len(owners) >= len(users)
    assert {len(names) for names in owners.values()} == {1}
    assert len(sandbox.ledger.mints) == len(owners)


def test_row_43_a_double_click_costs_one_mint(slow_sandbox: Sandbox) -> None:
    """Two requests without a slot, 5 ms apart, get one token."""
    app = make_app(slow_sandbox, User("ada"))

    def click(number: int) -> str:
        time.sleep(number * 0.005)
        answer = client_of(app, User("ada")).post(TOKEN_PATH, json={})
        return str(answer.get_json()["sessionToken"])

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(click, range(2)))) == 1
    assert slow_sandbox.ledger.count(MINT) == 1


def test_row_44_two_tabs_get_two_tokens(slow_sandbox: Sandbox) -> None:
    """Two slots of one user at the same time: two mints, two tokens."""
    app = make_app(slow_sandbox, User("ada"))

    def open_tab(number: int) -> str:
        answer = client_of(app, User("ada")).post(TOKEN_PATH, json={"slot": f"tab-{number}"})
        return str(answer.get_json()["sessionToken"])

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(open_tab, range(2)))) == 2
    assert slow_sandbox.ledger.count(MINT) == 2
