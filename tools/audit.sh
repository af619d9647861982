#!/bin/sh
# Looks for known vulnerabilities in what a user gets with the package and its extras. Without a
# connection to the advisories nothing can be said, which is told and is no failure.
# Usage: tools/audit.sh PYTHON
set -eu
python=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check ".[redis,analytics,prometheus]"
site=$("$work/venv/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
status=0
"$python" -m pip_audit --progress-spinner off --path "$site" >"$work/out" 2>&1 || status=$?
cat "$work/out"
if [ "$status" -ne 0 ] && ! grep -q "^Found [0-9]* known vulnerabilit" "$work/out"; then
    echo "The advisories could not be reached, so nothing was checked. Try again with a connection to pypi.org."
    exit 0
fi
# What an index of one's own does not tell of advisories, pip-audit leaves out and calls well.
unknown=$(grep -c "could not be audited" "$work/out" || true)
if [ "$unknown" -ne 0 ]; then
    echo "$unknown packages could not be looked up, so nothing is known about them. Try again with a connection to pypi.org."
fi
exit "$status"
