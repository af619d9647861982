"""Rows 34, 35 and 42: workers that are killed, that leave in the middle, and that fork."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from faults.store.workers import job_on, run_all, workers
from hosts import MINT, PERSONA, make_app
from servers.caches import RedisServer

from flask_anam import FlaskAnam
from flask_anam.core.minting.mint_lock import MAX_WAIT
from flask_anam.errors import RateLimited
from flask_anam.sandbox import Sandbox
from flask_anam.state import get_state


@pytest.mark.slow
@pytest.mark.parametrize("cache_url", ["redis", "memcached", "file"], indirect=True)
def test_row_34_a_killed_holder_delays_the_next_by_at_most_three_seconds(
    sandbox: Sandbox, cache_url: str
) -> None:
    """SIGKILL of a lease holder: the next request waits 3 s, then mints; with files at once."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam, ANAM_CACHE=cache_url)
    sandbox.fail_next(silent=True)
    with workers("storm_worker.py", [job_on(sandbox, cache_url)]) as (holder,):
        holder.go()
        assert sandbox.ledger.wait_for(MINT, 1, timeout=20)
        holder.kill()
        begun = time.monotonic()
        with app.app_context():
            assert anam.create_token("support", user_id="user-0", slot="tab").session_token
        took = time.monotonic() - begun
    assert took < (1.5 if cache_url.startswith("file") else MAX_WAIT + 2.0)
    assert len(sandbox.ledger.mints) == 1


class _Killed(BaseException):
    """What gevent raises in a greenlet that is killed is no Exception either."""


@pytest.mark.parametrize("leaves_with", [SystemExit, KeyboardInterrupt, _Killed])
@pytest.mark.parametrize("cache_url", ["memory", "redis", "file"], indirect=True)
def test_row_35_followers_of_a_leader_that_was_killed_elect_another(
    sandbox: Sandbox, cache_url: str, leaves_with: type[BaseException]
) -> None:
    """The leader exits without a result: one of the others mints, no request hangs or fails."""
    leading, all_wait = threading.Event(), threading.Event()

    def user_config(_user: object) -> dict[str, Any]:
        return PERSONA

    anam = FlaskAnam()
    anam.add_persona("own", user_config)
    app = make_app(sandbox, anam=anam, ANAM_CACHE=cache_url)
    limits = _LimitThatLeaves(leading, all_wait, leaves_with)
    tokens: list[str] = []

    def follow() -> None:
        with app.app_context():
            tokens.append(anam.create_token("own", user_id="ada", slot="tab").token_id)

    def lead() -> None:
        with app.app_context():
            state = get_state()
            persona = state.registry.choose("own")
            facts: dict[str, Any] = {"user": None, "overrides": {}, "quota": limits}
            with pytest.raises(leaves_with):
                state.issuer.issue(persona, user_id="ada", slot="tab", **facts)

    threads = [threading.Thread(target=lead)]
    threads[0].start()
    assert leading.wait(5)
    threads += [threading.Thread(target=follow) for _ in range(10)]
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.3)  # so that they wait for the leader; less would test less, not fail
    all_wait.set()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert len(tokens) == 10
    assert len(set(tokens)) == sandbox.ledger.count(MINT) == 1


class _LimitThatLeaves:
    """A limit in whose keeping the caller is killed."""

    def __init__(
        self, leading: threading.Event, all_wait: threading.Event, error: type[BaseException]
    ) -> None:
        self._leading, self._all_wait, self._error = leading, all_wait, error

    def admit(self, lookup: object) -> None:
        """Let the request in."""

    @contextmanager
    def charge(self, is_final: object) -> Iterator[None]:
        """Leave once everybody waits."""
        self._leading.set()
        self._all_wait.wait(5)
        raise self._error
        yield


@pytest.mark.slow
@pytest.mark.parametrize("cache_url", ["memory", "redis", "memcached", "file"], indirect=True)
def test_row_42_forks_after_the_first_use(
    sandbox: Sandbox, cache_url: str, redis_server: RedisServer
) -> None:
    """Four forked children, forty calls each: no answer is mixed up, no call hangs."""
    config = {"ANAM_RATE_LIMIT_STORAGE_URI": redis_server.url}
    (report,) = run_all("fork_worker.py", [job_on(sandbox, cache_url, config=config)])
    assert report["exits"] == [0, 0, 0, 0]
    owners: dict[str, set[str]] = {}
    for user, token_id in report["answers"]:
        owners.setdefault(token_id, set()).add(user)
    assert len(report["answers"]) == 4 * 40
    assert {len(users) for users in owners.values()} == {1}


def test_row_35_a_limit_reached_by_the_leader_is_told_to_its_followers(sandbox: Sandbox) -> None:
    """Our own errors also end the single-flight: each follower gets its own error."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam, ANAM_TOKEN_RATE_LIMIT="1 per hour")
    with app.app_context():
        anam.create_token("support", user_id="ada", slot="one")
        for _ in range(2):
            with pytest.raises(RateLimited):
                anam.create_token("support", user_id="ada", slot="two")
