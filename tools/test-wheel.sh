#!/bin/sh
# Builds sdist and wheel, installs the wheel into an environment of its own, and runs the suite
# there (without browser and faults), away from the source tree: a file that the wheel forgets is seen here.
# Usage: tools/test-wheel.sh PYTHON [pytest arguments]
set -eu
python=$1
shift
root=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
wheel=$(ls "$work"/dist/*.whl)
ls "$work"/dist/*.tar.gz >/dev/null

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel[test,redis,analytics]"
cp -r "$root/tests" "$work/tests"
cp "$root/pyproject.toml" "$work/"
cd "$work"
"$work/venv/bin/python" -c "import flask_anam; assert '$work' in flask_anam.__file__, flask_anam.__file__"
"$work/venv/bin/python" -m pytest -q -n 2 -m "not browser and not source" \
    --ignore tests/faults "$@"
