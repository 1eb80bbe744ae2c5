#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gigatest: SIGINT, SIGTERM and SIGHUP stop a load at a transaction; nothing committed is lost; the
# command it names goes on; and the end is that of a load without a stop.
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"
set -m # or background jobs ignore SIGINT
count=$((1000000 / slow))

# interrupt SIGNAL STATUS ARGUMENT... -- start, stop after a moment (thrice: more change nothing)
interrupt() {
    local signal=$1 wanted=$2 pid status=0 line
    shift 2
    "$gigatest" "$@" --plain --interval 0.05 >out.txt 2>err.txt </dev/null &
    pid=$!
    for _ in $(seq 3000); do
        grep -qE "$stage  [1-9]" out.txt && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.02
    done
    grep -qE "$stage  [1-9]" out.txt || fault "SIG$signal: $stage did not begin in a minute"
    kill -"$signal" $pid || fault "SIG$signal: the run had ended before it could be stopped"
    kill -"$signal" $pid 2>/dev/null
    kill -"$signal" $pid 2>/dev/null
    wait $pid || status=$?
    if [ $status -ne "$wanted" ]; then
        fault "SIG$signal: exit status $status, not $wanted"
        tail -n 5 out.txt err.txt
    fi
    says err.txt "objects are committed and kept"
    line=$(tail -n 1 err.txt)
    says err.txt "--resume --db d"
    resume=${line#"    $gigatest "}
}

stage=loading
for try in "TERM 143" "INT 130" "HUP 129"; do
    rm -rf d
    # shellcheck disable=SC2086 # words on purpose
    interrupt $try $count --order random --db d --durability os --txn 20 --update 1000
    run 0 --verify --db d --json part.json --quiet
    part=$(json part.json objects)
    kept=$(sed -n 's/^gigatest: \([0-9,]*\) objects are committed.*/\1/p' err.txt | tr -d ,)
    [ "$part" -lt $count ] || fault "the load was over before the signal came"
    [ "${kept:-$part}" = "$part" ] || fault "$kept were kept, $part are there"
done
case $resume in
*"--update 1000"*) ;;
*) fault "the resume command forgets the update: $resume" ;;
esac
# shellcheck disable=SC2086
run 0 $resume --verify --json whole.json --quiet
[ "$(json whole.json objects)" = $count ] || fault "resuming did not load all"
run 0 $count --order random --db e --durability os --update 1000 --verify --json straight.json --quiet
[ "$(json whole.json checksum)" = "$(json straight.json checksum)" ] ||
    fault "a resumed load is not that of a straight one"

# in the middle of a phase
stage=mixed
rm -rf d
interrupt TERM 143 $((count / 10)) --db d --durability os --mixed $((count * 10)) --txn 10
run 0 --verify --db d --quiet
case $resume in
*"--mixed "*) ;;
*) fault "the resume command forgets the rounds left: $resume" ;;
esac
finish
