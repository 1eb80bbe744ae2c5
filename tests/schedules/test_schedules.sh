#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Some thousand schedules of every world; each seed is one schedule; a failure names its seed.
# Environment: KILN_SCHEDULES, how many in all (default 6000); or KILN_SCHEDULE_SECONDS, how long.
set -u
[ -z "${KILN_SANITIZE:-}" ] || { echo "one thread of the operating system: nothing for a sanitizer"; exit 0; }
faults=0
worlds=$(bash "$KILN_SRC/tests/schedules/build_worlds.sh") || exit 1
build=$KILN_BUILD/sched
count=$((${KILN_SCHEDULES:-6000} / $(wc -w <<<"$worlds")))
[ "${KILN_SCHEDULE_SECONDS:-0}" -eq 0 ] || count=1000000000
export build count
# world NAME -- its output to NAME.txt
world() {
    "$build/tests/schedules/$1" --first "${KILN_SCHEDULE_FIRST:-1}" --count "$count" \
        --seconds "${KILN_SCHEDULE_SECONDS:-0}" >"$1.txt" 2>&1
}
export -f world
printf '%s\n' $worlds | xargs -P "${KILN_TEST_JOBS:-2}" -I '{}' bash -c 'world {}' || faults=1
for name in $worlds; do
    cat "$name.txt"
    grep -q 'schedules well,' "$name.txt" || faults=1
    "$build/tests/schedules/$name" --count 20 --twice >twice.txt 2>&1 || { cat twice.txt; faults=1; }
done
exit $faults
