"""``/v1/sessions``: what runs, what ran, and what may start."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from flask_anam.sandbox import Ledger, Sandbox
from flask_anam.sandbox.api.sessions import Sessions, SessionStart
from flask_anam.testing import ManualClock

Caller = Callable[..., requests.Response]
Maker = Callable[..., Sandbox]


def _begin(call: Caller, sandbox: Sandbox, label: str = "", **config: Any) -> str:
    body = {"clientLabel": label, "personaConfig": {"name": "Cara", **config}}
    id_: str = call("POST", "/v1/engine/session", at=sandbox, json=body).json()["sessionId"]
    return id_


def test_a_session_is_shown_with_the_published_fields(make_sandbox: Maker, call: Caller) -> None:
    """Running, it has no end; after a stop it has one, a length and a status."""
    clock = ManualClock(1_700_000_000.0)
    sandbox = make_sandbox(clock=clock.time)
    id_ = _begin(call, sandbox, "shop", personaId=str(uuid.uuid4()))
    shown = call("GET", f"/v1/sessions/{id_}", at=sandbox).json()
    assert shown["startTime"] == "2023-11-14T22:13:20.000Z"
    assert (shown["endTime"], shown["sessionLengthMs"], shown["exitStatus"]) == (None, None, None)
    assert (shown["clientLabel"], shown["toolCalls"]) == ("shop", [])
    clock.move(1.5)
    stopped = call("POST", f"/v1/sessions/{id_}/stop", at=sandbox)
    assert (stopped.status_code, stopped.json()) == (200, {})
    shown = call("GET", f"/v1/sessions/{id_}", at=sandbox).json()
    assert shown["endTime"] == "2023-11-14T22:13:21.500Z"
    assert (shown["sessionLengthMs"], shown["exitStatus"]) == (1500, "CLOSED_BY_ENGINE")
    record = sandbox.ledger.sessions[0]
    assert (record.ended_at, record.exit_status) == (clock.now, "CLOSED_BY_ENGINE")


def test_only_a_running_session_can_be_stopped(sandbox: Sandbox, call: Caller) -> None:
    """Unknown and ended sessions are a 404, and what is no UUID is a 400."""
    id_ = _begin(call, sandbox)
    assert call("POST", f"/v1/sessions/{uuid.uuid4()}/stop").status_code == 404
    assert call("POST", "/v1/sessions/nonsense/stop").status_code == 400
    assert call("POST", f"/v1/sessions/{id_}/stop").status_code == 200
    assert call("POST", f"/v1/sessions/{id_}/stop").status_code == 404


def test_an_unknown_session_is_not_found(call: Caller) -> None:
    """A UUID that names nothing is a 404, anything else a 400."""
    assert call("GET", f"/v1/sessions/{uuid.uuid4()}").status_code == 404
    assert call("GET", "/v1/sessions/nonsense").status_code == 400


def test_sessions_are_listed_newest_first_in_pages(sandbox: Sandbox, call: Caller) -> None:
    """The pages say what comes before and after."""
    ids = [_begin(call, sandbox, f"n{number}") for number in range(12)]
    first = call("GET", "/v1/sessions").json()
    assert [entry["id"] for entry in first["data"]] == ids[:1:-1]
    assert first["meta"] == {
        "total": 12,
        "lastPage": 2,
        "currentPage": 1,
        "perPage": 10,
        "prev": None,
        "next": 2,
    }
    last = call("GET", "/v1/sessions?page=3&perPage=5").json()
    assert [entry["clientLabel"] for entry in last["data"]] == ["n1", "n0"]
    assert (last["meta"]["prev"], last["meta"]["next"]) == (2, None)


def test_sessions_are_searched_by_label_and_id(sandbox: Sandbox, call: Caller) -> None:
    """A part of either is enough, in any case."""
    shop, _ = _begin(call, sandbox, "Shop-42"), _begin(call, sandbox, "desk")
    for term in ("shop", "P-4", shop, shop[:8].upper()):
        entries = call("GET", "/v1/sessions", params={"search": term}).json()["data"]
        assert [entry["id"] for entry in entries] == [shop], term
    assert call("GET", "/v1/sessions?search=nothing").json()["data"] == []


def test_sessions_are_filtered_by_persona_and_key(sandbox: Sandbox, call: Caller) -> None:
    """Ids that no session has give an empty list."""
    persona, other = str(uuid.uuid4()), str(uuid.uuid4())
    id_ = _begin(call, sandbox, personaId=persona)
    _begin(call, sandbox)
    entries = call("GET", f"/v1/sessions?personaId={persona}").json()["data"]
    assert [entry["id"] for entry in entries] == [id_]
    key = entries[0]["apiKeyId"]
    assert call("GET", f"/v1/sessions?apiKeyId={key}").json()["meta"]["total"] == 2
    assert call("GET", f"/v1/sessions?apiKeyId={other}").json()["meta"]["total"] == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("page=0", 400),
        ("page=one", 400),
        ("perPage=101", 400),
        ("perPage=-1", 400),
        ("apiKeyId=x", 400),
        ("personaId=x", 400),
        ("organizationId=x", 403),
        ("perPage=100", 200),
    ],
)
def test_wrong_queries_are_refused(call: Caller, query: str, status: int) -> None:
    """Ranges and formats are the published ones; other organizations are out of reach."""
    assert call("GET", f"/v1/sessions?{query}").status_code == status


def test_concurrency_counts_what_runs(make_sandbox: Maker, call: Caller) -> None:
    """At the limit, the wait is the mean length less the age of the oldest session."""
    clock = ManualClock(1_700_000_000.0)
    sandbox = make_sandbox(clock=clock.time, concurrency_limit=2)

    def status() -> list[Any]:
        answer = call("GET", "/v1/sessions/concurrency", at=sandbox)
        return list(answer.json().values())

    assert status() == [2, 0, True, 0]
    first = _begin(call, sandbox)
    _begin(call, sandbox)
    assert status() == [2, 2, False, None]
    clock.move(60)
    call("POST", f"/v1/sessions/{first}/stop", at=sandbox)
    assert status() == [2, 1, True, 0]
    _begin(call, sandbox)
    assert status() == [2, 2, False, 0]
    clock.move(-30)
    assert status() == [2, 2, False, 30]


def test_no_session_can_start_when_the_limit_is_zero(make_sandbox: Maker, call: Caller) -> None:
    """With nothing to wait for there is no estimate."""
    sandbox = make_sandbox(concurrency_limit=0)
    status = call("GET", "/v1/sessions/concurrency", at=sandbox).json()
    assert (status["canStartSession"], status["estimatedWaitSeconds"]) == (False, None)


def test_concurrency_of_others_is_out_of_reach(call: Caller) -> None:
    """Naming an organization needs a key of the vendor's own."""
    assert call("GET", "/v1/sessions/concurrency?organizationId=x").status_code == 403


