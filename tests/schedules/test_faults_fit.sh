#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every fault of tests/schedules/faults fits the tree line by line, and names a world that is there.
# patch would put a hunk whose surroundings have changed in some other place, or half of it.
set -u
KILN_SRC=${KILN_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
faults=0 count=0

# fits PATCH
fits() { patch -d "$KILN_SRC" -p1 --dry-run --fuzz=0 --quiet --force <"$1" >/dev/null 2>&1; }

for patch in "$KILN_SRC"/tests/schedules/faults/*.patch; do
    name=tests/schedules/faults/$(basename "$patch")
    fits "$patch" || { echo "$name: does not fit, make it anew"; faults=1; }
    world=$(sed -n 's/^World: //p' "$patch")
    [ -f "$KILN_SRC/tests/schedules/world_$world.c" ] || { echo "$name: no world \"$world\""; faults=1; }
    count=$((count + 1))
done
[ "$count" -gt 0 ] || { echo "there is no fault"; faults=1; }

# Canary: the same change with one line of its surroundings as it is not.
first=$(ls "$KILN_SRC"/tests/schedules/faults/*.patch | head -n 1)
work=$(mktemp) || exit 2
trap 'rm -f "$work"' EXIT
awk '!done && /^ / && NF > 1 { print " no such line"; done = 1; next } { print }' "$first" >"$work"
fits "$work" && { echo "canary: a fault with other surroundings fits"; faults=1; }
exit $faults
