"""The pages behind the login: the personas, one conversation, the dashboard."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Flask, abort, current_app, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, current_user
from werkzeug.exceptions import HTTPException

from example_app.personas import CARDS, anam, cards_for
from example_app.sdk import own_sdk
from flask_anam import permission_required

bp = Blueprint("pages", __name__)

_SENTENCES = {
    403: "Your account may not see this page.",
    404: "There is no such page.",
    405: "This address is not meant to be opened like that.",
}


def add_pages(app: Flask) -> None:
    """Add the pages, those for errors too."""
    app.register_blueprint(bp)
    app.register_error_handler(HTTPException, _show_error)


@bp.before_request
def log_in_first() -> ResponseReturnValue | None:
    """Send visitors to the login page, and back to where they wanted to go."""
    if current_user.is_authenticated:
        return None
    manager: LoginManager = current_app.login_manager  # type: ignore[attr-defined]  # Flask-Login
    answer: ResponseReturnValue = manager.unauthorized()
    return answer


@bp.get("/")
def home() -> str:
    """Show the personas that the user may talk to."""
    return render_template("home.html", cards=cards_for(current_user))


@bp.get("/talk/<persona_type>")
def talk(persona_type: str) -> str:
    """Show the page of one conversation."""
    card = next((c for c in CARDS if c.persona_type == persona_type), None)
    if card is None:
        abort(404)
    if card not in cards_for(current_user):
        abort(403)
    chosen = request.args.get("language")
    language = chosen if chosen in dict(card.languages) else next(iter(dict(card.languages)), None)
    return render_template("talk.html", card=card, language=language, sdk=own_sdk())


@bp.get("/dashboard")
def dashboard() -> str:
    """Show the counters of this process, to people."""
    if "anam:metrics" not in current_user.permissions:
        abort(403)
    return render_template("dashboard.html", metrics=anam.get_metrics())


@bp.post("/dashboard/forget-tokens")
@permission_required("anam:metrics")
def forget_tokens() -> ResponseReturnValue:
    """Drop all stored session tokens; the answer to callers who may not is JSON."""
    anam.clear_cache()
    return "", HTTPStatus.NO_CONTENT


def _show_error(error: HTTPException) -> ResponseReturnValue:
    code = error.code or 500
    sentence = _SENTENCES.get(code, "Something went wrong. It has been noted.")
    return render_template("error.html", code=code, sentence=sentence), code
