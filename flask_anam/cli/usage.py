"""Command line interface of usage: ``usage``, ``sessions``, ``stop``, ``reconcile`` and ``db``."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import click
from flask.cli import AppGroup, with_appcontext

from flask_anam import usage as records
from flask_anam.cli.tables import print_table
from flask_anam.core.clock import Clock, parse_datetime
from flask_anam.core.usage.csv_export import safe_cell
from flask_anam.errors import AnamError
from flask_anam.session_control import stop_any_session, stop_own_session, upgrade
from flask_anam.state import get_state

#: Seconds of the units of an age.
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
#: Characters; the upper limit of a cell in a table. A session id fits.
_MAX_CELL = 36
#: Fields of a record in CSV; its state follows them.
_CSV_FIELDS = (
    *("session_id", "token_id", "user_id", "persona_type", "minted_at", "started_at", "ended_at"),
    *("seconds", "max_seconds", "source", "exit_status", "label"),
)


def moment(text: str) -> float:
    """Return Unix seconds for an ISO 8601 date or time (UTC unless it has an offset), or an age."""
    age = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if age:
        return Clock().time() - int(age[1]) * _UNITS[age[2]]
    try:
        return parse_datetime(text).timestamp()
    except ValueError:
        hint = f"{text!r} is neither a date such as 2026-01-31 nor an age such as 7d."
        raise click.BadParameter(hint) from None


def _filters(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select records."""
    for option in (
        click.option("--persona", "persona_type", metavar="PERSONA", help="Only this persona."),
        click.option("--user", "user_id", metavar="ID", help="Only this user."),
        click.option("--until", type=moment, metavar="TIME", help="Up to this time, or age."),
        click.option(
            "--since", type=moment, metavar="TIME", help="From this time, or age as in 7d."
        ),
    ):
        function = option(function)
    return function


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    """Print an error of Flask-Anam in place of a traceback; the exit status is 1."""
    try:
        yield
    except AnamError as exc:
        raise click.ClickException(f"{exc.code}: {exc.text}") from None


def add_usage_commands(group: AppGroup) -> None:
    """Add these commands to the group of one app."""
    totals = AppGroup("usage", invoke_without_command=True, callback=with_appcontext(usage))
    totals.params += getattr(usage, "__click_params__", [])[::-1]
    totals.help = usage.__doc__
    totals.command()(purge)
    group.add_command(totals)
    for command in (sessions, stop, reconcile):
        group.command()(command)
    database = AppGroup("db", help="Manage the database of session records.")
    database.command("upgrade")(db_upgrade)
    group.add_command(database)


@_filters
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with lengths in seconds.")
def usage(as_csv: bool, **filters: object) -> None:
    """Show tokens, sessions and minutes of each user and persona, most minutes first."""
    if click.get_current_context().invoked_subcommand:
        return
    with _errors_as_messages():
        totals = records.totals_by_user(**filters, limit=1_000_000)  # type: ignore[arg-type]
    if as_csv:
        _print_csv(
            ("user_id", "persona_type", "tokens", "sessions", "ended", "seconds"),
            (
                (t.user_id, t.persona_type, t.tokens, t.sessions, t.ended, round(t.seconds, 3))
                for t in totals
            ),
        )
        return
    rows = [
        (t.user_id or "-", t.persona_type, t.tokens, t.sessions, f"{t.seconds / 60:.1f}")
        for t in totals
    ]
    _print_rows(("USER", "PERSONA", "TOKENS", "SESSIONS", "MINUTES"), rows, "No usage yet.")


@click.option(
    "--older-than",
    "before",
    type=moment,
    metavar="TIME",
    required=True,
    help="Delete what is older than this age, as in 90d, or this time.",
)
@click.option("--user", "user_id", metavar="ID", help="Only records of this user.")
def purge(before: float, user_id: str | None) -> None:
    """Delete old session records."""
    with _errors_as_messages():
        number = records.purge(before, user_id=user_id)
    click.echo(f"{number} session records are deleted.")


@_filters
@click.option("--running", is_flag=True, help="Only sessions that run, as far as is known.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=20, help="Default: 20.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with all recorded fields.")
def sessions(
    since: float | None,
    until: float | None,
    user_id: str | None,
    persona_type: str | None,
    running: bool,
    limit: int,
    as_csv: bool,
) -> None:
    """List sessions that have started, newest first."""
    with _errors_as_messages():
        if running:
            listed = records.running_sessions(user_id=user_id, persona_type=persona_type)[:limit]
        else:
            listed = records.find_sessions(
                since=since, until=until, user_id=user_id, persona_type=persona_type, limit=limit
            )
    now = get_state().clock.time()
    if as_csv:
        cells = ([getattr(r, name) for name in _CSV_FIELDS] + [r.state(now)] for r in listed)
        _print_csv((*_CSV_FIELDS, "state"), cells)
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
        for record in listed
    ]
    head = ("SESSION", "USER", "PERSONA", "STARTED (UTC)", "LENGTH", "STATE")
    _print_rows(head, rows, "No sessions yet.")


@click.argument("session_id")
@click.option("--user", "user_id", metavar="ID", help="Only if this user has it.")
def stop(session_id: str, user_id: str | None) -> None:
    """Stop a session at Anam by its id."""
    state = get_state()
    with _errors_as_messages():
        if user_id is not None:
            stop_own_session(state, None, user_id, session_id)
        elif not stop_any_session(state, session_id):
            raise click.ClickException("No session of this app has that id.")
    click.echo("The session is stopped.")


@click.option("--limit", type=click.IntRange(1, 1_000_000), default=10_000, help="Records at most.")
def reconcile(limit: int) -> None:
    """Ask Anam when each session really began and ended.

    Run it regularly, from cron for instance. The exit status is 1 if a record could not be looked
    up.
    """
    # The progress bar is shown on a terminal only, not in the log of cron.
    with click.progressbar(length=limit, label="Asking Anam", file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.length = max(1, total)
            bar.update(done - bar.pos)

        with _errors_as_messages():
            result = records.reconcile(limit=limit, on_progress=show)
    click.echo(
        f"{result.settled} settled, {result.running} running, {result.waiting} waiting, "
        f"{result.unused} never used, {result.failed} failed."
    )
    if result.failed:
        raise SystemExit(1)


def db_upgrade() -> None:
    """Update the tables; the app does so by itself at its first use."""
    try:
        before, after = upgrade(get_state())
    except AnamError as exc:
        raise click.ClickException(exc.text) from None
    if before == after:
        click.echo(f"The tables are up to date ({after}).")
    else:
        click.echo(f"The tables are brought from {before or 'nothing'} to {after}.")


def _print_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(map(safe_cell, row) for row in rows)


def _print_rows(head: Sequence[str], rows: Sequence[Sequence[object]], if_empty: str) -> None:
    if rows:
        print_table([head, *rows], max_cell=_MAX_CELL)
    else:
        click.echo(if_empty)


def _short_time(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M:%S")
