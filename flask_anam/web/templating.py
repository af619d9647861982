"""Template rendering: the templates of this package, for the player and the dashboard."""

from __future__ import annotations

from typing import Any

from flask import current_app, url_for
from jinja2 import Environment
from markupsafe import Markup


def render(template: str, **context: Any) -> Markup:
    """Render a template of this package; it can call ``static(filename)``.

    The context processors of the app are not run, because our templates need nothing of theirs.
    """
    text = _environment().get_template(template).render(static=_static_url, **context)
    return Markup(text)  # noqa: S704 - autoescaped


def _environment() -> Environment:
    """Return the app's Jinja environment with autoescape on, whatever the app has set."""
    extensions = current_app.extensions
    if "anam-templates" not in extensions:
        extensions["anam-templates"] = current_app.jinja_env.overlay(autoescape=True)
    environment: Environment = extensions["anam-templates"]
    return environment


def _static_url(filename: str) -> str:
    return url_for("anam.static", filename=filename)
