#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gigatest: every order and kind of ids, with changes, proves what it did; a copy made from the same
# seed is the same.
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"
count=$((20000 / slow))
some=$((count / 2))

for plan in "--order sequential" "--order random" "--ids given --order random" "--ids scattered" \
    "--index none" "--index age" "--index name,age --seed 7"; do
    # shellcheck disable=SC2086 # words on purpose
    run 0 $count --db d --overwrite --quiet $plan --verify --json one.json --txn 77 --threads 3 \
        --update $some --delete $((count / 10)) --mixed $((count * 2)) --update 10 ||
        continue
    # shellcheck disable=SC2086
    run 0 $count --db e --overwrite --quiet $plan --durability lazy --threads 1 --txn 1000
    run 0 --resume --db e --quiet --update $some --delete $((count / 10))
    run 0 --resume --db e --quiet --mixed $((count * 2)) --update 10 --verify --json two.json
    run 0 --verify --db e --quiet
    one=$(json one.json checksum)
    two=$(json two.json checksum)
    if [ -z "$one" ] || [ "$one" != "$two" ]; then
        fault "$plan: checksums $one and $two"
    fi
done

# names that repeat, ids that are all deleted and added again
run 0 1000 --db d --overwrite --quiet --delete 1000 --delete 10 --verify --json all.json
[ "$(json all.json objects)" = 0 ] || fault "not all were deleted"
[ "$(json all.json data_used_bytes)" -le "$(json all.json data_bytes)" ] ||
    fault "more is in use than the file has"
run 0 --resume --db d --quiet --mixed 1000 --verify --json all.json
[ "$(json all.json objects)" = 1000 ] || fault "not all were added again"
run 0 1 --db d --overwrite --quiet --update 3 --verify
run 0 5000 --db d --overwrite --quiet --page 64k --cache 32m --txn 1 --durability os --verify
run 0 5000 --db d --overwrite --quiet --page 4k --cache 4m --no-direct --rfl-dir log --verify \
    --durability os
run 0 --verify --db d --rfl-dir log --quiet
finish
