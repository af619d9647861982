"""What the ledger records, and how tests may wait for it."""

import dataclasses
import threading
from collections.abc import Callable

import pytest
import requests

from flask_anam.sandbox import Ledger, RequestRecord, Sandbox
from flask_anam.sandbox.ledger import drop_oldest

Caller = Callable[..., requests.Response]


def test_a_request_is_recorded_as_it_came(
    make_sandbox: Callable[..., Sandbox], call: Caller
) -> None:
    """Names of headers are lower-cased; the body is there raw and parsed."""
    sandbox = make_sandbox(clock=lambda: 12.5)
    headers = {"X-Custom": "A", "Content-Type": "application/json"}
    call("POST", "/v1/nowhere?a=1&a=2&b=", at=sandbox, data='{"x": [1]}', headers=headers)
    record = sandbox.ledger.requests[0]
    assert (record.method, record.path, record.query) == (
        "POST",
        "/v1/nowhere",
        {"a": "2", "b": ""},
    )
    assert record.headers["x-custom"] == "A"
    assert record.headers["authorization"] == f"Bearer {sandbox.api_key}"
    assert (record.body, record.raw_body) == ({"x": [1]}, b'{"x": [1]}')
    assert (record.connection, record.status, record.at) == (1, 404, 12.5)


def test_a_body_that_is_no_json_is_recorded_raw(sandbox: Sandbox, call: Caller) -> None:
    """The parsed body is None then."""
    call("POST", "/v1/nowhere", data=b"\xff")
    assert (sandbox.ledger.requests[0].body, sandbox.ledger.requests[0].raw_body) == (None, b"\xff")


def test_requests_are_counted_by_path_and_method(sandbox: Sandbox, call: Caller) -> None:
    """The query does not matter."""
    for method, path in (("GET", "/a"), ("GET", "/a?x=1"), ("POST", "/a"), ("GET", "/b")):
        call(method, path)
    ledger = sandbox.ledger
    assert [ledger.count("/a"), ledger.count("/a", "GET"), ledger.count("/a", "PUT")] == [3, 2, 0]


def test_records_are_copies_that_cannot_be_changed(sandbox: Sandbox, call: Caller) -> None:
    """A tuple taken earlier stays as it was."""
    before = sandbox.ledger.requests
    call("GET", "/")
    assert before == ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        sandbox.ledger.requests[0].status = 1  # type: ignore[misc]


def test_clear_forgets_the_records_but_not_the_account(
    sandbox: Sandbox, mint: Caller, start: Caller, call: Caller
) -> None:
    """Tokens stay good and sessions can still be stopped."""
    token = mint().json()["sessionToken"]
    running = start(sandbox.issue_token()).json()["sessionId"]
    sandbox.ledger.clear()
    ledger = sandbox.ledger
    assert (ledger.requests, ledger.mints, ledger.sessions) == ((), (), ())
    assert start(token).status_code == 200
    assert ledger.sessions[0].persona_config == {"personaId": "any"}
    assert call("POST", f"/v1/sessions/{running}/stop").status_code == 200
    assert len(ledger.sessions) == 1


def test_wait_for_returns_once_enough_requests_came(sandbox: Sandbox) -> None:
    """Also for one that is never answered."""
    sandbox.fail_next(path="/slow", silent=True)

    def ask() -> None:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{sandbox.url}/slow", timeout=10)

    client = threading.Thread(target=ask)
    client.start()
    assert sandbox.ledger.wait_for("/slow", 1)
    assert sandbox.ledger.requests[0].status is None
    sandbox.stop()
    client.join()


def test_wait_for_gives_up_in_time(sandbox: Sandbox) -> None:
    """False after the time-out, True at once when there is nothing to wait for."""
    assert sandbox.ledger.wait_for("/never", 1, timeout=0.01) is False
    assert sandbox.ledger.wait_for("/never", 0, timeout=0.0) is True


def test_many_threads_may_write(sandbox: Sandbox) -> None:
    """No record is lost and each has its status."""

    def ask() -> None:
        with requests.Session() as session:
            for _ in range(10):
                session.get(sandbox.url, timeout=10)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.ledger.count("/") == 80
    assert {record.status for record in sandbox.ledger.requests} == {200}


def test_an_answer_to_a_forgotten_request_is_no_error() -> None:
    """A clear between a request and its answer does no harm."""
    ledger = Ledger()
    record = RequestRecord("GET", "/", {}, {}, 1, None, b"", None, 0.0)
    number = ledger.add_request(record)
    ledger.set_status(number, 200)
    assert ledger.requests[0].status == 200
    ledger.clear()
    ledger.set_status(number, 500)
    assert ledger.requests == ()
    assert repr(ledger) == "<Ledger: 0 requests, 0 mints, 0 sessions>"


def test_only_the_newest_records_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that runs for days does not fill the memory."""
    monkeypatch.setattr("flask_anam.sandbox.ledger.MAX_RECORDS", 3)
    records = dict.fromkeys(range(10))
    drop_oldest(records)
    assert list(records) == [7, 8, 9]
    ledger = Ledger()
    for number in range(10):
        ledger.add_request(RequestRecord("GET", f"/{number}", {}, {}, 1, None, b"", None, 0.0))
    assert [record.path for record in ledger.requests] == ["/7", "/8", "/9"]
