#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each example is a complete C11 (or C++17) program for the public header alone, without a warning,
# and does not mind what an earlier run left; the README's program is examples/first.c.
set -u
faults=0
fault() {
    echo "FAULT: $*"
    faults=1
}

[ -f "$KILN_BUILD/lib/libkiln.so" ] || { echo "libkiln.so has not been built"; exit 1; }

sanitize=
[ -z "${KILN_SANITIZE:-}" ] || sanitize=-fsanitize=$KILN_SANITIZE

for source in "$KILN_SRC"/examples/*.c "$KILN_SRC"/examples/*.cc; do
    name=$(basename "${source%.*}")
    case $source in
    *.c) compile="${KILN_CC:-gcc} -std=c11" ;;
    *) compile="${KILN_CXX:-g++} -std=c++17" ;;
    esac
    # shellcheck disable=SC2086 # words on purpose
    $compile -Wall -Wextra -pedantic -Werror $sanitize -I"$KILN_SRC/include" -o "$name" "$source" \
        -L"$KILN_BUILD/lib" -Wl,-rpath,"$KILN_BUILD/lib" -lkiln -pthread || { fault "$name: build"; continue; }
    for time in first second; do
        "./$name" >"$name.out" 2>&1 || { fault "$name: its $time run fails"; cat "$name.out"; }
    done
    [ "$name" = first ] && [ "$(cat first.out)" != Oslo ] && fault "first does not print Oslo"
done

# program FILE -- the text of the first ```c block
program() {
    awk '/^```c$/ { on = 1; next } /^```$/ { if (on) exit } on' "$1"
}

program "$KILN_SRC/README.md" >readme.c
sed 1d "$KILN_SRC/examples/first.c" | cmp - readme.c || fault "the program in README.md is not examples/first.c"
[ "$(wc -l <readme.c)" -le 25 ] || fault "the first program has grown long"

# A canary: the comparison can fail.
sed 's/Oslo/Bergen/' "$KILN_SRC/README.md" >changed.md
program changed.md | cmp -s "$KILN_SRC/examples/first.c" - && fault "canary: a changed program goes unnoticed"

exit $faults
