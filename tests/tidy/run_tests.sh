#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/run_tests.sh TEST... -- run test programs and test scripts, report, count.
#
# Each test runs in a fresh directory of its own (working directory and TMPDIR), removed afterwards,
# with a time limit.  A test passes when it exits with 0.  What is counted: the cases of a CUnit
# program (its summary's row "tests"), one for anything else.  Each of these is a failed case too:
#   a program that is not there; one that crashes or runs out of time; one that exits with non-zero
#   though no case failed; one with a CUnit summary of no case at all; an inactive case.
# The last line of output is "N passed, N failed"; the exit code is 0 only when nothing failed.
#
# Environment:
#   KILN_BUILD         the build directory (default build); tests get it as an absolute path
#   KILN_TEST_JOBS     tests at a time (default 2)
#   KILN_TEST_TIMEOUT  seconds for one test (default 300)
#   KILN_TEST_TMP      where the fresh directories are made (default $KILN_BUILD/tmp)
#   KILN_TEST_WRAP     words put before each test program, e.g. "valgrind -q"
#   KILN_BUILD_RC      exit code of the build that went before; non-zero counts as one failed
set -u

KILN_SRC=$(cd "$(dirname "$0")/../.." && pwd) || exit 2
KILN_BUILD=${KILN_BUILD:-$KILN_SRC/build}
mkdir -p "$KILN_BUILD" || exit 2
KILN_BUILD=$(cd "$KILN_BUILD" && pwd) || exit 2
tmp_root=${KILN_TEST_TMP:-$KILN_BUILD/tmp}
jobs=${KILN_TEST_JOBS:-2}
export KILN_SRC KILN_BUILD KILN_TEST_TIMEOUT=${KILN_TEST_TIMEOUT:-300}

# counts FILE -- prints "passed failed" of all CUnit summaries in FILE, nothing if there is none
counts() {
    awk '$1 == "tests" && NF == 6 && $2 ~ /^[0-9]+$/ {
             seen = 1; passed += $4; failed += $5; total += $2; inactive += $6
         }
         END { if (seen) print passed, failed + inactive, total }' "$1"
}

# run_one DIR TEST -- leaves DIR/output and DIR/result ("passed failed"), prints one line
run_one() {
    local dir=$1 test=$2 name output status start passed failed why found total
    name=${test#"$KILN_BUILD/"}
    name=${name#"$KILN_SRC/"}
    output=$dir/output
    mkdir -p "$dir/tmp"
    start=$SECONDS
    if [ ! -f "$test" ]; then
        echo "no such test: was it built?" >"$output"
        status=127
    elif [[ $test == *.sh ]]; then
        (cd "$dir/tmp" && TMPDIR=$dir/tmp timeout -k 5 "$KILN_TEST_TIMEOUT" bash "$test") \
            >"$output" 2>&1 </dev/null
        status=$?
    else
        # shellcheck disable=SC2086 # words on purpose
        (cd "$dir/tmp" && TMPDIR=$dir/tmp timeout -k 5 "$KILN_TEST_TIMEOUT" ${KILN_TEST_WRAP:-} "$test") \
            >"$output" 2>&1 </dev/null
        status=$?
    fi

    passed=0 failed=0 why=
    found=$(counts "$output")
    if [ -n "$found" ]; then
        read -r passed failed total <<<"$found"
        [ "$total" -eq 0 ] && { failed=1; why="ran no case"; }
    elif [ "$status" -eq 0 ]; then
        passed=1
    fi
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
    fi
    case $status in
    0) ;;
    124 | 137) why="no end within $KILN_TEST_TIMEOUT s, or killed" ;;
    *) why=${why:-exit code $status} ;;
    esac
    echo "$passed $failed" >"$dir/result"
    {
        if [ "$failed" -eq 0 ]; then
            printf 'ok    %-56s %4d %5d s\n' "$name" "$passed" $((SECONDS - start))
        else
            printf 'FAIL  %-56s %4d passed, %d failed, %d s%s\n' "$name" "$passed" "$failed" \
                $((SECONDS - start)) "${why:+ ($why)}"
            tail -c 20000 "$output" | sed 's/^/      | /'
        fi
    } >"$dir/report"
    cat "$dir/report" # one write: lines of parallel tests do not mix
    rm -rf "${dir:?}/tmp"
    return 0
}

if [ "${1-}" = --one ]; then
    run_one "$2" "$3"
    exit 0
fi

mkdir -p "$tmp_root" || exit 2
work=$(mktemp -d "$(cd "$tmp_root" && pwd)/run.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

index=0
for test in "$@"; do
    index=$((index + 1))
    case $test in
    /*) ;;
    *) test=$PWD/$test ;;
    esac
    mkdir -p "$work/$index"
    printf '%s\0%s\0' "$work/$index" "$test"
done | xargs -0 -r -n 2 -P "$jobs" bash "$0" --one

passed=0 failed=0
for ((index = 1; index <= $#; index++)); do
    p=0 f=1 # a runner that died leaves no result
    [ -f "$work/$index/result" ] && read -r p f <"$work/$index/result"
    passed=$((passed + p))
    failed=$((failed + f))
done
if [ "${KILN_BUILD_RC:-0}" -ne 0 ]; then
    echo "FAIL  the build (exit code $KILN_BUILD_RC, see above)"
    failed=$((failed + 1))
fi
if [ $# -eq 0 ]; then
    echo "FAIL  there is no test to run"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
