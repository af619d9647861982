"""When a token comes back again, what counts against a limit, and what many at once cost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_limiter import Limiter
from hosts import ADA, BOB, MINT, PERSONA, TOKEN_PATH, client_of, make_app, make_host

from flask_anam import FlaskAnam
from flask_anam.core.tokens.store import GENERATION_LIFETIME
from flask_anam.core.tokens.token import LONGEST_LIFETIME
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock


def _token(client: FlaskClient, **kwargs: object) -> str:
    answer = client.post(TOKEN_PATH, **{"json": {}, **kwargs})
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["sessionToken"])


def test_a_double_click_gets_one_token(sandbox: Sandbox) -> None:
    """Without a slot the same answer comes back for the replay window, then a new one."""
    clock = ManualClock()
    client = client_of(make_app(sandbox, clock=clock), ADA)
    first = _token(client)
    clock.move(2.9)
    assert _token(client) == first
    clock.move(0.2)
    assert _token(client) != first


def test_an_idempotency_key_gets_the_same_token_for_a_minute(sandbox: Sandbox) -> None:
    """The same key replays for the idempotency window; another key does not."""
    clock = ManualClock()
    client = client_of(make_app(sandbox, clock=clock), ADA)
    key = {"headers": {"Idempotency-Key": "start-1"}}
    first = _token(client, **key)
    clock.move(59)
    assert _token(client, **key) == first
    assert _token(client, headers={"Idempotency-Key": "start-2"}) != first
    clock.move(2)
    assert _token(client, **key) != first


def test_a_slot_keeps_its_token_until_its_start_is_reported(sandbox: Sandbox) -> None:
    """One tab, one token; once the conversation has started the next one is new."""
    client = client_of(make_app(sandbox, clock=ManualClock()), ADA)
    body = client.post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    assert _token(client, json={"slot": "tab"}) == body["sessionToken"]
    assert _token(client, json={"slot": "other tab"}) != body["sessionToken"]
    report = {"tokenId": body["tokenId"], "sessionId": "s-1"}
    assert client.post("/anam/sessions", json=report).status_code == 204
    assert _token(client, json={"slot": "tab"}) != body["sessionToken"]


def test_a_late_report_does_not_evict_the_newer_token(sandbox: Sandbox) -> None:
    """A report is about one token; a newer one of the same slot stays."""
    client = client_of(make_app(sandbox), ADA)
    old = client.post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    new = _token(client, json={"slot": "tab", "refused": old["tokenId"]})
    assert new != old["sessionToken"]
    client.post("/anam/sessions", json={"tokenId": old["tokenId"], "sessionId": "s-1"})
    assert _token(client, json={"slot": "tab"}) == new


def test_another_users_report_changes_nothing(sandbox: Sandbox) -> None:
    """Reports are believed only for tokens that the reporting user got."""
    app = make_app(sandbox)
    ada, bob = client_of(app, ADA), client_of(app, BOB)
    body = ada.post(TOKEN_PATH, json={"slot": "tab"}).get_json()
    report = {"tokenId": body["tokenId"], "sessionId": "s-1"}
    assert bob.post("/anam/sessions", json=report).status_code == 204
    assert _token(ada, json={"slot": "tab"}) == body["sessionToken"]
    assert ada.get("/anam/metrics").get_json()["tokensUsed"] == 0


def test_two_users_never_share_a_token(sandbox: Sandbox) -> None:
    """The same slot and persona give two users two tokens."""
    app = make_app(sandbox)
    assert _token(client_of(app, ADA), json={"slot": "t"}) != _token(
        client_of(app, BOB), json={"slot": "t"}
    )


def test_until_expiry_shares_among_slots_and_survives_a_start(sandbox: Sandbox) -> None:
    """The page's rule: one token per user and persona for the cache timeout."""
    clock = ManualClock()
    client = client_of(make_app(sandbox, clock=clock, ANAM_TOKEN_REUSE="until_expiry"), ADA)
    body = client.post(TOKEN_PATH, json={"slot": "a"}).get_json()
    client.post("/anam/sessions", json={"tokenId": body["tokenId"], "sessionId": "s-1"})
    clock.move(2999)
    assert _token(client, json={"slot": "b"}) == body["sessionToken"]
    clock.move(2)
    assert _token(client, json={"slot": "b"}) != body["sessionToken"]


