"""``python -m flask_anam.sandbox --port 8090``: the sandbox alone, without a Flask app."""

import argparse
import sys

from flask_anam.sandbox import Sandbox


def announcement(sandbox: Sandbox) -> str:
    """Return what a person needs to point an app at a sandbox."""
    return (
        "This is the Flask-Anam sandbox, not Anam. Point an app at it with:\n"
        f'  ANAM_BASE_URL = "{sandbox.url}"\n'
        f'  ANAM_API_KEY = "{sandbox.api_key}"\n'
        "or an SDK of Anam's, which then shows a synthetic persona:\n"
        f'  JavaScript: createClient(token, {{ api: {{ baseUrl: "{sandbox.url}" }} }})\n'
        f'  Python:     AnamClient(..., options=ClientOptions(api_base_url="{sandbox.url}"))\n'
        'Video and sound need: pip install "Flask-Anam[sandbox]".\n'
        "Stop it with Ctrl+C.\n"
    )


def main() -> int:
    """Serve until Ctrl+C; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flask_anam.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    try:
        sandbox = Sandbox(port=parser.parse_args().port)
    except (OSError, ValueError) as failure:
        parser.error(str(failure))
    sys.stdout.write(announcement(sandbox))
    sys.stdout.flush()
    sandbox.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
