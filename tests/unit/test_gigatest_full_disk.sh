#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gigatest on a disk that fills up: a clear message, everything committed is kept and verifies where
# it stands, and the command it names goes on when there is room.
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"
if [ "${1:-}" != inside ]; then
    mkdir -p disk
    if [ "$(id -u)" -eq 0 ]; then
        exec unshare -m bash "$0" inside
    elif unshare -rm true 2>/dev/null; then
        exec unshare -rm bash "$0" inside
    fi
    echo "skipped: no mount name space here"
    exit 0
fi
if ! mount -t tmpfs -o size=48m none disk 2>/dev/null; then
    echo "skipped: cannot mount a small file system"
    exit 0
fi
count=$((3000000 / slow))
[ $slow -gt 1 ] && mount -o remount,size=24m disk

run 1 $count --db disk/db --durability os --segment 2m --log-max 8m --cache 64m --plain
says err.txt "the disk is full"
says err.txt "objects are committed and kept"
kept=$(sed -n 's/^gigatest: \([0-9,]*\) objects are committed.*/\1/p' err.txt | tr -d ,)
[ "${kept:-0}" -gt 0 ] || fault "nothing was kept"
resume=$(tail -n 1 err.txt)
resume=${resume#"    $gigatest "}

mount -o remount,size=600m disk
run 0 --verify --db disk/db --quiet --json part.json
[ "$(json part.json objects)" = "$kept" ] || fault "$kept were kept, $(json part.json objects) are there"
# shellcheck disable=SC2086 # words on purpose
run 0 $resume --verify --quiet --json whole.json
[ "$(json whole.json objects)" = $count ] || fault "going on did not load all"
finish