def test_never_mints_each_time(sandbox: Sandbox) -> None:
    """ANAM_TOKEN_REUSE = "never" hands no stored token out again."""
    client = client_of(make_app(sandbox, ANAM_TOKEN_REUSE="never"), ADA)
    assert _token(client, json={"slot": "t"}) != _token(client, json={"slot": "t"})


@pytest.mark.parametrize("reuse", ["until_used", "until_expiry", "never"])
def test_thirty_equal_requests_at_once_cost_one_mint(sandbox: Sandbox, reuse: str) -> None:
    """Concurrent duplicates share one upstream call and its answer, in every mode."""
    app = make_app(sandbox, ANAM_TOKEN_REUSE=reuse)
    sandbox.fail_next(200, delay=0.5)  # long enough for all to arrive
    gate = threading.Barrier(30)

    def call(_number: int) -> str:
        client = client_of(app, ADA)
        gate.wait()
        return _token(client, json={"slot": "tab"})

    with ThreadPoolExecutor(30) as pool:
        tokens = set(pool.map(call, range(30)))
    assert len(tokens) == 1
    assert sandbox.ledger.count(MINT) == 1


def test_the_token_limit_counts_mints_only(sandbox: Sandbox) -> None:
    """Ten per hour and user: reused tokens are free, the eleventh mint is 429."""
    clock = ManualClock(1_800_000_000.0)
    app = make_app(sandbox, clock=clock)
    client = client_of(app, ADA)
    for number in range(10):
        _token(client, json={"slot": f"tab {number}"})
        _token(client, json={"slot": f"tab {number}"})
    answer = client.post(TOKEN_PATH, json={"slot": "one more"})
    body = answer.get_json()
    assert (answer.status_code, body["code"]) == (429, "rate_limited")
    assert body["error"] == "Rate limit exceeded"
    assert answer.headers["Retry-After"] == str(body["retryAfter"]) == "3600"
    assert answer.headers["RateLimit-Limit"] == "10"
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert _token(client, json={"slot": "tab 3"})
    assert _token(client_of(app, BOB))
    clock.move(3600)
    assert _token(client, json={"slot": "one more"})


def test_the_token_limit_is_exact_for_many_at_once(sandbox: Sandbox) -> None:
    """Forty different requests of one user at once: exactly ten tokens."""
    app = make_app(sandbox)
    gate = threading.Barrier(40)

    def call(number: int) -> int:
        client = client_of(app, ADA)
        gate.wait()
        return client.post(TOKEN_PATH, json={"slot": str(number)}).status_code

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(call, range(40)))
    assert (answers.count(200), answers.count(429)) == (10, 30)
    assert len(sandbox.ledger.mints) == 10


def test_refused_tokens_cannot_be_asked_for_without_end(sandbox: Sandbox) -> None:
    """A browser that refuses every token runs into its limit."""
    client = client_of(make_app(sandbox), ADA)
    refused, answers = "x" * 16, []
    for _ in range(12):
        answer = client.post(TOKEN_PATH, json={"slot": "tab", "refused": refused})
        answers.append(answer.status_code)
        refused = answer.get_json().get("tokenId", refused)
    assert answers == [200] * 10 + [429] * 2


def test_the_request_limit_counts_every_request(sandbox: Sandbox) -> None:
    """Requests are limited too, reused answers included."""
    client = client_of(make_app(sandbox, ANAM_REQUEST_RATE_LIMIT="3 per minute"), ADA)
    answers = [client.post(TOKEN_PATH, json={"slot": "t"}).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]


def test_several_limits_hold_together(sandbox: Sandbox) -> None:
    """A refusal by one of several limits counts in none of them."""
    clock = ManualClock(1_800_000_000.0)
    app = make_app(sandbox, clock=clock, ANAM_TOKEN_RATE_LIMIT="3 per hour; 2 per minute")
    client = client_of(app, ADA)
    answers = [client.post(TOKEN_PATH, json={"slot": str(n)}).status_code for n in range(4)]
    assert answers == [200, 200, 429, 429]
    clock.move(60)
    answers = [client.post(TOKEN_PATH, json={"slot": f"x{n}"}).status_code for n in range(2)]
    assert answers == [200, 429]


