"""The official Anam SDK from this app, when npm has put it here; the player knows a CDN."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Flask, Response, abort, current_app, send_file, url_for

_FILE = "@anam-ai/js-sdk/dist/umd/anam.js"

bp = Blueprint("sdk", __name__)


def add_sdk(app: Flask) -> None:
    """Serve the SDK, if it is here."""
    packages = Path(__file__).parent / "node_modules"
    app.config.setdefault("NODE_MODULES", str(packages))
    app.register_blueprint(bp)


def own_sdk() -> str | None:
    """Return the URL of the SDK in the current app; None if it is not here."""
    return url_for("sdk.script") if _local_file().is_file() else None


@bp.get("/sdk/anam.js")
def script() -> Response:
    """Serve the SDK from the folder that npm filled."""
    if not _local_file().is_file():
        abort(404)
    return send_file(_local_file(), mimetype="text/javascript", max_age=3600)


def _local_file() -> Path:
    return Path(current_app.config["NODE_MODULES"]) / _FILE
