#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gigatest --verify: a database with a byte changed is noticed, with a line and exit status 1, and
# nothing crashes.
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"
tries=${KILN_GIGATEST_FLIPS:-12}

run 0 $((30000 / slow)) --db whole --quiet --verify
size=$(stat -c %s whole/data.kdb)
page=$("$KILN_BUILD/bin/kiln" stat whole | awk '$1 == "page_bytes" { print $2 }')
map=$((65536 / page)) # the space map's first copy; its second is the page behind it

# number FILE OFFSET -- 8 bytes, little-endian
number() {
    od -An -tu8 -j "$2" -N 8 "$1" | tr -d ' '
}

# The pages of trees that the last checkpoint reaches: those whose bit is set in the newer copy of
# the space map (docs/format.md, 1.5), behind the headers and the map itself.
newer=$map
[ "$(number whole/data.kdb $(((map + 1) * page + 32)))" -gt "$(number whole/data.kdb $((map * page + 32)))" ] &&
    newer=$((map + 1))
od -An -tu1 -v -w1 -j $((newer * page + 64)) -N $((page / 2)) whole/data.kdb | awk -v first=$((map + 2)) '
    { for (bit = 0; bit < 8; bit++) { if ($1 % 2 && (NR - 1) * 8 + bit >= first) print (NR - 1) * 8 + bit
                                      $1 = int($1 / 2) } }' >live.txt
live=$(wc -l <live.txt)
[ "$size" -le $((4 * page * page)) ] || fault "$size bytes are more than one map has"
[ "$live" -ge 10 ] || fault "only $live pages are live"
mapfile -t pages <live.txt

# flip FILE OFFSET -- change one byte
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059 # a byte by its octal number
    printf "\\$(printf %03o $((byte ^ 0x41)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# damaged WHAT -- gigatest --verify of d says that it is: status 1, some lines, not too many
damaged() {
    local status=0
    "$gigatest" --verify --db d --quiet >out.txt 2>err.txt </dev/null || status=$?
    [ $status -eq 1 ] || fault "$1: exit status $status: $(head -3 err.txt)"
    [ -s err.txt ] || fault "$1: not a word"
    [ "$(wc -l <err.txt)" -le 30 ] || fault "$1: too many lines"
}

# A byte anywhere in a live page is noticed, each time.
seed=${KILN_SEED:-$(od -An -tu2 -N 2 /dev/urandom | tr -d ' ')}
RANDOM=$seed
echo "seed $seed: KILN_SEED replays it; $live live pages of $page bytes"
cp -r whole d
for try in $(seq "$tries"); do
    number=${pages[(RANDOM * 32768 + RANDOM) % live]}
    at=$(((RANDOM * 32768 + RANDOM) % page))
    flip d/data.kdb $((number * page + at))
    damaged "try $try (seed $seed): byte $at of page $number"
    flip d/data.kdb $((number * page + at)) # and back: verification writes nothing else
    cmp -s whole/data.kdb d/data.kdb || { rm -rf d && cp -r whole d; }
done
# Both the first and the last byte of a page, its header, and the map in force.
for at in $((pages[0] * page)) $((pages[live - 1] * page + page - 1)) $((pages[live / 2] * page + 24)) \
    $((newer * page + 70)); do
    rm -rf d
    cp -r whole d
    flip d/data.kdb $at
    damaged "byte $at"
done
rm -rf d
cp -r whole d
run 0 --verify --db d --quiet # the canary: nothing is damaged without a flip

# cut short, emptied, replaced
for size in 0 100 4096 $((pages[live / 2] * page)); do
    rm -rf d
    cp -r whole d
    truncate -s "$size" d/data.kdb
    run 1 --verify --db d --quiet
    [ -s err.txt ] || fault "cut to $size bytes: not a word"
done
rm -rf d
cp -r whole d
head -c 100000 /dev/urandom >d/data.kdb
run 1 --verify --db d --quiet
finish
