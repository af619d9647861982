"""The soak runs, and its judge notices each promise that is broken."""

from __future__ import annotations

import itertools
import re
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import pytest
from hosts import make_app

from benchmarks import soak, soak_anam
from benchmarks.apps.soak import own_name
from benchmarks.soak import Size
from benchmarks.soak_judge import (
    BROKEN,
    HUNG,
    Evidence,
    Mint,
    Page,
    Seen,
    complaints,
    documented,
    outages,
)
from benchmarks.soak_users import Users
from flask_anam.sandbox import Sandbox
from flask_anam.web.openapi import describe

pytestmark = pytest.mark.source

TINY = Size(requests=120, warm_up=20, users=8, connections=8, workers=2, growth=100.0, seconds=300)
TAB = ("ada", "coach", "slot", "tab")
_FIELDS = ("error", "code", "sessionToken", "tokenId", "personaType", "expiresAt", "expiresIn")
CARRIED = frozenset(["cache-control", "retry-after", *(f"body {name}" for name in _FIELDS)])


def token(at: float, answered: str, **changed: Any) -> Seen:
    """Return a request for a token that took a tenth of a second."""
    facts: dict[str, Any] = {"operation": "issueToken", "user": "ada", "place": TAB}
    facts |= {"carries": CARRIED}
    facts |= {"began": at, "ended": at + 0.1, "status": 200, "got": answered, "opened": 0.0}
    return Seen(**{**facts, **changed})


def report(at: float, used: str, **changed: Any) -> Seen:
    """Return the report of a start."""
    facts = {"operation": "reportStart", "status": 204, "place": (), "used": used}
    return token(at, "", **{**facts, **changed})


def mint(at: float, name: str, user: str = "ada", persona: str = "coach") -> Mint:
    """Return a token that was made."""
    return Mint(token=name, user=user, persona=persona, at=at)


@pytest.fixture(scope="module")
def allowed() -> Any:
    """Return what may be answered, from the code's own description."""
    with Sandbox() as sandbox:
        return documented(describe(make_app(sandbox), root="/"))


def good(allowed: Any) -> Evidence:
    """Return a little of everything, and nothing wrong with it."""
    seen = [
        token(10, "one"),
        token(11, "one"),
        report(12, "one"),
        token(13, "two"),
        token(14, "", status=502, code="anam_rejected"),
        token(15, "", status=404, code="unknown_persona", only=(404, "unknown_persona")),
        token(16, "three", user="bob", place=("bob", "coach", "replay")),
        token(20, "four", user="bob", place=("bob", "coach", "replay")),
        token(21, "two"),
        token(30, "", status=BROKEN, worker="7"),
    ]
    mints = [
        *(mint(at, name) for at, name in ((10.05, "one"), (13.05, "two"))),
        *(mint(at, name, "bob") for at, name in ((16.05, "three"), (20.05, "four"))),
        mint(17, "lost"),
    ]
    pages = [Page(began=10, ended=10.01, status=200), Page(began=30, ended=30.1, status=BROKEN)]
    return Evidence(
        seen=seen, mints=mints, pages=pages, documented=allowed, kills=[(30.05, 7)], lossy=1
    )


def test_nothing_is_said_of_what_is_as_promised(allowed: Any) -> None:
    """The evidence that the other tests spoil is good."""
    assert complaints(good(allowed)) == []


SPOILT: dict[str, dict[str, Any]] = {
    "Not documented": {"seen": token(40, "", status=418)},
    "Not documented: issueToken .* 502 rate_limited": {
        "seen": token(40, "", status=502, code="rate_limited")
    },
    "Not documented: reportStart .* 429": {
        "seen": report(40, "two", status=429, code="rate_limited")
    },
    "Blames the set-up": {"seen": token(40, "", status=500, code="persona_invalid")},
    "Lacks retry-after": {
        "seen": token(
            40, "", status=503, code="anam_unavailable", carries=CARRIED - {"retry-after"}
        )
    },
    "Lacks body sessionToken": {"seen": token(40, "two", carries=CARRIED - {"body sessionToken"})},
    "Must be ": {
        "seen": token(40, "", status=403, code="permission_denied", only=(401, "unauthenticated"))
    },
    "No answer in time": {"seen": token(40, "", status=HUNG)},
    "Connection lost": {"seen": token(40, "", status=BROKEN, opened=35.0)},
    "Connection lost, and no": {"seen": token(30, "", status=BROKEN, worker="8")},
    "page of the host answered 500": {"pages": Page(began=40, ended=41, status=500)},
    "page of the host answered -1": {"pages": Page(began=40, ended=60, status=HUNG)},
    "page of the host answered 0": {"pages": Page(began=40, ended=41, status=BROKEN)},
    "never minted": {"seen": token(40, "made up")},
    "foreign token, made for ada": {
        "seen": token(40, "two", user="bob", place=("bob", "coach", "slot", "tab"))
    },
    "foreign token, made for ada and coach": {
        "seen": token(40, "two", place=("ada", "guide", "slot", "tab"))
    },
    "foreign token, handed out to": {
        "seen": token(40, "two", place=("ada", "coach", "slot", "other tab"))
    },
    "second token after 26": {"seen": token(40, "five"), "mints": mint(39.9, "five")},
    "second token after 0.5": {
        "seen": token(16.5, "five", user="bob", place=("bob", "coach", "replay")),
        "mints": mint(16.55, "five", "bob"),
    },
    "1 tokens more": {"mints": mint(25, "for nobody")},
    "used already": {"seen": token(40, "one")},
    "token that was refused": {"seen": token(40, "two", used="two")},
    "ada got 2 tokens; the limit is 1": {"limit": 1},
}


