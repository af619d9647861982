"""An app with Sentry's client, which keeps what it would send: see test_unseen.py.

Usage: tracked_app.py SANDBOX_URL FILE. Prints the session token that was minted on the way.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sentry_sdk
from hosts import ADA, KEY, PERSONA, PROMPT, TOKEN_PATH, client_of, make_host
from sentry_sdk.envelope import Envelope
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber
from sentry_sdk.transport import Transport

from flask_anam import FlaskAnam

EVENTS: list[str] = []


class Kept(Transport):
    """Keeps every event in memory."""

    def capture_envelope(self, envelope: Envelope) -> None:
        EVENTS.extend(json.dumps(item.payload.json) for item in envelope.items)


def main(sandbox_url: str, file: str) -> None:
    """Fail in every way, with the tracker on."""
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        transport=Kept,
        include_local_variables=True,
        send_default_pii=True,
        max_request_body_size="always",
        max_value_length=100_000,
        traces_sample_rate=1.0,
        # As the page "Security model" tells: the body of a request is the app's own to scrub.
        event_scrubber=EventScrubber(denylist=[*DEFAULT_DENYLIST, "sessionToken"]),
    )
    may = True
    anam = FlaskAnam()
    anam.add_persona("invalid", lambda user: {**PERSONA, "avatarId": PROMPT})

    @anam.permission_loader
    def permissions(user: Any) -> set[str]:
        if not may:
            raise LookupError("the database is gone")
        return {"anam:talk"}

    app = make_host(
        ADA,
        ANAM_API_KEY=KEY,
        ANAM_BASE_URL=sandbox_url,
        ANAM_PERSONAS={"support": PERSONA},
    )
    anam.init_app(app)

    @app.get("/fails")
    def fails() -> str:
        return anam.create_token("invalid", user_id="ada").token_id

    client = client_of(app, ADA)
    token = client.post(TOKEN_PATH, json={"personaType": "support"}).get_json()["sessionToken"]
    client.post("/anam/session-token/validate", json={"sessionToken": token, "more": 1})
    client.post(TOKEN_PATH, json={"personaType": "invalid"})
    client.get("/fails")
    for error in (lambda: anam.create_token("invalid", user_id="ada"), lambda: broken(app)):
        try:
            with app.app_context():
                error()
        except Exception:  # noqa: BLE001 - as an app would
            sentry_sdk.capture_exception()
    may = False
    assert client.post(TOKEN_PATH, json={"personaType": "support"}).status_code == 500
    sentry_sdk.flush()
    Path(file).write_text("\n".join(EVENTS))
    print(token)  # noqa: T201 - the answer to the caller


def broken(app: Any) -> None:
    """Set an app up with a key that cannot be one."""
    FlaskAnam(make_host(ANAM_API_KEY=f" {KEY}\n"))


if __name__ == "__main__":
    main(*sys.argv[1:])
