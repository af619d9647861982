#!/bin/sh
# Builds sdist and wheel, installs the wheel into an environment of its own, and runs the suite
# there (without browser and faults), away from the source tree: a file that the wheel forgets is
# seen here. With --oldest, every dependency is the oldest release that setup.cfg claims to support.
# Usage: tools/test-wheel.sh PYTHON [--oldest] [pytest arguments]
set -eu
python=$1
shift
root=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
wheel=$(ls "$work"/dist/*.whl)
ls "$work"/dist/*.tar.gz >/dev/null

: >"$work/constraints.txt"
if [ "${1:-}" = "--oldest" ]; then
    shift
    "$python" - >"$work/constraints.txt" <<'EOF'
import configparser

setup = configparser.ConfigParser()
setup.read("setup.cfg")
extras = setup["options.extras_require"]
of_extras = " ".join(extras[name] for name in ("redis", "analytics", "prometheus"))
wanted = f'{setup["options"]["install_requires"]} {of_extras}'
print("\n".join(line.replace(">=", "==") for line in wanted.split() if ">=" in line))
EOF
fi

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$work/constraints.txt" "$wheel[test,redis,analytics]"
cp -r "$root/tests" "$work/tests"
cp "$root/pyproject.toml" "$work/"
cd "$work"
"$work/venv/bin/python" -c "import flask_anam; assert '$work' in flask_anam.__file__, flask_anam.__file__"
"$work/venv/bin/python" -m pytest -q -n 2 -m "not browser and not source" \
    --ignore tests/faults "$@"
