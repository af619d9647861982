"""Checked by mypy, never run: how user code is typed."""

from __future__ import annotations

from typing import Any, assert_type

from flask import Flask

from flask_anam import FlaskAnam, IssuedToken, TokenStatus, permission_required

app = Flask(__name__)
anam = FlaskAnam(app)


@anam.persona("coach", permission="coach:talk", label="Coach", overrides=("languageCode",))
def coach(user: Any) -> dict[str, Any]:
    """Keep the type of the callable."""
    return {"personaId": user.coach_persona_id}


assert_type(coach(None), dict[str, Any])


@anam.identity_loader
def load_user() -> object | None:
    """Keep the type of the loader."""
    return None


@app.get("/report/<int:number>")
@permission_required("reports:read")
def report(number: int) -> str:
    """Keep the signature of the view."""
    return str(number)


assert_type(report(1), str)
assert_type(anam.create_token("coach", user_id="42"), IssuedToken)
assert_type(anam.validate_token("x", probe=True), TokenStatus)
assert_type(anam.get_metrics(), dict[str, object])
assert_type(anam.stop_session("id"), bool)
assert_type(anam.stop_user_sessions("42"), int)
