#!/bin/sh
# Gets the programs that the benchmarks need and pip cannot install: Redis and wrk.
# As root on a Debian-like system it installs what is missing; elsewhere it says what is. Without
# wrk a slower load generator of our own takes its place.
set -u

missing() { ! command -v "$1" >/dev/null 2>&1; }

wanted=""
missing redis-server && wanted="redis-server"
missing wrk && wanted="$wanted wrk"
[ -n "$wanted" ] || exit 0

if [ "$(id -u)" -eq 0 ] && ! missing apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null 2>&1
    for package in $wanted; do
        apt-get -qq install --yes --no-install-recommends "$package" >/dev/null 2>&1 ||
            echo "$package could not be installed." >&2
    done
else
    echo "Not installed: $wanted." >&2
fi
exit 0
