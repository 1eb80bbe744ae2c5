#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/schedules/run_faults.sh [PATCH...] -- each fault that is put back is found.
#
# A patch of tests/schedules/faults is a fault that was once there, or a mend taken out, with the
# world that must find it and within how many schedules.  The tree is copied, patched, built and run.
# Environment: KILN_SRC, KILN_BUILD (that of the schedules, built), KILN_JOBS.
# Exit code: 0 when every one was found.
set -u
KILN_SRC=${KILN_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
KILN_BUILD=$(cd "${KILN_BUILD:-$KILN_SRC/build/sched}" && pwd) || exit 2
[ $# -gt 0 ] || set -- "$KILN_SRC"/tests/schedules/faults/*.patch
copy=$(mktemp -d) || exit 2
trap 'rm -rf "$copy"' EXIT
missed=0

# said PATCH WORD -- the rest of the line "WORD: ..."
said() { sed -n "s/^$2: //p" "$1" | head -n 1; }

# The copy is built already: only what a patch changes is compiled again.
copy_tree() {
    mkdir -p "$copy/build/sched" || return
    (cd "$KILN_SRC" && cp -a Makefile kiln.map include ftk cache rfl engine "$copy/") || return
    mkdir -p "$copy/tests" && cp -a "$KILN_SRC/tests/support" "$KILN_SRC/tests/schedules" "$copy/tests/" || return
    cp -a "$KILN_BUILD/obj" "$KILN_BUILD/flags" "$copy/build/sched/" || return
    find "$copy/build/sched/obj" -name '*.d' -exec sed -i 's|^[^ ]*/obj/|build/sched/obj/|' {} +
}

# find PATCH -- 0: its world fails within the promised number of schedules
find_one() {
    local patch=$1 world within start=$SECONDS status
    world=$(said "$patch" World) within=$(said "$patch" Within)
    (cd "$copy" && patch -p1 --fuzz=0 --quiet --no-backup-if-mismatch <"$patch") ||
        { echo "$(basename "$patch"): does not apply"; return 1; }
    env -u MAKEFLAGS -u MAKELEVEL make -C "$copy" --no-print-directory -j"${KILN_JOBS:-2}" SCHEDULE=1 CC=gcc BUILD=build/sched \
        "build/sched/tests/schedules/world_$world" >"$copy/log" 2>&1 ||
        { echo "$(basename "$patch"): does not build"; tail -n 20 "$copy/log"; return 1; }
    "$copy/build/sched/tests/schedules/world_$world" --count "$within" >"$copy/log" 2>&1
    status=$?
    (cd "$copy" && patch -p1 -R --quiet --no-backup-if-mismatch <"$patch") || return 1
    if [ "$status" -eq 1 ] && grep -q 'fails at seed' "$copy/log"; then
        printf 'found   %-28s world %-8s %s, %d s\n' "$(basename "$patch" .patch)" "$world" \
            "$(sed -n 's/.*fails at \(seed [0-9]*\) .*/\1/p' "$copy/log")" $((SECONDS - start))
        return 0
    fi
    printf 'MISSED  %-28s world %-8s %s schedules (exit code %d)\n' "$(basename "$patch" .patch)" \
        "$world" "$within" "$status"
    tail -n 3 "$copy/log"
    return 1
}

copy_tree || exit 2
for patch in "$@"; do
    find_one "$(realpath "$patch")" || missed=1
done
exit $missed
