"""``python -m example_app``: serve the example app on this machine."""

from __future__ import annotations

import argparse
import errno
import socket
import sys

import click
from flask import Flask
from werkzeug.serving import BaseWSGIServer, make_server

from example_app import create_app

_HOST = "127.0.0.1"


def main() -> None:
    """Start the server and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m example_app", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="0 takes a free one (default: 5000)")
    port = parser.parse_args().port
    listener = _listen(port)
    app = create_app()
    with listener:
        server = make_server(_HOST, port, app, threaded=True, fd=listener.fileno())
    _welcome(app, server)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("\nGoodbye.")


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port))
    except (OSError, OverflowError) as exc:
        taken = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
        reason = "is taken" if taken else f"cannot be used ({exc})"
        sys.exit(
            f"Port {port} {reason}. Choose another: "
            f"make demo PORT={min(port + 1, 65535)}, or python -m example_app --port 0"
        )


def _welcome(app: Flask, server: BaseWSGIServer) -> None:
    where = "the local sandbox, not Anam" if app.config["ANAM_SANDBOX"] else "Anam"
    url = click.style(f"http://{_HOST}:{server.port}/", bold=True)
    click.echo(
        f"""
  Flask-Anam, the example app, on {where}

  Open      {url}
  Log in    ada / lovelace    may talk to every persona
            bob / builder     may not talk to any
  Stop      Ctrl+C
"""
    )
    if app.config["ANAM_SANDBOX"]:
        click.echo("  Set ANAM_API_KEY to talk to real personas.\n")


if __name__ == "__main__":
    main()
