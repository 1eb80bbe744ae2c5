#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/deps.sh PACKAGE... -- install the Debian packages that are missing, and only those.
#
# Nothing is downloaded and apt is not even asked when all are there.  Runs apt-get as root or
# through sudo.  Exit code 0: all present now; 1: could not be arranged, with the reason.
set -u

missing=
if command -v dpkg-query >/dev/null 2>&1; then
    for package in "$@"; do
        state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)
        case $state in
        "install ok installed"*) ;;
        *) missing="$missing $package" ;;
        esac
    done
else
    echo "deps: this is not a Debian system (no dpkg-query)." >&2
    echo "deps: kiln needs what these Debian packages hold: $*" >&2
    echo "deps: going on; the build stops at the first one that is not there." >&2
    exit 0
fi
[ -z "$missing" ] && exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "deps: missing:$missing" >&2
        echo "deps: neither root nor sudo here; as root run: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@"
}

echo "deps: installing:$missing"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
# The package lists are refreshed first; when that fails (no network), lists at hand may still do.
apt update >"$log" 2>&1 || { echo "deps: apt-get update failed, trying with old lists:" >&2; tail -n 5 "$log" >&2; }
# shellcheck disable=SC2086 # a list of names on purpose
if ! apt install --no-install-recommends $missing >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "deps: apt-get could not install:$missing" >&2
    echo "deps: install these by hand (or repair apt), then run make again." >&2
    exit 1
fi
