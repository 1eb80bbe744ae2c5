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
    grep -v '^invariant ' "$name.txt"
    grep -q 'schedules well,' "$name.txt" || faults=1
    "$build/tests/schedules/$name" --count 20 --twice >twice.txt 2>&1 || { cat twice.txt; faults=1; }
done

# The rules of each struct were looked at, and how often at least: 6000 schedules of all worlds.
while read -r least name; do
    least=$((least * ${KILN_SCHEDULES:-6000} / 6000))
    runs=$(cat $(printf '%s.txt ' $worlds) | awk -v name="$name" '
        $1 == "invariant" { n = $2; $1 = $2 = ""; if (substr($0, 3) == name) sum += n } END { print sum + 0 }')
    printf 'invariant of %-24s %9d runs\n' "$name" "$runs"
    [ "$runs" -ge "$least" ] || { echo "wanted $least"; faults=1; }
done <<'END'
20000 page
20000 space
100000 transaction
10000 transaction's pages
20000 window
500000 state of a cache page
5000 cache
20000 log
END
exit $faults
