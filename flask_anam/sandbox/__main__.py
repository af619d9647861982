"""``python -m flask_anam.sandbox --port 8090``: the sandbox alone, without a Flask app."""

import argparse
import sys

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.announcement import announcement


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
