#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/schedules/build_worlds.sh -- build every world; one build at a time.  Prints their names.
# Environment: KILN_SRC, KILN_BUILD (the build directory that build/sched lies in), KILN_TEST_JOBS.
set -u
build=${KILN_BUILD#"$KILN_SRC"/}/sched # as `make SCHEDULE=1 BUILD=build/sched` has it
worlds=$(cd "$KILN_SRC/tests/schedules" && ls world_*.c | sed 's/\.c$//')
cd "$KILN_SRC" && mkdir -p "$build" || exit 1
log=$(mktemp) || exit 1
# shellcheck disable=SC2046 # words on purpose
env -u MAKEFLAGS -u MAKELEVEL flock "$build/lock" make --no-print-directory -j"${KILN_TEST_JOBS:-2}" \
    SCHEDULE=1 CC=gcc BUILD="$build" $(printf "$build/tests/schedules/%s " $worlds) >"$log" 2>&1
status=$?
[ "$status" -eq 0 ] || tail -n 30 "$log" >&2
rm -f "$log"
[ "$status" -eq 0 ] && echo "$worlds"
exit "$status"