def _host_with_limiter(sandbox: Sandbox, **config: object) -> tuple[Flask, Limiter]:
    app = make_host(
        ADA,
        ANAM_API_KEY=sandbox.api_key,
        ANAM_BASE_URL=sandbox.url,
        ANAM_PERSONAS={"support": PERSONA},
        ANAM_TOKEN_RATE_LIMIT="2 per hour",
        **config,
    )
    FlaskAnam(app)
    limiter = Limiter(lambda: "everybody", app=app, storage_uri="memory://")  # also after us
    return app, limiter


def test_the_hosts_limiter_keeps_the_counts(sandbox: Sandbox) -> None:
    """With exactly one Limiter on the app, its storage is used: its reset frees the user."""
    app, limiter = _host_with_limiter(sandbox)
    client = client_of(app, ADA)
    assert [client.post(TOKEN_PATH, json={"slot": str(n)}).status_code for n in range(3)] == [
        200,
        200,
        429,
    ]
    with app.app_context():
        limiter.reset()
    assert client.post(TOKEN_PATH, json={"slot": "4"}).status_code == 200


def test_a_disabled_limiter_of_the_host_does_not_lift_our_limits(sandbox: Sandbox) -> None:
    """RATELIMIT_ENABLED = False is the host's business; tokens stay limited."""
    app, _ = _host_with_limiter(sandbox, RATELIMIT_ENABLED=False)
    client = client_of(app, ADA)
    answers = [client.post(TOKEN_PATH, json={"slot": str(n)}).status_code for n in range(3)]
    assert answers == [200, 200, 429]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("local", [200, 200, 429]), ("open", [200, 200, 200]), ("closed", [503, 503, 503])],
)
def test_limits_when_their_storage_is_down(
    sandbox: Sandbox, mode: str, expected: list[int], free_port: int
) -> None:
    """ANAM_LIMITER_ON_ERROR decides: count here, do not limit, or refuse."""
    app = make_app(
        sandbox,
        ANAM_RATE_LIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port}",
        ANAM_LIMITER_ON_ERROR=mode,
        ANAM_TOKEN_RATE_LIMIT="2 per hour",
    )
    client = client_of(app, ADA)
    answers = [client.post(TOKEN_PATH, json={"slot": str(n)}).status_code for n in range(3)]
    assert answers == expected


def test_clear_cache_forgets_stored_tokens(sandbox: Sandbox) -> None:
    """clear_cache() makes the next request mint; it can be narrowed to a user or a persona."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam)
    ada, bob = client_of(app, ADA), client_of(app, BOB)
    slot = {"json": {"slot": "t"}}
    first, bobs = _token(ada, **slot), _token(bob, **slot)
    with app.app_context():
        anam.clear_cache(user_id="ada")
    second = _token(ada, **slot)
    assert second != first
    assert _token(bob, **slot) == bobs
    with app.app_context():
        anam.clear_cache(persona_type="other")
    assert _token(ada, **slot) == second
    with app.app_context():
        anam.clear_cache()
    assert _token(bob, **slot) != bobs


@pytest.mark.parametrize("which", [{}, {"user_id": "ada"}, {"persona_type": "support"}], ids=str)
@pytest.mark.parametrize("days", [2, 6, 13.9])
def test_a_cleared_token_of_long_life_never_comes_back(
    clock: ManualClock, which: dict[str, str], days: float
) -> None:
    """However long tokens live: not even while no new one can be had."""
    anam = FlaskAnam(clock=clock)
    with Sandbox(clock=clock.time, token_lifetime=14 * 86400) as sandbox:
        app = make_app(sandbox, anam=anam)
        ask = {"slot": "tab"}
        first = client_of(app, ADA).post(TOKEN_PATH, json=ask).get_json()["sessionToken"]
        with app.app_context():
            anam.clear_cache(**which)
        clock.move(days * 86400 + 5)
        sandbox.fail_next(503, times=9)
        answer = client_of(app, ADA).post(TOKEN_PATH, json=ask)
        assert answer.status_code == 503
        assert first not in answer.text


def test_a_generation_outlives_every_token_that_can_be_stored() -> None:
    """The two lifetimes stay in step: one is made of the other."""
    assert GENERATION_LIFETIME > LONGEST_LIFETIME
