"""What a hostile client costs: bounded work per request, bounded memory for all of them."""

from __future__ import annotations

import ast
import gc
import json
import os
import random
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from cachelib import SimpleCache
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, PERSONA, TOKEN_PATH, User, client_of, make_app

import flask_anam
from flask_anam import FlaskAnam
from flask_anam.core.cache.backends import THRESHOLD
from flask_anam.rate_limits.storage import MAX_COUNTERS, InProcessCounters
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock
from flask_anam.web.request_guards import MAX_BODY, MAX_DEPTH

#: Requests of the flood; `make hostile` sends 200,000.
FLOOD = int(os.environ.get("ANAM_HOSTILE_REQUESTS", "5000"))


def post(client: FlaskClient, text: str | bytes, path: str = TOKEN_PATH) -> tuple[int, int]:
    """Send a body as it is; return status and length of the answer."""
    answer = client.post(path, data=text, content_type="application/json")
    return answer.status_code, len(answer.data)


def nested(levels: int, brackets: str = "[]") -> str:
    """Return JSON of so many levels."""
    if brackets == "[]":
        return "[" * levels + "]" * levels
    return '{"a":' * levels + "0" + "}" * levels


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth_is_bounded_where_everything_may_be_set(sandbox: Sandbox, brackets: str) -> None:
    """An override that takes any object is no way to a stack overflow."""
    anam = FlaskAnam()
    anam.add_persona("open", PERSONA, overrides=("tools",))
    ada = client_of(make_app(sandbox, anam=anam), ADA)
    for levels in (MAX_DEPTH - 5, MAX_DEPTH - 4, 200, 900, 1500, 2700):
        inner = nested(levels, brackets)
        tool = f'{{"type": "client", "name": "t", "parameters": {{"x": {inner}}}}}'
        status, _ = post(ada, f'{{"personaType": "open", "overrides": {{"tools": [{tool}]}}}}')
        # Five levels are around it; what Python itself cannot parse is no JSON to us.
        assert status == 200 if levels == MAX_DEPTH - 5 else status in {400, 422}


AMPLIFIERS = {
    "unknown fields": json.dumps({f"f{n}": 0 for n in range(1100)}),
    "near misses": json.dumps({f"personaTyp{n}": 0 for n in range(800)}),
    "overrides": json.dumps({"overrides": {f"f{n}": 0 for n in range(1300)}}),
    "one long name": json.dumps({"n" * 15_000: 0}),
    "long persona": json.dumps({"personaType": "p" * 15_000}),
    "long number": '{"personaType": ' + "9" * 4_000 + "}",
    "too long number": '{"personaType": ' + "9" * 16_000 + "}",
    "exponent": '{"personaType": 1e999999}',
    "escapes": '{"slot": "' + "\\u0000" * 2_500 + '"}',
    "lone surrogates": '{"slot": "' + "\\ud800" * 10 + '"}',
    "surrogate names": '{"\\ud800": 0}',
    "the same field": "{" + '"slot": "a", ' * 1_000 + '"slot": "b"}',
    "surrogate override names": json.dumps({"overrides": {f"\ud800{n:x}": 0 for n in range(1000)}}),
    "wrong items": json.dumps({"personaType": "open", "overrides": {"tools": [1] * 5_000}}),
    "wrong ids": json.dumps({"personaType": "open", "overrides": {"toolIds": ["x"] * 3_000}}),
    "wrong parts": json.dumps({"personaType": "open", "overrides": {"tools": [{"type": 1}] * 999}}),
    "colliding names": json.dumps({str(n * (2**61 - 1)): 0 for n in range(500)}),
}


@pytest.mark.parametrize("body", AMPLIFIERS.values(), ids=AMPLIFIERS)
def test_a_request_is_answered_in_proportion(sandbox: Sandbox, body: str) -> None:
    """No 5xx, nothing minted for what is wrong, and no answer far longer than the request."""
    anam = FlaskAnam()
    app = make_app(sandbox, anam=anam, ANAM_DEFAULT_PERSONA="support")
    anam.add_persona("open", PERSONA, overrides=("tools", "toolIds"))
    status, length = post(client_of(app, ADA), body)
    assert status in {200, 400, 404, 422}
    assert length < 2 * len(body) + 8_000


@pytest.mark.parametrize("path", [TOKEN_PATH, "/anam/sessions", "/anam/session-token/validate"])
def test_size_is_bounded_on_every_route(app: Flask, path: str) -> None:
    """One byte over 16 KiB is refused, whatever it says; the limit itself is not."""
    ada = client_of(app, ADA)
    assert post(ada, b" " * MAX_BODY + b"{}", path)[0] == 413
    assert post(ada, b"{}".ljust(MAX_BODY), path)[0] in {200, 422}
    lying = {"CONTENT_LENGTH": str(10**12)}
    answer = ada.post(path, data=b"{}", content_type="application/json", environ_overrides=lying)
    assert answer.status_code == 413


def test_headers_and_paths_are_bounded(app: Flask) -> None:
    """Long or strange ones are refused or ignored; none is kept."""
    ada = client_of(app, ADA)
    for name in ("Idempotency-Key", "Origin", "Sec-Fetch-Site", "Content-Type", "Authorization"):
        for value in ("x" * 60_000, "é" * 100, "\x7f", ",".join("abc" * 99)):
            sent: dict[str, Any] = {"json": {}, "headers": {name: value}}
            assert ada.post(TOKEN_PATH, **sent).status_code < 500
    for path in ("x" * 8_000, "%00", "..%2f..%2fetc", "%ff%fe", "é"):
        assert ada.post(f"/anam/sessions/{path}/end").status_code in {204, 404}
        assert ada.get(f"/anam/static/{path}").status_code == 404


