"""``flask anam usage | sessions | stop | reconcile | db``: what was used, and what runs."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
from flask.cli import AppGroup, with_appcontext

from flask_anam.cli.tables import print_table
from flask_anam.core.clock import Clock, parse_datetime
from flask_anam.core.usage.csv_export import safe_cell
from flask_anam.core.usage.records import SessionRecord, UsageQuery
from flask_anam.errors import AnamError
from flask_anam.session_control import key_finder, stop_any, stop_own, upgrade
from flask_anam.state import AnamState, get_state

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
#: Characters; the upper limit of a cell in a table. A session id fits.
_MAX_CELL = 36


def moment(text: str) -> float:
    """Return Unix seconds for a date or time of ISO 8601 (UTC unless it says), or an age (7d)."""
    age = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if age:
        return Clock().time() - int(age[1]) * _UNITS[age[2]]
    try:
        return parse_datetime(text).timestamp()
    except ValueError:
        told = f"{text!r} is neither a date such as 2026-01-31 nor an age such as 7d."
        raise click.BadParameter(told) from None


def add_usage_commands(group: AppGroup) -> None:
    """Add these commands to the group of one app."""
    totals = AppGroup("usage", invoke_without_command=True, callback=with_appcontext(usage))
    totals.params += getattr(usage, "__click_params__", [])[::-1]
    totals.help = usage.__doc__
    totals.command()(purge)
    group.add_command(totals)
    for command in (sessions, stop, reconcile):
        group.command()(command)
    database = AppGroup("db", help="Look after the database of session records.")
    database.command("upgrade")(db_upgrade)
    group.add_command(database)


@click.option("--since", type=moment, metavar="TIME", help="From this time, or age as in 7d.")
@click.option("--until", type=moment, metavar="TIME", help="Up to this time, or age.")
@click.option("--user", "user_id", metavar="ID", help="Only this user.")
@click.option("--persona", metavar="PERSONA", help="Only this persona.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with lengths in seconds.")
def usage(
    since: float | None,
    until: float | None,
    user_id: str | None,
    persona: str | None,
    as_csv: bool,
) -> None:
    """Show tokens, sessions and minutes of each user and persona, most minutes first."""
    if click.get_current_context().invoked_subcommand:
        return
    state = get_state()
    found = state.recorder.store.totals_by_user(
        _wanted(state, since, until, user_id, persona), limit=1_000_000
    )
    if as_csv:
        head = ("user_id", "persona_type", "tokens", "sessions", "ended", "seconds")
        _print_csv(
            head,
            (
                (t.user_id, t.persona_type, t.tokens, t.sessions, t.ended, round(t.seconds, 3))
                for t in found
            ),
        )
        return
    rows = [
        (t.user_id or "-", t.persona_type, t.tokens, t.sessions, f"{t.seconds / 60:.1f}")
        for t in found
    ]
    _print_rows(("USER", "PERSONA", "TOKENS", "SESSIONS", "MINUTES"), rows, "No usage yet.")


@click.option(
    "--older-than",
    "before",
    type=moment,
    metavar="TIME",
    required=True,
    help="Forget what is older than this age, as in 90d, or this time.",
)
@click.option("--user", "user_id", metavar="ID", help="Only records of this user.")
def purge(before: float, user_id: str | None) -> None:
    """Forget old session records."""
    state = get_state()
    gone = state.recorder.store.purge(before, user_id=state.recorder.stored_user_id(user_id))
    click.echo(f"{gone} session records are forgotten.")


@click.option("--since", type=moment, metavar="TIME", help="From this time, or age as in 7d.")
@click.option("--until", type=moment, metavar="TIME", help="Up to this time, or age.")
@click.option("--user", "user_id", metavar="ID", help="Only this user.")
@click.option("--persona", metavar="PERSONA", help="Only this persona.")
@click.option("--running", is_flag=True, help="Only sessions that run, as far as is known.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=20, help="Default: 20.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with all that is recorded.")
def sessions(
    since: float | None,
    until: float | None,
    user_id: str | None,
    persona: str | None,
    running: bool,
    limit: int,
    as_csv: bool,
) -> None:
    """List sessions that have started, newest first."""
    state = get_state()
    wanted = _wanted(state, since, until, user_id, persona, started=True)
    found = (
        _running(state, wanted) if running else state.recorder.store.sessions(wanted, limit=limit)
    )
    now = state.clock.time()
    if as_csv:
        _print_sessions_csv(found[:limit], now)
        return
    rows = [
        (
            record.session_id or "-",
            record.user_id or "-",
            record.persona_type,
            _short_time(record.started_at),
            "-" if record.seconds is None else f"{record.seconds:.0f} s",
            record.exit_status or record.state(now),
        )
        for record in found[:limit]
    ]
    head = ("SESSION", "USER", "PERSONA", "STARTED (UTC)", "LENGTH", "STATE")
    _print_rows(head, rows, "No sessions yet.")


@click.argument("session_id")
@click.option("--user", "user_id", metavar="ID", help="Only if this user has it.")
def stop(session_id: str, user_id: str | None) -> None:
    """Stop a session at Anam by its id."""
    state = get_state()
    try:
        if user_id is not None:
            stop_own(state, None, user_id, session_id)
        elif not stop_any(state, session_id):
            raise click.ClickException("No session of this app has that id.")
    except AnamError as error:
        raise click.ClickException(f"{error.code}: {error.text}") from None
    click.echo("The session is stopped.")


@click.option("--limit", type=click.IntRange(1, 1_000_000), default=10_000, help="Records at most.")
def reconcile(limit: int) -> None:
    """Ask Anam when each session really began and ended.

    Run it regularly, from cron for instance. The exit status is 1 when some could not be asked for.
    """
    state = get_state()
    # On a terminal only: a log of cron needs no bar.
    with click.progressbar(length=limit, label="Asking Anam", file=sys.stderr) as bar:

        def show(done: int, all_of_them: int) -> None:
            bar.length = max(1, all_of_them)
            bar.update(done - bar.pos)

        found = state.reconciler.run(key_finder(state), limit=limit, on_progress=show)
    click.echo(
        f"{found.settled} settled, {found.running} running, {found.waiting} waiting, "
        f"{found.unused} never used, {found.failed} failed."
    )
    if found.failed:
        raise SystemExit(1)


def db_upgrade() -> None:
    """Bring the tables up to date; the app does so by itself at its first use."""
    try:
        before, after = upgrade(get_state())
    except AnamError as error:
        raise click.ClickException(error.text) from None
    if before == after:
        click.echo(f"The tables are up to date ({after}).")
    else:
        click.echo(f"The tables are brought from {before or 'nothing'} to {after}.")


def _wanted(
    state: AnamState,
    since: float | None,
    until: float | None,
    user_id: str | None,
    persona: str | None,
    *,
    started: bool = False,
) -> UsageQuery:
    user = state.recorder.stored_user_id(user_id)
    return UsageQuery(since=since, until=until, user_id=user, persona_type=persona, started=started)


def _running(state: AnamState, wanted: UsageQuery) -> list[SessionRecord]:
    found = state.recorder.store.running(state.clock.time(), user_id=wanted.user_id)
    return [one for one in found if wanted.persona_type in {None, one.persona_type}][::-1]


def _print_sessions_csv(found: Iterable[SessionRecord], now: float) -> None:
    head = ("session_id", "token_id", "user_id", "persona_type", "minted_at", "started_at")
    more = ("ended_at", "seconds", "max_seconds", "source", "exit_status", "label")
    rows = [[getattr(one, name) for name in (*head, *more)] + [one.state(now)] for one in found]
    _print_csv((*head, *more, "state"), rows)


def _print_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(map(safe_cell, row) for row in rows)


def _print_rows(head: Sequence[str], rows: Sequence[Sequence[object]], if_empty: str) -> None:
    if rows:
        print_table([head, *rows], max_cell=_MAX_CELL)
    else:
        click.echo(if_empty)


def _short_time(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%m-%d %H:%M:%S")
