"""Command line interface: the commands of ``flask anam`` except those on usage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import AppGroup

from flask_anam.auth import find_user
from flask_anam.cli.tables import print_table, printable
from flask_anam.cli.usage import add_usage_commands
from flask_anam.core.metrics.definitions import summary, tables_for_cli
from flask_anam.errors import AnamError
from flask_anam.state import get_state

if TYPE_CHECKING:
    from flask import Flask

    from flask_anam.core.upstream.account_check import Finding

_NOT_SHARED_HINT = (
    "These are the counters of this command only. Set PROMETHEUS_MULTIPROC_DIR here and in the "
    "environment of the server, and install Flask-Anam[prometheus], to see those of the workers."
)
_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def make_cli() -> AppGroup:
    """Return the command group of one app."""
    group = AppGroup("anam", help="Session tokens for Anam personas.")
    for command in (check, doctor, personas, schema, token, clear_cache, metrics, sandbox):
        group.command()(command)
    add_usage_commands(group)
    return group


@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(as_json: bool) -> None:
    """Check settings, key and personas against the account.

    Asks Anam whether each avatar, voice, LLM, persona and tool exists and fits. The exit status is
    1 when something is wrong.
    """
    from flask_anam.core.upstream import account_check  # a server does not need it

    state = get_state()
    where = "the sandbox in this process" if state.sandbox else state.settings.base_url
    account = account_check.AccountCheck(
        state.client, state.registry, state.issuer.api_key, state.deadline
    )
    settings = account_check.Finding("ok", "settings", f"using {where}")
    _report([settings, *account.run()], as_json=as_json)


@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    help="Number of server processes. Default: from WEB_CONCURRENCY or GUNICORN_CMD_ARGS.",
)
def doctor(as_json: bool, workers: int | None) -> None:
    """Audit the configuration that the app runs with for security risks.

    Run it where the app runs, with the same environment. Nothing is sent to Anam. The exit status
    is 1 if there is an error.
    """
    from flask_anam.cli.doctor import examine  # a server does not need it

    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    _report(examine(app, get_state(), workers=workers), as_json=as_json)


def personas() -> None:
    """List the personas: name, label, kind and the permission each needs."""
    state = get_state()
    rows = [("PERSONA", "LABEL", "KIND", "PERMISSION")]
    rows += [
        (p.name, p.label, "static" if p.is_static else "per user", p.permission or "-")
        for p in state.registry
    ]
    if len(rows) == 1:
        click.echo("No personas yet. Put one in ANAM_PERSONAS, or declare one with @anam.persona.")
        return
    print_table(rows)


@click.option(
    "--file", "whole_file", is_flag=True, help="The schema of a file with several personas."
)
def schema(whole_file: bool) -> None:
    """Print the JSON Schema of a persona, for editors that complete persona files."""
    from flask_anam.core.schemas.json_schema import persona_json_schema

    click.echo(json.dumps(persona_json_schema(whole_file=whole_file), indent=2))


@click.argument("persona")
@click.option("--user", "user_id", required=True, metavar="ID", help="Id of the user it is for.")
@click.option("--show", is_flag=True, help="Print the session token itself, which is secret.")
def token(persona: str, user_id: str, show: bool) -> None:
    """Mint a session token for PERSONA, to test the connection to Anam.

    Counts against the user's limit. Prints the token id, not the token. A persona that is made
    for each user gets the user from Flask-Login's user loader.
    """
    state = get_state()
    try:
        issued = state.issuer.issue(
            state.registry.choose(persona),
            user=find_user(user_id),
            user_id=user_id,
            overrides={},
            quota=state.limits.quota(user_id, counts_request=False),
        )
    except AnamError as exc:
        raise click.ClickException(f"{exc.code}: {exc.text}") from None
    click.echo(f"persona:    {printable(issued.persona_type)}")
    click.echo(f"token id:   {issued.token_id}")
    click.echo(f"expires in: {issued.expires_in} s")
    click.echo(f"mint took:  {issued.mint_seconds * 1000:.0f} ms")
    if show:
        click.echo(f"token:      {issued.session_token}")


@click.option("--persona", metavar="PERSONA", help="Only tokens of this persona.")
@click.option("--user", "user_id", metavar="ID", help="Only tokens of this user.")
def clear_cache(persona: str | None, user_id: str | None) -> None:
    """Delete stored session tokens; not those in the memory of other processes."""
    get_state().manager.clear(persona_type=persona, user_id=user_id)
    click.echo("Stored session tokens are deleted.")


@click.option("--json", "as_json", is_flag=True, help="Print the counters as JSON.")
def metrics(as_json: bool) -> None:
    """Show the counters of all workers: tokens issued, refused and failed.

    The workers share them through the folder that PROMETHEUS_MULTIPROC_DIR names; without it, a
    command cannot see what they count.
    """
    usage = get_state().metrics_recorder
    if not usage.is_shared:
        click.echo(_NOT_SHARED_HINT, err=True)
    reading = usage.read()
    if as_json:
        click.echo(json.dumps(summary(reading), indent=2))
    for number, rows in enumerate(() if as_json else tables_for_cli(reading)):
        if number:
            click.echo()
        print_table(rows)


@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
def sandbox(port: int) -> None:
    """Run the sandbox, a local stand-in for the Anam API, until Ctrl+C."""
    from flask_anam.sandbox import Sandbox  # an app in production does not need it
    from flask_anam.sandbox.banner import startup_banner

    try:
        server = Sandbox(port=port)
    except OSError as exc:
        raise click.ClickException(str(exc)) from None
    click.echo(startup_banner(server), nl=False)
    server.serve_forever()


def _report(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print findings; exit with status 1 if one of them is an error."""
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    for finding in () if as_json else findings:
        level = click.style(finding.level.ljust(7), fg=_COLOURS[finding.level])
        click.echo(f"{level} {printable(finding.subject)}: {printable(finding.text)}")
    if any(finding.level == "error" for finding in findings):
        raise SystemExit(1)
