"""`flask_anam.usage`, the public door to the records: each function, for users of each id kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hosts import ADA, BOB
from usage.conftest import World

from flask_anam import usage
from flask_anam.core.usage.records import SessionRecord
from flask_anam.errors import Busy, ConfigError


@pytest.fixture(params=["plain", "hashed"])
def busy(world: World, request: pytest.FixtureRequest) -> Any:
    """Yield an app, in its context, in which ada has talked for 90 s and bob still talks."""
    world.make("memory://", ANAM_USAGE_USER_IDS=request.param)
    session_id = world.talk(ADA, "a")
    world.clock.move(90)
    world.end(ADA, session_id)
    world.token(ADA, "unused")
    world.clock.move(86400)
    world.talk(BOB, "b")
    with world.app.app_context():
        yield world


def test_the_conversations_of_a_user_on_a_day(busy: World) -> None:
    """Found by the id that the app knows, and by times of both kinds."""
    (record,) = usage.find_sessions(user_id="ada")
    assert record.seconds == 90.0
    assert len(usage.find_sessions(user_id="ada", started=False)) == 2
    minted = datetime.fromtimestamp(record.minted_at, UTC)
    east = minted.astimezone(timezone(timedelta(hours=9)))
    for since in (record.minted_at, minted, minted.replace(tzinfo=None), east):
        assert usage.find_sessions(user_id="ada", since=since) == [record]
        assert usage.find_sessions(user_id="ada", until=since) == []


def test_pages_follow_each_other(busy: World) -> None:
    """Newest first; the last id of a page leads to the next."""
    (newest,) = usage.find_sessions(limit=1)
    (oldest,) = usage.find_sessions(limit=1, before=newest.id)
    assert newest.minted_at > oldest.minted_at
    assert usage.find_sessions(before=oldest.id) == []


def test_what_runs_now(busy: World) -> None:
    """Of all users, of one, and of one persona."""
    (record,) = usage.running_sessions()
    assert usage.running_sessions(user_id="bob", persona_type="support") == [record]
    assert usage.running_sessions(user_id="ada") == []
    assert usage.running_sessions(persona_type="coach") == []


def test_totals_and_outcomes(busy: World) -> None:
    """By user, by day, and by what became of requests for tokens."""
    (total,) = usage.totals_by_user(user_id="ada")
    assert (total.tokens, total.sessions, total.ended, total.seconds) == (2, 1, 1, 90.0)
    assert [day.tokens for day in usage.totals_by_interval(86400)] == [2, 1]
    assert [day.tokens for day in usage.totals_by_interval(86400, user_id="bob")] == [1]
    counts = usage.count_outcomes(86400, persona_type="support")
    assert [(count.outcome, count.number) for count in counts] == [("minted", 2), ("minted", 1)]


def test_a_user_is_forgotten(busy: World) -> None:
    """With a time in the future; nobody else is."""
    future = datetime(2100, 1, 1, tzinfo=UTC)
    assert usage.purge(future, user_id="ada") == 2
    assert usage.find_sessions(user_id="ada", started=False) == []
    assert len(usage.find_sessions(user_id="bob")) == 1


def test_records_are_reconciled(busy: World) -> None:
    """All of them, or those of one user."""
    (record,) = usage.running_sessions()
    busy.hang_up(str(record.session_id))
    assert usage.reconcile(user_id="ada").asked == 2
    assert usage.reconcile().settled == 1
    assert usage.running_sessions() == []


@pytest.mark.source
def test_the_example_of_the_docs_works(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists what one user had yesterday, and nothing of today or of others."""
    world.make("memory://")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    for user, at in ((ADA, today - 60), (BOB, today - 60), (ADA, today + 60)):
        world.clock.now = at
        world.talk(user, "tab")
    page = (Path(__file__).parents[2] / "docs" / "usage.md").read_text()
    _, *blocks = re.split(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks[::2] if "find_sessions(" in block]
    exec(block.replace('"42"', '"ada"'), {"app": world.app})  # noqa: S102 - our own text
    assert capsys.readouterr().out == f"support {today - 60} None\n"


CALLS: dict[str, Callable[[], object]] = {
    "find_sessions": usage.find_sessions,
    "running_sessions": usage.running_sessions,
    "totals_by_user": usage.totals_by_user,
    "totals_by_interval": lambda: usage.totals_by_interval(3600),
    "count_outcomes": lambda: usage.count_outcomes(3600),
    "purge": lambda: usage.purge(0.0),
    "reconcile": usage.reconcile,
}


def test_every_function_is_tried_below() -> None:
    """A new one needs a line in the table above."""
    assert set(CALLS) == {name for name in usage.__all__ if name[0].islower()}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_store_that_is_down_is_busy(
    world: World, tmp_path: Path, call: Callable[[], object]
) -> None:
    """Whatever library is behind it; the error says when to try again."""
    (tmp_path / "usage").write_text("not a folder")
    world.make(f"sqlite:///{tmp_path}/usage/records.sqlite")
    with world.app.app_context(), pytest.raises(Busy) as caught:
        call()
    assert caught.value.retry_after == 5


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_app_without_the_extension_is_an_error(call: Callable[[], object]) -> None:
    """It names the cure."""
    with Flask("bare").app_context(), pytest.raises(ConfigError, match=r"FlaskAnam\(app\)"):
        call()


def test_the_types_of_results_are_public() -> None:
    """For annotations in the code of a host."""
    assert usage.SessionRecord is SessionRecord
    assert {"OutcomeCount", "Reconciliation", "Totals"} <= set(usage.__all__)


@pytest.mark.parametrize("day", [date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), 0], ids=str)
def test_old_records_are_deleted_and_no_new_ones(
    world: World, usage_url: str, day: date | float
) -> None:
    """A date is its first moment, on every store: a record of now stays."""
    world.make(usage_url)
    world.talk(ADA)
    with world.app.app_context():
        assert usage.purge(day) == 0
        assert len(usage.find_sessions(since=day)) == 1


@pytest.mark.parametrize("time", ["2020-01-01", "0", None, True, float("nan"), float("inf")])
def test_a_time_of_another_kind_deletes_nothing(world: World, usage_url: str, time: Any) -> None:
    """SQLite takes any text for later than every number; it is not asked."""
    world.make(usage_url)
    world.talk(ADA)
    with world.app.app_context():
        with pytest.raises(TypeError, match="A time must be"):
            usage.purge(time)
        assert len(usage.find_sessions()) == 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: usage.find_sessions(limit=-1), ValueError),
        (lambda: usage.find_sessions(user_id=42), TypeError),  # type: ignore[arg-type]
        (lambda: usage.purge(0.0, user_id=42), TypeError),  # type: ignore[arg-type]
        (lambda: usage.running_sessions(limit=0), ValueError),
        (lambda: usage.totals_by_user(limit=0), ValueError),
        (lambda: usage.totals_by_interval(0), ValueError),
        (lambda: usage.totals_by_interval(-300), ValueError),
        (lambda: usage.count_outcomes(7), ValueError),
        (lambda: usage.reconcile(limit=0), ValueError),
    ],
)
def test_a_wrong_argument_is_an_error_of_its_own(
    world: World, usage_url: str, call: Callable[[], object], error: type[Exception]
) -> None:
    """It is not taken for a store that is down, and means the same on every store."""
    world.make(usage_url)
    with world.app.app_context(), pytest.raises(error):
        call()
