"""Where the pages get the official Anam SDK: from here when npm has put it here, else a CDN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, current_app, send_file, url_for

_PACKAGE = "@anam-ai/js-sdk"
_VERSION = "4.27.0"
_FILE = "dist/umd/anam.js"
_CDN_URL = f"https://cdn.jsdelivr.net/npm/{_PACKAGE}@{_VERSION}/{_FILE}"
#: Hash of that file in the npm package; a browser refuses anything else.
_INTEGRITY = "sha384-YlLVEzjnPjezw7TzjG3RWqeUtTruSn3+WnfBBg9CyHOCpf0VqVorwHodrE7ZieF0"

bp = Blueprint("sdk", __name__)


@dataclass(frozen=True, slots=True)
class SdkSource:
    """The address of the SDK; `integrity` is None when it is our own."""

    url: str
    integrity: str | None = None


def add_sdk(app: Flask) -> None:
    """Serve the SDK, if it is here."""
    packages = Path(__file__).parent / "node_modules"
    app.config.setdefault("NODE_MODULES", str(packages))
    app.register_blueprint(bp)


def sdk_source() -> SdkSource:
    """Return where the current app's pages get the SDK."""
    if _local_file().is_file():
        return SdkSource(url_for("sdk.script"))
    return SdkSource(_CDN_URL, _INTEGRITY)


@bp.get("/sdk/anam.js")
def script() -> Response:
    """Serve the SDK from the folder that npm filled."""
    if not _local_file().is_file():
        abort(404)
    return send_file(_local_file(), mimetype="text/javascript", max_age=3600)


def _local_file() -> Path:
    return Path(current_app.config["NODE_MODULES"]) / _PACKAGE / _FILE
