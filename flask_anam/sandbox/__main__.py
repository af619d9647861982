"""``python -m flask_anam.sandbox --port 8090``: runs the sandbox without a Flask app."""

import argparse
import sys

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.banner import startup_banner


def main() -> int:
    """Serve until Ctrl+C; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flask_anam.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    try:
        sandbox = Sandbox(port=parser.parse_args().port)
    except (OSError, ValueError) as exc:
        parser.error(str(exc))
    sys.stdout.write(startup_banner(sandbox))
    sys.stdout.flush()
    sandbox.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
