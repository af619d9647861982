"""Single-flight: one call for many callers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from core.forking import child_says

from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.single_flight import SingleFlight
from flask_anam.errors import AnamError, AnamUnavailable, Busy, RateLimited


def soon(seconds: float = 10.0) -> Deadline:
    """Return a deadline on the real clock: waits are real here."""
    return Deadline.after(Clock(), seconds)


class Killed(BaseException):
    """What ends a greenlet or a worker: no Exception."""


class Gate:
    """Work that counts its calls and ends when it is let go."""

    def __init__(self, outcome: Callable[[], str] = lambda: "token") -> None:
        self.calls = 0
        self.entered = threading.Event()
        self.open = threading.Event()
        self._outcome = outcome

    def __call__(self) -> str:
        """Wait at the gate, then give the outcome."""
        self.calls += 1
        self.entered.set()
        assert self.open.wait(10)
        return self._outcome()


Outcome = Future[tuple[str, bool]]


class TellingClock(Clock):
    """A clock that is looked at by those who wait, and tells so."""

    def __init__(self) -> None:
        self.looks = threading.Semaphore(0)

    def monotonic(self) -> float:
        """Tell that somebody is about to wait."""
        self.looks.release()
        return super().monotonic()


def followers(
    pool: ThreadPoolExecutor, flights: SingleFlight[str], work: Callable[[], str], count: int
) -> list[Outcome]:
    """Start callers while a flight is under way; return when all of them have joined it."""
    clock = TellingClock()
    deadline = Deadline(clock, Clock().monotonic() + 10)
    futures = [pool.submit(flights.run, "k", work, deadline) for _ in range(count)]
    for _ in range(count):
        assert clock.looks.acquire(timeout=10)
    return futures


def crowd(
    pool: ThreadPoolExecutor, flights: SingleFlight[str], gate: Gate, count: int
) -> list[Outcome]:
    """Start one leader and its followers; return when they all are on the one flight."""
    leading = pool.submit(flights.run, "k", gate, soon())
    assert gate.entered.wait(10)
    return [leading, *followers(pool, flights, gate, count - 1)]


def raising(error: BaseException) -> Callable[[], str]:
    """Return an outcome that is this error."""

    def outcome() -> str:
        raise error

    return outcome


def test_thirty_callers_share_one_call() -> None:
    """All get the leader's result; exactly one is told that it led."""
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate()
    with ThreadPoolExecutor(30) as pool:
        futures = crowd(pool, flights, gate, 30)
        gate.open.set()
        outcomes = [future.result(10) for future in futures]
    assert gate.calls == 1
    assert [value for value, _ in outcomes] == ["token"] * 30
    assert sum(led for _, led in outcomes) == 1


@pytest.mark.parametrize(
    "error",
    [AnamUnavailable("Down."), RateLimited(limit=3, retry_after=9)],
    ids=lambda error: type(error).__name__,
)
def test_waiters_share_the_leaders_error_as_objects_of_their_own(error: AnamError) -> None:
    """Each waiter gets an equal, new error; nobody tries again."""
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate(raising(error))
    with ThreadPoolExecutor(10) as pool:
        futures = crowd(pool, flights, gate, 10)
        gate.open.set()
        raised = [future.exception(10) for future in futures]
    assert gate.calls == 1
    assert raised[0] is error
    assert len({id(error) for error in raised}) == 10
    assert {(type(other), str(other)) for other in raised} == {(type(error), str(error))}


@pytest.mark.parametrize(
    "death", [Killed(), SystemExit(1), RuntimeError("bug")], ids=lambda d: type(d).__name__
)
def test_a_killed_leader_is_followed_by_a_new_one(death: BaseException) -> None:
    """What is no error of ours is the leader's alone: the others elect another leader."""
    flights: SingleFlight[str] = SingleFlight()
    doomed = Gate(raising(death))
    first: list[BaseException] = []

    def lead() -> None:
        try:
            flights.run("k", doomed, soon())
        except BaseException as error:  # noqa: BLE001 - that is the point
            first.append(error)

    leader = threading.Thread(target=lead)
    leader.start()
    assert doomed.entered.wait(10)
    with ThreadPoolExecutor(5) as pool:
        futures = followers(pool, flights, lambda: "token", 5)
        doomed.open.set()
        outcomes = [future.result(10) for future in futures]
    leader.join()
    assert first == [death]
    assert {value for value, _ in outcomes} == {"token"}
    assert any(led for _, led in outcomes)


def test_a_waiter_gives_up_at_its_deadline() -> None:
    """Busy, while the leader goes on."""
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        leading = pool.submit(flights.run, "k", gate, soon())
        assert gate.entered.wait(10)
        for seconds in (0.02, -1.0):
            with pytest.raises(Busy):
                flights.run("k", gate, soon(seconds))
        gate.open.set()
        assert leading.result(10) == ("token", True)
    assert gate.calls == 1


def test_keys_do_not_wait_for_each_other() -> None:
    """While one key is under way another one goes straight through."""
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        leading = pool.submit(flights.run, "k", gate, soon())
        assert gate.entered.wait(10)
        assert flights.run("other", lambda: "else", soon()) == ("else", True)
        gate.open.set()
        assert leading.result(10) == ("token", True)


@pytest.mark.parametrize("end", [None, AnamUnavailable(), Killed()], ids=["well", "error", "kill"])
def test_nothing_is_left_behind(end: BaseException | None) -> None:
    """However a flight ends, its key is forgotten and the next caller leads."""
    flights: SingleFlight[str] = SingleFlight()
    if end is None:
        flights.run("k", lambda: "token", soon())
    else:
        with pytest.raises(type(end)):
            flights.run("k", raising(end), soon())
    assert flights._flights == {}
    assert flights.run("k", lambda: "next", soon()) == ("next", True)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_waits_for_no_flight_of_its_parent() -> None:
    """The leader's thread is not in the child: there the key is free, its lock too."""
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        leading = pool.submit(flights.run, "k", gate, soon())
        assert gate.entered.wait(10)
        with flights._lock:
            assert child_says(lambda: flights.run("k", lambda: "c", soon(5)) == ("c", True))
        gate.open.set()
        assert leading.result(10) == ("token", True)
