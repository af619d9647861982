#!/bin/sh
# Gets the programs that some tests need and pip cannot install: Chromium, Redis, memcached,
# PostgreSQL.
# As root on a Debian-like system it installs what is missing; elsewhere it says what is, one
# line each. It always succeeds: tests whose program is missing say so themselves.
set -u

missing() { ! command -v "$1" >/dev/null 2>&1; }

wanted=""
missing chromium && missing chromium-browser && wanted="chromium"
missing redis-server && wanted="$wanted redis-server"
missing memcached && wanted="$wanted memcached"
# Debian keeps the programs of PostgreSQL off the path.
missing initdb && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && wanted="$wanted postgresql"
[ -n "$wanted" ] || exit 0

if [ "$(id -u)" -eq 0 ] && ! missing apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null 2>&1
    for package in $wanted; do
        apt-get -qq install --yes --no-install-recommends "$package" >/dev/null 2>&1 ||
            echo "$package could not be installed; the tests that need it are left out." >&2
    done
else
    for package in $wanted; do
        echo "$package is missing; the tests that need it are left out. Install it to run them." >&2
    done
fi
exit 0
