"""Two users, and the pages that log them in and out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from flask import Blueprint, Flask, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.security import check_password_hash, generate_password_hash

bp = Blueprint("users", __name__)


@dataclass(frozen=True, eq=False)
class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no type hints
    """Somebody who may log in. Flask-Anam reads the last two fields."""

    id: str
    name: str
    password_hash: str = field(repr=False)
    can_access_personas: bool = False
    permissions: tuple[str, ...] = ()


@cache
def all_users() -> dict[str, User]:
    """Return the users by id; a real app asks its database."""
    ada = User(
        "ada",
        name="Ada",
        password_hash=generate_password_hash("lovelace"),
        can_access_personas=True,
        permissions=("coach:talk", "anam:metrics"),
    )
    bob = User("bob", name="Bob", password_hash=generate_password_hash("builder"))
    return {user.id: user for user in (ada, bob)}


@cache
def _nobody() -> str:
    return generate_password_hash("nobody")


def add_login(app: Flask) -> None:
    """Set up Flask-Login and the login pages."""
    manager = LoginManager(app)
    manager.login_view = "users.login"
    manager.login_message = None
    manager.user_loader(all_users().get)
    app.register_blueprint(bp)


@bp.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the login form, and log in."""
    target = _safe_target(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(target)
    if request.method == "GET":
        return render_template("login.html")
    name = request.form.get("name", "").strip().lower()
    user = all_users().get(name)
    # An unknown name takes as long as a wrong password, so that it cannot be told apart.
    known_hash = user.password_hash if user else _nobody()
    if not check_password_hash(known_hash, request.form.get("password", "")) or user is None:
        return render_template("login.html", name=name, refused=True), 401
    login_user(user)
    return redirect(target)


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    """Log out."""
    logout_user()
    return redirect(url_for("users.login"))


def _safe_target(target: str | None) -> str:
    """Return `target` if it is a path of this site, else the home page."""
    own = target is not None and target.isprintable() and re.match(r"/(?![/\\])", target)
    return target if target and own else url_for("pages.home")
