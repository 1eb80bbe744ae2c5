#!/bin/bash
# gigatest --verify: a database with a byte changed is noticed, with a line and exit status 1, and
# nothing crashes.
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"
tries=${KILN_GIGATEST_FLIPS:-12}

run 0 $((30000 / slow)) --db whole --quiet --verify
size=$(stat -c %s whole/data.kdb)
used=$(od -An -tx1 -v -w4096 whole/data.kdb | awk '/[1-9a-f]/ { last = NR } END { print last * 4096 }')

# flip FILE OFFSET -- change one byte
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059 # a byte by its octal number
    printf "\\$(printf %03o $((byte ^ 0x41)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# Bytes in pages behind the headers, which have twins.  Free pages may change unnoticed: under a
# sanitizer the database is small, and up to a third of its pages are free.
headers=65536
noticed=0
RANDOM=${KILN_SEED:-1}
echo "seed ${KILN_SEED:-1}: KILN_SEED replays it"
for try in $(seq "$tries"); do
    rm -rf d
    cp -r whole d
    offset=$((headers + (RANDOM * 32768 + RANDOM) % (used - headers)))
    flip d/data.kdb $offset
    status=0
    "$gigatest" --verify --db d --quiet >out.txt 2>err.txt </dev/null || status=$?
    case $status in
    0) ;;
    1)
        noticed=$((noticed + 1))
        [ -s err.txt ] || fault "try $try, byte $offset: status 1 and not a word"
        [ "$(wc -l <err.txt)" -le 30 ] || fault "try $try, byte $offset: too many lines"
        ;;
    *) fault "try $try, byte $offset of $size: exit status $status: $(head -3 err.txt)" ;;
    esac
done
[ $noticed -ge $((tries / 3)) ] || fault "only $noticed of $tries changed bytes were noticed"

# cut short, emptied, replaced
for size in 0 100 4096 $((used / 2)); do
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
