#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/mutants/run.sh [MUTANT...] -- each mutant is caught by one of the tests that it names.
#
# The tree is copied below $KILN_BUILD/mutants with what is built of it.  For each mutant the copy is
# changed, the tests that it names are built and run, the quickest first, until one fails, crashes
# or does not end; then the file is put back.  A canary, a mutant that changes nothing, comes first
# and runs every test that is named: it must survive.
# The last line is a summary; $KILN_BUILD/mutants/table.md is the table of tests/mutants/README.md.
# Environment: KILN_BUILD (default build), KILN_JOBS (default 2), KILN_CRASH_STATES (default 4000, a
# sample), KILN_MUTANT_SECONDS (of one test, default 120).
# Exit code: 0 when every mutant is caught and the canary is not.
set -u
KILN_SRC=${KILN_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
KILN_BUILD=$(cd "${KILN_BUILD:-$KILN_SRC/build}" && pwd) || exit 2
[ $# -gt 0 ] || set -- "$KILN_SRC"/tests/mutants/*.mutant
work=$KILN_BUILD/mutants
copy=$work/tree
limit=${KILN_MUTANT_SECONDS:-120}
export KILN_CRASH_STATES=${KILN_CRASH_STATES:-4000}
began=$SECONDS caught=0 lost=0
table=$work/table.md
trap 'rm -rf "$copy" "$work/run"' EXIT

# What is built is taken along: only what a mutant changes is compiled again.
copy_tree() {
    rm -rf "$copy" && mkdir -p "$copy/build" "$copy/tests" || return
    (cd "$KILN_SRC" && cp -a Makefile kiln.map kiln.pc.in include ftk cache rfl engine utils gigatest "$copy/" &&
        cp -a tests/support tests/unit tests/crash tests/sim tests/mutants "$copy/tests/") || return
    for part in obj internal flags sources; do
        [ ! -e "$KILN_BUILD/$part" ] || cp -a "$KILN_BUILD/$part" "$copy/build/" || return
    done
    find "$copy/build" -name '*.d' -exec sed -i 's|^[^ ]*/obj/|build/obj/|' {} +
}

make_in_copy() {
    env -u MAKEFLAGS -u MAKELEVEL make -C "$copy" --no-print-directory -j"${KILN_JOBS:-2}" BUILD=build \
        CC="${KILN_CC:-gcc}" "$@" >"$work/log" 2>&1
}

# run_tests TEST... -- 1: one failed, and $catcher says which and how
run_tests() {
    local test status
    for test in "$@"; do
        rm -rf "$work/run" && mkdir -p "$work/run" || exit 2
        { (cd "$work/run" && TMPDIR=$work/run timeout -k 5 "$limit" "$copy/build/$test") \
            >"$work/log" 2>&1 </dev/null; } 2>/dev/null # the shell's word of a crash
        status=$?
        [ "$status" -eq 0 ] && continue
        catcher=${test#tests/*/}
        case $status in
        124 | 137) catcher="$catcher (no end within $limit s)" ;;
        1) ;;
        *) catcher="$catcher (exit code $status)" ;;
        esac
        return 1
    done
}

# try MUTANT -- 0: survived, 1: caught, 2: it does not fit or does not build
try() {
    local mutant=$1 fit file tests object status
    fit=$(perl "$KILN_SRC/tests/mutants/mutant.pl" check "$copy" "$mutant") || return 2
    { read -r file && read -r tests; } <<<"$fit"
    object=$copy/build/obj/${file%.c}.o
    cp -p "$copy/$file" "$work/file" || exit 2
    rm -f "$work/object"
    [ ! -f "$object" ] || cp -p "$object" "$work/object" || exit 2
    perl "$KILN_SRC/tests/mutants/mutant.pl" apply "$copy" "$mutant" >/dev/null || return 2
    status=0
    # shellcheck disable=SC2086 # words on purpose
    if ! make_in_copy ${tests//tests\//build/tests/}; then
        echo "$(basename "$mutant"): does not build"
        tail -n 20 "$work/log"
        status=2
    elif ! run_tests $tests; then
        status=1
    fi
    # The file as old as it was, and its object new: that one is not compiled again, but archived.
    cp -p "$work/file" "$copy/$file" || exit 2
    # A header is made new: what includes it was compiled with the mutant.
    case $file in
    *.h) touch "$copy/$file" ;;
    *) if [ -f "$work/object" ]; then cp "$work/object" "$object"; else rm -f "$object"; fi ;;
    esac
    return $status
}

# All tests that the mutants name, on the tree as it is.
canary() {
    local all
    all=$(sed -n 's/^tests: //p' "$@" | tr ' ' '\n' | sort -u | tr '\n' ' ')
    printf 'file: ftk/checksum.c\ntests: %s\nbreaks: nothing.\n--- old\n%s\n--- new\n%s\n--- end\n' "$all" \
        "$(sed -n 1p "$copy/ftk/checksum.c")" "$(sed -n 1p "$copy/ftk/checksum.c")" >"$work/canary.mutant"
    try "$work/canary.mutant" && return
    echo "canary: a mutant that changes nothing is caught by ${catcher:-the build}"
    tail -n 20 "$work/log"
    return 1
}

mkdir -p "$work" && copy_tree || exit 2
catcher=
canary "$@" || exit 1
printf '| mutant | what it breaks | caught by | seconds |\n|---|---|---|---|\n' >"$table"
for mutant in "$@"; do
    start=$SECONDS name=$(basename "$mutant" .mutant)
    try "$mutant"
    status=$?
    if [ "$status" -eq 1 ]; then
        printf '%-32s caught by %s in %d s\n' "$name" "$catcher" $((SECONDS - start))
        printf '| `%s` | %s | %s | %d |\n' "$name" "$(sed -n 's/^breaks: //p' "$mutant")" "$catcher" \
            $((SECONDS - start)) >>"$table"
        caught=$((caught + 1))
    else
        [ "$status" -ne 0 ] || printf '%-32s SURVIVED\n' "$name"
        lost=$((lost + 1))
    fi
done
echo "$((caught + lost)) mutants, $caught caught, $lost not, $((SECONDS - began)) s"
[ "$lost" -eq 0 ]
