#!/bin/sh
# Builds sdist, wheel and a software bill of materials into dist/, the same bytes for the same commit:
# from a clean export, with the time of the commit on every file.
# Usage: tools/build.sh PYTHON
set -eu
python=$1
root=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
git archive HEAD | tar -x -C "$work" --one-top-level=source
rm -rf "$root/dist"
"$python" -m build --outdir "$root/dist" "$work/source" >"$work/build.log" 2>&1 || {
    cat "$work/build.log"
    exit 1
}

# What comes with the wheel when a user installs it, at the newest versions of today.
"$python" -m venv "$work/venv"
wheel=$(ls "$root"/dist/*.whl)
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
"$python" -m cyclonedx_py environment --output-reproducible --output-format JSON \
    --output-file "$root/dist/$(basename "$wheel" .whl).cdx.json" "$work/venv/bin/python"
(cd "$root/dist" && sha256sum ./*)
