#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Canary of tests/tidy/run_tests.sh: it must notice failing, crashing, hanging and missing tests.
set -u
runner=$KILN_SRC/tests/tidy/run_tests.sh
faults=0

# expect LAST_LINE SCRIPT... -- what the runner must say of these tests
expect() {
    local want=$1 got status
    shift
    got=$(KILN_BUILD=$PWD/build KILN_TEST_TMP=$PWD/build/tmp KILN_TEST_TIMEOUT=1 KILN_BUILD_RC=${rc:-0} \
        KILN_TEST_WRAP='' bash "$runner" "$@")
    status=$?
    if [ "$(tail -n 1 <<<"$got")" != "$want" ]; then
        echo "wanted: $want; the runner said:"
        echo "$got"
        faults=$((faults + 1))
    fi
    case $want in
    *" 0 failed") [ $status -eq 0 ] || { echo "exit code $status: $want"; faults=$((faults + 1)); } ;;
    *) [ $status -ne 0 ] || { echo "exit code 0: $want"; faults=$((faults + 1)); } ;;
    esac
}

# program NAME LINES -- an executable
program() {
    printf '#!/bin/bash\n%s\n' "$2" >"$1"
    chmod +x "$1"
}

summary() {
    printf 'echo "   tests  %d  %d  %d  %d  %d"\n' "$@"
}

program good 'exit 0'
program bad 'exit 1'
program crashing 'kill -SEGV $$'
program aborting 'kill -ABRT $$'
program hanging 'sleep 60'
program deaf "trap '' TERM; while :; do sleep 1; done"
program three_good "$(summary 3 3 3 0 0)"
program one_of_three_bad "$(summary 3 3 2 1 0)"
program bad_but_for_the_summary "$(summary 3 3 3 0 0); exit 3"
program no_case "$(summary 0 0 0 0 0)"
program inactive "$(summary 3 2 2 0 1)"
program tidy '[ -z "$(ls -A)" ] && [ "$PWD" = "$TMPDIR" ] && touch left_behind'
printf 'exit 0\n' >test_good.sh
printf 'exit 9\n' >test_bad.sh
: >not_executable

expect "1 passed, 0 failed" good
expect "3 passed, 0 failed" three_good
expect "5 passed, 0 failed" good three_good test_good.sh
expect "0 passed, 1 failed" bad
expect "0 passed, 1 failed" crashing
expect "0 passed, 1 failed" aborting
expect "0 passed, 1 failed" hanging
expect "0 passed, 1 failed" deaf
expect "2 passed, 1 failed" one_of_three_bad
expect "3 passed, 1 failed" bad_but_for_the_summary
expect "0 passed, 1 failed" no_case
expect "2 passed, 1 failed" inactive
expect "0 passed, 1 failed" not_there
expect "0 passed, 1 failed" not_executable
expect "0 passed, 1 failed" test_bad.sh
expect "2 passed, 0 failed" tidy tidy
expect "5 passed, 4 failed" good bad three_good hanging test_good.sh test_bad.sh not_there
expect "0 passed, 1 failed"
rc=2 expect "1 passed, 1 failed" good

exit $((faults > 0))
