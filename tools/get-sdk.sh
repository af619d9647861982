#!/bin/sh
# Installs the npm packages that a folder's package-lock.json names, the official Anam SDK among them.
# Usage: tools/get-sdk.sh example_app
# Without npm or network it says so in one line and succeeds, unless CI=true.
set -eu

folder=${1:?usage: tools/get-sdk.sh FOLDER}
cd "$(dirname "$0")/../$folder"

if [ -d node_modules ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then
    exit 0
fi

give_up() {
    echo "$folder: $1, so its npm packages are not installed. $2" >&2
    [ "${CI:-}" != true ]
    exit
}

case $folder in
    example_app) effect="The page loads it from a CDN instead." ;;
    benchmarks/express) effect="Express is left out of the benchmarks." ;;
    *) effect="The tests that need it are left out." ;;
esac

command -v npm >/dev/null 2>&1 || give_up "npm is missing" "$effect"
npm ci --no-audit --no-fund --silent || give_up "npm ci failed" "$effect"
# npm keeps the time of an older run when nothing changed.
touch node_modules/.package-lock.json
