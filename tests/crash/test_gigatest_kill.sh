#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real kill -9 of a loading gigatest, again and again, on one database: what it had told to be
# committed is there, and everything verifies, before each next attempt goes on.
#   KILN_GIGATEST_KILLS (6)   how often; each takes some seconds
#   KILN_SEED                 replays moments of killing
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"
kills=${KILN_GIGATEST_KILLS:-6}
seed=${KILN_SEED:-$$}
RANDOM=$seed
echo "seed $seed: KILN_SEED=$seed kills at the same moments"
count=$((kills * 500000 / slow))

# told -- objects that the killed process had told to be committed
told() {
    sed -n 's/^.*loading  \([0-9,]*\) of .*$/\1/p' out.txt | tail -n 1 | tr -d ,
}

how=$count
before=0
for try in $(seq "$kills"); do
    mode=os
    [ $((try % 2)) -eq 0 ] && mode=full
    "$gigatest" $how --db d --durability $mode --plain --interval 0.02 \
        --dirty-max 4m --txn 10 --cache 32m >out.txt 2>err.txt </dev/null &
    pid=$!
    for _ in $(seq 500); do
        committed=$(told)
        [ "${committed:-0}" -gt $before ] && break
        sleep 0.01
    done
    sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    committed=$(told)
    run 0 --verify --db d --json part.json --quiet || {
        fault "kill $try: does not verify"
        break
    }
    there=$(json part.json objects)
    echo "kill $try ($mode): told ${committed:-nothing}, there $there"
    [ "$there" -ge "${committed:-0}" ] || fault "kill $try: told $committed, only $there are there"
    [ "$there" -ge $before ] || fault "kill $try: fewer than the $before of the kill before"
    before=$there
    how=--resume
    [ "$there" -ge $count ] && break
done

# once more in a phase: objects change, and the round's place with them
"$gigatest" $((200000 / slow)) --db e --durability os --plain --interval 0.02 --txn 20 \
    --dirty-max 4m --mixed 2m --update 1m >out.txt 2>err.txt </dev/null &
pid=$!
for _ in $(seq 1000); do
    grep -qE "mixed  [1-9]" out.txt && break
    sleep 0.01
done
sleep "0.$((RANDOM % 9))"
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
run 0 --verify --db e --quiet
finish