@pytest.mark.parametrize("complaint", SPOILT)
def test_the_judge_notices(allowed: Any, complaint: str) -> None:
    """One thing that is wrong among all that is right."""
    evidence, change = good(allowed), SPOILT[complaint]
    for name, extra in change.items():
        old = getattr(evidence, name)
        changed = [*old, extra] if isinstance(old, list) else extra
        setattr(evidence, name, changed)
    assert any(re.search(complaint, line) for line in complaints(evidence))


@pytest.mark.parametrize(
    "change",
    [
        {"outages": [(20.0, 30.0)]},  # Redis was away between the two
        {"outages": [(12.9, 13.01)]},  # it was back before the mint, but not before the question
        {"seen": [report(39.5, "two")]},  # its start was reported before
        {"seen": [token(39, "", status=502, code="anam_rejected", used="two")]},  # it was refused
        {"began": 36.8},  # the one who asked had waited for another process
    ],
    ids=["outage", "outage at first", "started", "refused", "waited"],
)
def test_a_second_token_is_excused_by_what_the_docs_name(
    allowed: Any, change: dict[str, Any]
) -> None:
    """Without that it is a complaint, as shown above."""
    evidence = good(allowed)
    asked = token(40, "five", began=change.get("began", 39.8))
    seen = [*evidence.seen, *change.get("seen", []), asked]
    mints = [*evidence.mints, mint(39.9, "five")]
    changed = replace(evidence, seen=seen, mints=mints, outages=change.get("outages", []))
    assert complaints(changed) == []


@pytest.mark.parametrize(("second", "reported"), [(18.95, True), (19.15, False)])
def test_a_window_begins_when_anam_is_asked(allowed: Any, second: float, reported: bool) -> None:
    """A late answer does not make it longer: three seconds from 16.1, whatever came at 16.5."""
    evidence, place = good(allowed), ("eve", "coach", "replay")
    seen = [
        token(16.1, "late", user="eve", place=place, ended=16.6),
        token(second - 0.01, "next", user="eve", place=place),
    ]
    mints = [mint(16.5, "late", "eve"), mint(second, "next", "eve")]
    evidence.seen = [*evidence.seen, *seen]
    evidence.mints = [*evidence.mints, *mints]
    assert any("A second token" in line for line in complaints(evidence)) is reported


def test_the_report_of_an_older_token_excuses_nothing(allowed: Any) -> None:
    """What comes late or twice leaves a newer token where it is."""
    evidence = good(allowed)
    seen = [*evidence.seen, report(39.5, "one"), token(40, "five")]
    changed = replace(evidence, seen=seen, mints=[*evidence.mints, mint(39.9, "five")])
    assert ["A second token" in line for line in complaints(changed)] == [True]


def test_a_worker_says_when_it_does_without_redis() -> None:
    """The judge reads the log lines of the token store and of the limits, and no others."""
    line = "100.500 12 WARNING flask_anam: The {} failed (TimeoutError); more"
    log = "\n".join(line.format(what) for what in ("token cache", "storage of the rate limits"))
    assert (
        outages(log + "\n200.000 12 WARNING flask_anam: anam_rejected: no") == [(99.5, 106.5)] * 2
    )


def test_each_fault_has_its_percent_in_an_order_that_the_seed_decides() -> None:
    """The same for the same seed; every kind, and each of them can be ordered."""
    order = soak_anam.order(50_000, seed=3)
    assert order == soak_anam.order(50_000, seed=3) != soak_anam.order(50_000, seed=4)
    for kind, how in soak_anam.FAULTS.items():
        assert 0.008 < order.count(kind) / len(order) < 0.012
        with Sandbox() as sandbox:
            sandbox.fail_next(path="*", **how)


def test_users_ask_for_all_kinds_of_things() -> None:
    """Every operation for callers, right and wrong, and twice in a row now and then."""
    users = Users({f"user-{number}": "cookie" for number in range(5)}, seed=1)
    numbers = itertools.count()
    asks = []
    for _ in range(2000):
        asks.append(users.next())
        if asks[-1].place:
            users.told(asks[-1], f"token-{next(numbers)}", "a.b.c")
    operations = {ask.operation for ask in asks}
    assert operations >= {"issueToken", "reportStart", "reportEnd", "validate", "stopSession"}
    assert {ask.only[0] for ask in asks if ask.only} >= {400, 401, 403, 404, 413, 415, 422}
    assert {ask.place[2] for ask in asks if ask.place} == {"slot", "key", "replay"}
    assert any(first is second for first, second in itertools.pairwise(asks))
    assert own_name("coach", "ada") == "coach of ada"


@pytest.mark.slow
def test_a_soak_that_takes_too_long_says_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], aside: Executor
) -> None:
    """It ends with 1, and with what tells a slow machine from a wait without end."""
    monkeypatch.setattr(soak, "SHORT", replace(TINY, seconds=0.0))
    monkeypatch.setattr("sys.argv", ["soak", "--short", "--only", "gthread"])
    assert aside.submit(soak.main).result() == 1
    line = "gthread: BROKEN: not done within 0 s: 0 requests, in the part 'warm-up'"
    assert line in capsys.readouterr().out


@pytest.mark.slow
def test_a_tiny_soak(aside: Executor) -> None:
    """All of it, small: two workers, Redis killed, a worker killed, and no promise broken.

    With one kind of workers; `make bench-soak ARGS=--short`, which CI runs, takes both.
    """
    run = aside.submit(soak.soak, "gthread", TINY, seed=7).result()
    text = soak.report("gthread", run)
    assert run.broken == [], text
    assert "all promises kept" in text
    assert len(run.evidence.seen) >= TINY.warm_up + 2 * TINY.requests
    assert run.faults.total() > 0
    assert len(run.evidence.kills) == 1
    assert run.evidence.pages