@pytest.mark.slow
def test_a_flood_of_strange_requests_leaves_little_behind(sandbox: Sandbox) -> None:
    """Random slots, keys, personas, refusals, reports, bodies and users: stores stay bounded.

    The long run measures the memory too.
    """
    cache, clock = SimpleCache(threshold=THRESHOLD), ManualClock()
    users = [User(f"user-{n}") for n in range(10)]
    config: dict[str, Any] = {"ANAM_CACHE": cache, "ANAM_REQUEST_RATE_LIMIT": "1000000 per minute"}
    app = make_app(sandbox, *users, clock=clock, **config)
    clients = [client_of(app, user) for user in users]
    state, chance = app.extensions["anam"], random.Random(7)
    grown: list[int] = []
    if FLOOD > 5000:
        tracemalloc.start(1)
    for number in range(FLOOD):
        hostile_request(clients[number % len(clients)], chance)
        if number % (FLOOD // 5) == FLOOD // 5 - 1:
            clock.move(10)
            gc.collect()
            grown.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    mints = len(sandbox.ledger.mints)
    assert mints <= 10 * len(users)  # the token limit holds
    assert len(cache._cache) <= min(THRESHOLD, 3 * mints + 2 * len(users))
    assert len(state.limits.counters._in_process._counts) <= 4 * len(users) + 1_000
    assert len(state.manager._flights._flights) == 0
    assert len(state.manager._cool_downs._local) <= 256
    assert len(state.registry._static) == 1
    # Most of what grows is the sandbox's own ledger, at the beginning; then it must be over.
    assert grown[-1] - grown[1] < 2_000_000, grown


def hostile_request(client: FlaskClient, chance: random.Random) -> None:
    """Send one request with something random in it."""
    mark = f"{chance.getrandbits(64):x}"
    token_id = mark.ljust(16, "x")[:16]
    kind = chance.randrange(8)
    if kind == 0:
        answer = client.post(TOKEN_PATH, json={"slot": mark})
    elif kind == 1:
        answer = client.post(TOKEN_PATH, json={}, headers={"Idempotency-Key": mark})
    elif kind == 2:
        answer = client.post(TOKEN_PATH, json={"personaType": mark})
    elif kind == 3:
        answer = client.post(TOKEN_PATH, json={"slot": mark, "refused": token_id})
    elif kind == 4:
        answer = client.post("/anam/sessions", json={"tokenId": token_id, "sessionId": mark})
    elif kind == 5:
        answer = client.post(f"/anam/sessions/{mark}/end")
    elif kind == 6:
        answer = client.post("/anam/session-token/validate", json={"sessionToken": mark})
    else:
        answer = client.post(TOKEN_PATH, json={mark: mark, "overrides": {mark: mark}})
    assert answer.status_code in {200, 204, 404, 422, 429}


def test_counters_of_many_users_are_bounded() -> None:
    """More users than fit cost the oldest counters, not more memory."""
    counters = InProcessCounters(ManualClock())
    for number in range(MAX_COUNTERS + 50_000):
        assert counters.add(f"user-{number}", 3600, 1) == 1
    assert len(counters._counts) <= MAX_COUNTERS
    assert counters.read(f"user-{MAX_COUNTERS + 49_999}") == 1


#: Every pattern of the package outside the sandbox, and why its work grows with the text only.
REVIEWED = {
    r"[A-Za-z0-9_+/=-]+\.([A-Za-z0-9_+/=-]+)\.[A-Za-z0-9_+/=-]+": "no part holds the dot after it",
    "(?:/[A-Za-z0-9_-]+)+": "the slash that begins each part is in no part",
    r"[a-z0-9]+(?:_[a-z0-9]+)+": "the underscore that begins each part is in no part",
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}": "of fixed length",
    r"[A-Z][A-Z0-9_]{2,63}": "of bounded length",
    r"[\w.:@-]+": "one class",
    "(^|[\t\n\r;|])([=+@\uff1d\uff0b\uff0d\uff20-])": "of bounded length",
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]": "of fixed length",
    r"(\d{1,6})([mhdw])": "of bounded length",
    r"[A-Za-z]{2}": "of fixed length",
    r"<(?:[^:<>]+:)?([^<>]+)>": "each part ends at a character it cannot hold; our own rules only",
    r"(?:--workers[ =]|-w ?)([0-9]{1,4})": "of bounded length; the operator's own environment",
}


def patterns() -> set[str]:
    """Return the first argument of each call of `re` in the package outside the sandbox."""
    folder = Path(flask_anam.__file__).parent
    names = set()
    for file in folder.rglob("*.py"):
        if "sandbox" in file.relative_to(folder).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                names.add(ast.literal_eval(node.args[0]))
    return names


def test_every_pattern_is_reviewed() -> None:
    """A new pattern needs a reason here why no text makes it backtrack."""
    assert patterns() == set(REVIEWED)


@pytest.mark.parametrize("pattern", REVIEWED)
def test_no_text_makes_a_pattern_backtrack(pattern: str) -> None:
    """Texts that fail at their end, so long that more than linear work would not come back."""
    compiled = re.compile(pattern)
    for seed in (
        ".",
        "a.",
        "a",
        "A",
        "0",
        "_",
        "a_",
        "_a",
        "0-",
        "<",
        "<a",
        "<a:",
        "-w ",
        " ",
        "ab",
    ):
        text = (seed * 30_000) + "\x00"
        assert compiled.fullmatch(text) is None
        compiled.match(text)
