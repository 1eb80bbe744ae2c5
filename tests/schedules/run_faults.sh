#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/schedules/run_faults.sh [--bases N] [PATCH...] -- each fault that is put back is found.
#
# A patch of tests/schedules/faults is a fault that was once there, or a mend taken out, with the
# world that must find it and within how many schedules.  The tree is copied, patched, built and run.
# --bases N: from N base seeds (1, 1000001, ...), and how many schedules each took, in ascending order.
# Environment: KILN_SRC, KILN_BUILD (that of the schedules, built), KILN_JOBS.
# Exit code: 0 when every one was found, from each of the base seeds.
set -u
bases=1
[ "${1:-}" = --bases ] && { bases=$2; shift 2; }
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

# build_one PATCH WORLD -- the world with the fault, built in the copy; the copy is as it was then
build_one() {
    local patch=$1 program=build/sched/tests/schedules/world_$2 status=0
    (cd "$copy" && patch -p1 --fuzz=0 --quiet --no-backup-if-mismatch <"$patch") ||
        { echo "$(basename "$patch"): does not apply"; return 1; }
    env -u MAKEFLAGS -u MAKELEVEL make -C "$copy" --no-print-directory -j"${KILN_JOBS:-2}" SCHEDULE=1 CC=gcc BUILD=build/sched \
        "$program" >"$copy/log" 2>&1 || { echo "$(basename "$patch"): does not build"; tail -n 20 "$copy/log"; status=1; }
    (cd "$copy" && patch -p1 -R --quiet --no-backup-if-mismatch <"$patch") || status=1
    return "$status"
}

# seek PROGRAM WITHIN BASE -- how many schedules it took; nothing when it was missed
seek() {
    "$1" --first $(($3 * 1000000 + 1)) --count "$2" >"$copy/log.$3" 2>&1
    [ $? -eq 1 ] && sed -n 's/.*fails at seed [0-9]* .*, \([0-9]*\) schedules before it.*/\1/p' "$copy/log.$3" | awk '{ print $1 + 1 }'
}
export -f seek
export copy

# find_one PATCH -- 0: its world fails within the promised number of schedules, from each base seed
find_one() {
    local patch=$1 name world within start=$SECONDS found
    name=$(basename "$patch" .patch) world=$(said "$patch" World) within=$(said "$patch" Within)
    build_one "$patch" "$world" || return 1
    found=$(seq 0 $((bases - 1)) | xargs -P "${KILN_JOBS:-2}" -I '{}' \
        bash -c 'seek "$@"' - "$copy/build/sched/tests/schedules/world_$world" "$within" '{}' | sort -n)
    if [ "$(wc -w <<<"$found")" -eq "$bases" ]; then
        printf 'found   %-30s world %-8s within %s schedules, %d s\n' "$name" "$world" \
            "$(tr '\n' ' ' <<<"$found" | sed 's/ *$//')" $((SECONDS - start))
        return 0
    fi
    printf 'MISSED  %-30s world %-8s in %s schedules, by %d of %d base seeds; by the others within %s; %d s\n' "$name" \
        "$world" "$within" $((bases - $(wc -w <<<"$found"))) "$bases" "$(tr '\n' ' ' <<<"$found")" $((SECONDS - start))
    tail -n 3 "$copy/log.0"
    return 1
}

copy_tree || exit 2
for patch in "$@"; do
    find_one "$(realpath "$patch")" || missed=1
done
exit $missed
