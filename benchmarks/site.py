"""The server of a benchmark: a Flask app on the sandbox, with a page and a player for each size."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

from flask import Flask, Response, render_template_string, send_file
from flask_login import LoginManager, UserMixin, login_user
from werkzeug.serving import make_server

from flask_anam import FlaskAnam
from flask_anam.sandbox.api import catalog

#: Avatar models by the name of their persona: cara-3 is 720x480, cara-4 is 1152x768.
MODELS = {"usual": "cara-3", "large": "cara-4"}

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Benchmark</title>{{ anam.head() }}</head>
<body>{{ anam.player(persona, sdk="/sdk.js", prefetch=None) }}
<script>
  const video = document.querySelector("video");
  const shown = new Promise((done) => {
    video.requestVideoFrameCallback(() => done(performance.now()));
  });
  addEventListener("click", () => {
    const clicked = performance.now();
    shown.then((now) => { window.seconds = (now - clicked) / 1000; });
  }, { capture: true, once: true });
</script></body>
</html>"""


def make_site(sdk: Path) -> Flask:
    """Return the app; `sdk` is the UMD file of the official SDK."""
    app = Flask("benchmark")
    app.config.update(
        SECRET_KEY="benchmark",
        ANAM_SANDBOX=True,
        ANAM_PERSONAS={
            name: {**catalog.EXAMPLE_PERSONA, "avatarModel": model}
            for name, model in MODELS.items()
        },
        ANAM_TOKEN_RATE_LIMIT="1000 per minute",
        ANAM_REQUEST_RATE_LIMIT="1000 per minute",
    )
    ada = UserMixin()
    ada.id = "ada"
    LoginManager(app).user_loader(lambda _: ada)
    anam = FlaskAnam(app)
    anam.permission_loader(lambda _: {"anam:talk"})

    @app.get("/<persona>")
    def page(persona: str) -> str:
        login_user(ada)
        return render_template_string(_PAGE, persona=persona)

    @app.get("/sdk.js")
    def code() -> Response:
        return send_file(sdk, mimetype="text/javascript")

    @app.get("/cpu")
    def cpu() -> dict[str, float]:
        return {"seconds": time.process_time(), "at": time.monotonic()}

    return app


def main() -> None:
    """Serve on a free port of this machine, which is printed, until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdk", type=Path, required=True)
    server = make_server("127.0.0.1", 0, make_site(parser.parse_args().sdk), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()  # the parent's end is closed when it is done, or gone
    server.shutdown()


if __name__ == "__main__":
    main()
