#!/bin/sh
# Runs the suite (without browser and faults) with the oldest release of every dependency that setup.cfg
# claims to support.
# Usage: tools/test-floors.sh PYTHON [pytest arguments]
set -eu
python=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" - >"$work/floors.txt" <<'EOF'
import configparser

setup = configparser.ConfigParser()
setup.read("setup.cfg")
extras = setup["options.extras_require"]
of_extras = " ".join(extras[name] for name in ("redis", "analytics", "prometheus"))
wanted = f'{setup["options"]["install_requires"]} {of_extras}'
print("\n".join(line.replace(">=", "==") for line in wanted.split() if ">=" in line))
EOF

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$work/floors.txt" --editable ".[test,redis,analytics]"
"$work/venv/bin/python" -m pytest -q -n 2 -m "not browser and not source" \
    --ignore tests/faults "$@"
