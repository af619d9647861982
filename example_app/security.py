"""The secret key, the same-origin check and the response headers."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from flask import Flask, Response, abort, g, request

from example_app.personas import anam


def stored_secret_key(app: Flask) -> str:
    """Return the key kept in the instance folder, made at the first start.

    All workers of one machine share it, and logins outlive a restart.
    """
    path = Path(app.instance_path) / "secret_key"
    with suppress(FileNotFoundError):
        return path.read_text()
    try:
        return _store(path, secrets.token_urlsafe(32))
    except OSError:
        app.logger.warning("No secret key can be kept in %s: set SECRET_KEY.", path.parent)
        return secrets.token_urlsafe(32)


def _store(path: Path, key: str) -> str:
    """Put `key` there unless another process was first; return the one that counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = mkstemp(dir=path.parent)  # only its owner can read it
    with os.fdopen(handle, "w") as file:
        file.write(key)
    try:
        # A link appears at once and complete, and never replaces what is there.
        path.hardlink_to(draft)
    except FileExistsError:
        return path.read_text()
    finally:
        Path(draft).unlink()
    return key


def add_security(app: Flask) -> None:
    """Refuse forms sent by other sites, and add the headers."""
    app.before_request(_refuse_other_sites)
    app.after_request(_add_headers)
    app.add_template_global(csp_nonce)


def csp_nonce() -> str:
    """Return what marks the scripts and stylesheets of the answer under way as ours."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def _refuse_other_sites() -> None:
    # The session cookie is SameSite=Lax, so browsers send it with no POST of another site. This
    # check also stops a login forged by another site, and the two need no token in the form.
    # Flask-Anam checks its own routes itself.
    if request.method in {"GET", "HEAD", "OPTIONS"} or request.blueprint == "anam":
        return
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    own = origin in {None, f"http://{request.host}", f"https://{request.host}"}
    if not own or site not in {"same-origin", "none"}:
        abort(403)


def _add_headers(response: Response) -> Response:
    # The usage dashboard brings a stricter policy of its own.
    response.headers.setdefault("Content-Security-Policy", _content_security_policy())
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(self)"
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


def _content_security_policy() -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{csp_nonce()}'",
            f"style-src 'nonce-{csp_nonce()}'",
            "img-src 'self'",
            "media-src 'self' blob:",
            f"connect-src 'self' {' '.join(_connections())}",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _connections() -> tuple[str, ...]:
    """Return where the SDK may connect: the API, and the engines it is sent to."""
    config = anam.browser_config()
    api = str(config["apiBaseUrl"])
    if config["sandbox"]:
        return api, api.replace("http", "ws", 1)
    return api, "https://*.anam.ai", "wss://*.anam.ai"
