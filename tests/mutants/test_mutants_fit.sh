#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every mutant fits: its old text is in its file once, its tests exist, and the README has its row.
set -u
KILN_SRC=${KILN_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
work=$(mktemp -d) && cd "$work" || exit 2
trap 'rm -rf "$work"' EXIT
faults=0 count=0
readme=$KILN_SRC/tests/mutants/README.md

for mutant in "$KILN_SRC"/tests/mutants/*.mutant; do
    name=$(basename "$mutant" .mutant)
    perl "$KILN_SRC/tests/mutants/mutant.pl" check "$KILN_SRC" "$mutant" >/dev/null || faults=1
    grep -q "^| \`$name\` |" "$readme" || { echo "tests/mutants/README.md: no row of $name"; faults=1; }
    count=$((count + 1))
done
for name in $(sed -n 's/^| `\([^`]*\)` |.*/\1/p' "$readme"); do
    [ -f "$KILN_SRC/tests/mutants/$name.mutant" ] || { echo "tests/mutants/README.md: $name is gone"; faults=1; }
done
[ "$count" -gt 0 ] || { echo "there is no mutant"; faults=1; }

# Canaries: text that is not there, text that is there twice, a test that is not there.
mkdir tree
printf 'one\ntwo\ntwo\n' >tree/x.c
# refused OLD TEST
refused() {
    printf 'file: x.c\ntests: %s\nbreaks: it.\n--- old\n%s\n--- new\nother\n--- end\n' "$2" "$1" >bad.mutant
    if perl "$KILN_SRC/tests/mutants/mutant.pl" check tree bad.mutant >/dev/null 2>&1; then
        echo "canary: \"$1\" with the test $2 fits"
        faults=1
    fi
}
refused three x
refused two x
refused one y
exit $faults