def test_a_session_ends_by_itself_when_its_time_is_over(make_sandbox: Maker, call: Caller) -> None:
    """`maxSessionLengthSeconds` frees the place without anybody's help."""
    clock = ManualClock(1_700_000_000.0)
    sandbox = make_sandbox(clock=clock.time, concurrency_limit=1)
    id_ = _begin(call, sandbox, maxSessionLengthSeconds=60)
    clock.move(59)
    assert call("GET", "/v1/sessions/concurrency", at=sandbox).json()["active"] == 1
    clock.move(2)
    assert call("GET", f"/v1/sessions/{id_}", at=sandbox).json()["sessionLengthMs"] == 60_000
    assert call("POST", f"/v1/sessions/{id_}/stop", at=sandbox).status_code == 404
    assert call("GET", "/v1/sessions/concurrency", at=sandbox).json()["active"] == 0


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/sessions/concurrency"])
def test_sessions_need_the_api_key(call: Caller, sandbox: Sandbox, path: str) -> None:
    """A session token opens nothing but its own session."""
    assert call("GET", path, token=sandbox.issue_token()).status_code == 401


def test_a_session_that_starts_again_counts_once_and_is_the_newest(
    make_sandbox: Maker, call: Caller, start: Caller
) -> None:
    """It needs no place beside its own, and moves to the top of the list."""
    sandbox = make_sandbox(concurrency_limit=2)
    token = sandbox.issue_token()
    again = start(token, at=sandbox).json()["sessionId"]
    other = _begin(call, sandbox)
    assert start(token, at=sandbox).status_code == 200
    entries = call("GET", "/v1/sessions", at=sandbox).json()["data"]
    assert [entry["id"] for entry in entries] == [again, other]
    assert start(sandbox.issue_token(), at=sandbox).status_code == 429


def test_an_equal_start_is_another_run_of_a_session() -> None:
    """A client of the earlier run is not let into the later one."""
    sessions = Sessions(Ledger(), limit=None, single_use=False, clock=ManualClock().time)
    earlier, later = (SessionStart("id", None, None, {}, {}, None, "h", "k") for _ in range(2))
    sessions.start(earlier)
    assert sessions.is_running(earlier)
    sessions.start(later)
    assert (sessions.is_running(earlier), sessions.is_running(later)) == (False, True)
    assert sessions.find_running("id") is later
