#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kiln command: what each subcommand writes, its one-line errors and its exit status.
set -u
kiln=$KILN_BUILD/bin/kiln
faults=0

[ -x "$kiln" ] || { echo "there is no $kiln: was it built?"; exit 1; }

fault() {
    echo "FAULT: $*"
    faults=$((faults + 1))
}

# run STATUS ARGUMENT... -- run kiln with in.txt as input; output in out.txt, err.txt
run() {
    local wanted=$1 status=0
    shift
    "$kiln" "$@" >out.txt 2>err.txt <in.txt || status=$?
    [ "$status" -eq "$wanted" ] || { fault "kiln $*: exit status $status, not $wanted"; cat out.txt err.txt; }
    if [ "$wanted" -eq 1 ] && [ "$(wc -l <err.txt)" -ne 1 ]; then
        fault "kiln $*: an error is one line:"
        cat err.txt
    fi
}

# prints FILE TEXT -- the file is exactly this, and a line feed
prints() {
    printf '%s\n' "$2" | cmp -s - "$1" || { fault "$1 is not \"$2\":"; head -c 400 "$1"; }
}

says() {
    grep -qF -e "$2" "$1" || { fault "$1 does not say \"$2\":"; head -c 400 "$1"; }
}

: >in.txt

# ---- command lines
run 2
run 2 bake db
run 2 get db c
run 2 get db c k --create
run 2 put db c k
run 2 put db c k v --file f
run 2 load db c --batch 0
run 2 get db c --hex 0g
run 0 help
says out.txt "kiln check"

# ---- help of each command: what it does and every option it takes, on standard output
for command in check stat list get put delete dump load recover; do
    run 0 $command --help
    says out.txt "usage: kiln $command "
    says out.txt '--rfl-dir DIR'
    [ -s err.txt ] && fault "kiln $command --help writes on standard error"
    cp out.txt help.txt
    run 0 $command -h
    cmp -s out.txt help.txt || fault "kiln $command -h is not --help"
    run 0 $command db --help some more
    cmp -s out.txt help.txt || fault "kiln $command db --help is not --help"
    run 0 help $command
    cmp -s out.txt help.txt || fault "kiln help $command is not --help"
    run 2 help $command more
    for option in $(grep -oE -e '--[a-z-]+' help.txt); do
        "$kiln" $command "$option" 1 >out.txt 2>err.txt
        grep -q 'no such option' err.txt && fault "kiln $command --help names $option, and does not take it"
    done
done
run 0 -h
says out.txt "kiln check"
run 2 help bake
run 2 get --frobnicate --help
[ ! -e db ] || fault "a question for help made a database"

# ---- numbers: gigatest and kiln take the same forms, and refuse in the same words
for size in 12x 1k '' 8192T 1e6 ' 8m' 0x800000 4.0000001m; do
    run 2 check db --cache "$size"
    sed 's/^kiln check: //' err.txt >words.txt
    "$KILN_BUILD/bin/gigatest" --cache "$size" --db none >out.txt 2>err.txt && fault "gigatest takes --cache \"$size\""
    sed 's/^gigatest: //' err.txt | cmp -s - words.txt || { fault "not the same words:"; cat err.txt words.txt; }
done
says words.txt 'is not a size such as'
for count in 0 -1 10x 1.5 99999999999999999999; do
    run 2 load db c --batch "$count"
    says err.txt "kiln load: --batch: \"$count\" is not "
done
printf 'a\t1\n' >in.txt
for size in 8m 8M 8MiB 8mib 0.0625g 8388608; do
    run 0 load sized c --create --cache "$size" --batch 1.5K
done
: >in.txt
run 0 version
prints out.txt "kiln $(awk '/^.define KILN_VERSION_(MAJOR|MINOR|PATCH) / { v = v dot $3; dot = "." } END { print v }' \
    "$KILN_SRC/include/kiln.h")"

# ---- a missing database, and one that is none
run 1 check none
run 1 put none c k v
[ ! -e none ] || fault "put without --create made a directory"
mkdir odd && head -c 100000 /dev/zero >odd/data.kdb
run 1 check odd
says err.txt FOREIGN

# ---- put, get, delete
run 1 put db c k v
run 0 put --create db c k 'a value'
run 0 get db c k
prints out.txt 'a value'
run 0 get db c 6b --hex
prints out.txt 612076616c7565
run 0 get db c k --raw
printf 'a value' | cmp -s - out.txt || fault "get --raw adds something"
run 1 get db c no
prints err.txt 'kiln get: no such key'
run 1 get db other k
run 1 put db c k w --insert
run 0 put db c --hex 6b00ff 0a
run 0 get db c --hex 6B00FF
prints out.txt 0a
run 0 put db c -- -k --v
run 0 get db c -- -k
prints out.txt '--v'
run 0 delete db c -- -k
run 1 delete db c -- -k
run 1 put db c '' v
run 1 put db c "$(printf '%1025s' x)" v
says err.txt TOOBIG

# ---- list, stat
run 0 put --create db 'a b' k v
run 0 list db
printf '2\tc\n1\ta b\n' | cmp -s - out.txt || { fault "list:"; cat out.txt; }
run 0 put --create db 'q"' k v
run 0 list db --json
says out.txt '{"name": "q\"", "keys": 1}'
run 0 stat db
says out.txt page_bytes
run 0 stat db --json
says out.txt '"page_bytes": '
run 0 stat db c
says out.txt leaf_pages

# ---- every byte survives dump and load, escaped and in hexadecimal
every=$(for i in $(seq 0 255); do printf '%02x' "$i"; done)
printf '%s\t%s\n00\t\n' "$every" "$every" >in.txt
run 0 load db bytes --create --hex
prints out.txt 2
: >in.txt
run 0 dump db bytes
[ "$(wc -l <out.txt)" -eq 4 ] || fault "dump has not two lines between its marks"
cp out.txt in.txt
run 0 load db bytes2 --create
: >in.txt
run 0 dump db bytes2 --hex
[ "$(head -1 out.txt)" = '#kiln dump 1 hex' ] || fault "no mark at the beginning: $(head -1 out.txt)"
printf '00\t\n%s\t%s\n' "$every" "$every" | sort | cmp -s - <(grep -v '^#' out.txt) || { fault "bytes were changed:"; cat out.txt; }

# ---- lines that are wrong, and what was committed before
printf 'a\t1\nb\t2\nc\t3\nno tab\n' >in.txt
run 1 load db lines --create --batch 2
says err.txt 'line 4: there is no tab between key and value; 2 lines are committed'
run 0 dump db lines
printf 'a\t1\nb\t2\n' | cmp -s - <(grep -v '^#' out.txt) || { fault "what was committed:"; cat out.txt; }
printf 'x\\q\t1\n' >in.txt
run 1 load db lines
printf 'b\t9\n' >in.txt
run 1 load db lines --insert
says err.txt 'line 1: the key is there already'
printf 'last\tline' >in.txt
run 0 load db lines
: >in.txt
run 0 get db lines last
prints out.txt line

# ---- a dump that was cut or changed on its way is noticed before anything is committed
seq 300 | awk '{ printf "%05d\tvalue %d\\n\n", $1, $1 }' >in.txt
run 0 load db marked --create
printf 'last\t' >>in.txt
run 0 load db marked
: >in.txt
run 0 dump db marked
cp out.txt dump.txt
run 0 dump db marked --hex
cp out.txt dumphex.txt
bytes=$(wc -c <dump.txt)

# damaged WORDS -- in.txt is not loaded, and nothing of it is
damaged() {
    run 1 load cut c --create
    says err.txt "$1"
    says err.txt '; 0 lines are committed'
    run 1 get cut c 00001
}
for less in 1 2 5 17 18 30 40 1000 $((bytes - 25)) $((bytes - 22)); do
    head -c $((bytes - less)) dump.txt >in.txt
    damaged 'line '
done
head -n -1 dump.txt >in.txt
damaged 'its end mark is missing'
sed 3d dump.txt >in.txt # a line less
damaged 'its end mark differs'
sed '5{h;d};6G' dump.txt >in.txt # two lines exchanged
damaged 'its end mark differs'
sed 's/value 77/value 78/' dump.txt >in.txt
damaged 'its end mark differs'
cat dump.txt dump.txt >in.txt
damaged 'there is more behind the end'
sed '1s/1/2/' dump.txt >in.txt
damaged 'a kind that this version does not read'
sed 1d dump.txt >in.txt # a mark at its end alone
damaged 'there is no tab'
sed '1s/escaped/hex/' dump.txt >in.txt
damaged 'not pairs'
cp dump.txt in.txt
run 1 load cut c --create --hex
says err.txt 'the dump is escaped'
head -n 200 dump.txt >in.txt
run 1 load parts c --create --batch 50
says err.txt 'its end mark is missing; 150 lines are committed'
for whole in dump.txt dumphex.txt; do # the dump says what it is
    rm -rf whole
    cp $whole in.txt
    run 0 load whole c --create
    prints out.txt 301
    : >in.txt
    run 0 dump whole c
    cmp -s out.txt dump.txt || fault "$whole came back changed"
done
cp dump.txt in.txt
run 0 load parts c --batch 7
prints out.txt 301
printf '' >in.txt
run 0 load empty c --create
run 0 dump empty c
[ "$(wc -l <out.txt)" -eq 2 ] || fault "a dump of nothing has more than its marks"
cp out.txt in.txt
run 0 load empty2 c --create
prints out.txt 0

# ---- large values, in and out
head -c 20000003 /dev/urandom >value
run 0 put db c big --file value
run 0 get db c big --raw
cmp -s value out.txt || fault "a large value came back changed"
run 0 dump db c --hex
mv out.txt in.txt
run 0 load db copy --hex --create
run 0 get db copy big --raw
cmp -s value out.txt || fault "a large value was changed by dump and load"
cp value in.txt
run 0 put db c pipe --file -
run 0 get db c pipe --raw
cmp -s value out.txt || fault "a large value from standard input was changed"
run 1 put db c gone --file none.txt
: >in.txt

# ---- files whose size nobody knows before they are read
head -c 3000001 value >middle
run 0 put few c fifo --create --file <(cat middle)
run 0 get few c fifo --raw
cat middle | cmp -s - out.txt || fault "a value from a pipe was changed"
run 0 put few c proc --file /proc/version
run 0 get few c proc --raw
cat /proc/version | cmp -s - out.txt || # cmp believes the size, too
    fault "a file of /proc was changed"
for page in /sys/kernel/mm/transparent_hugepage/enabled /sys/devices/system/cpu/online; do
    [ -r $page ] || continue # says that it has 4096 bytes
    run 0 put few c sys --file $page
    run 0 get few c sys --raw
    cat $page | cmp -s - out.txt || fault "a file of /sys was changed"
done
run 0 put few c empty --file /dev/null
run 0 get few c empty --raw
[ -s out.txt ] && fault "/dev/null is not empty"
for bytes in 0 1 1048575 1048576 1048577 2097152; do
    head -c $bytes value >part
    run 0 put few c part --file part
    run 0 get few c part --raw
    cmp -s part out.txt || fault "a file of $bytes bytes was changed"
    "$kiln" put few c part --file - < <(cat part) || fault "$bytes bytes from a pipe"
    run 0 get few c part --raw
    cmp -s part out.txt || fault "$bytes bytes from a pipe were changed"
done
for name in - /dev/stdin; do
    { printf 'head of 18 bytes.\n'; cat middle; } >in.txt
    run 0 put few c stdin --file $name
    run 0 get few c stdin --raw
    cmp -s in.txt out.txt || fault "--file $name was changed"
done
{
    dd bs=18 count=1 status=none >head.txt # a script has read some
    "$kiln" put few c rest --file - || fault "the rest of a regular file"
} <in.txt
: >in.txt
run 0 get few c rest --raw
cmp -s middle out.txt || fault "the rest of a regular file was changed"
run 1 put few c dir --file .
says err.txt 'directory'
run 1 put few c fifo --file middle --insert
prints err.txt 'kiln put: the key is there already'
run 0 put few c big2 --file middle --insert
run 0 get few c big2 --raw
cmp -s middle out.txt || fault "put --insert --file changed a value"

# ---- lines that end as on other systems are refused, not taken with a byte more
for lines in 'a\t1\r\n' 'a\t1\nb\t2\r\n' 'a\t1\r' '\r\n' '#kiln dump 1 escaped\r\na\t1\r\n#end 1 0\r\n'; do
    printf "$lines" >in.txt
    run 1 load crlf c --create
    says err.txt 'it ends in a carriage return'
    run 1 load crlf c --create --hex
    run 1 get crlf c a
done
printf '61\t62\r\n' >in.txt
run 1 load crlf c --create --hex
says err.txt 'it ends in a carriage return'
printf '\357\273\277a\t1\n' >in.txt
run 1 load crlf c --create
says err.txt 'line 1: it begins with a byte order mark'
printf '\\xef\\xbb\\xbfa\t1\na\t2\n\357\273\277b\t3\n' >in.txt
run 0 load mark c --create # escaped, or behind the first line, it is a key as others
run 0 dump mark c
cp out.txt in.txt
run 0 load mark2 c --create
printf 'a\rb\tc\rd\\r\n' >in.txt
run 0 load crlf c --create # inside a line, and escaped, it is a byte as others
: >in.txt
run 0 get crlf c 610d62 --hex
prints out.txt 630d640d

# ---- output that cannot be written is an error, whoever writes it and however little
printf 'x\ty\n' >in.txt
for words in 'dump few c' 'get few c proc' 'list few' 'list few --json' 'stat few' 'stat few c --json' \
    'check few' 'load few c' 'recover few' 'help' '--help' 'version' 'get --help' 'help get'; do
    status=0
    # shellcheck disable=SC2086 # words on purpose
    "$kiln" $words >/dev/full 2>err.txt <in.txt || status=$?
    [ $status -eq 1 ] || fault "kiln $words: a full disk goes unnoticed: status $status"
    says err.txt 'standard output: No space left'
    # shellcheck disable=SC2086
    "$kiln" $words >&- 2>err.txt <in.txt && fault "kiln $words: a closed standard output goes unnoticed"
done
: >in.txt

# ---- check: good, and with one bit changed
run 0 check few
prints out.txt ok
[ -s err.txt ] && fault "check shows its progress without being asked"
for one in few empty; do
    run 0 check $one --progress
    prints out.txt ok
    tr '\r' '\n' <err.txt | grep . >progress.txt
    tail -n 1 progress.txt | grep -q '^100 %' || { fault "the progress of $one ends at:"; cat progress.txt; }
    sort -n -c progress.txt || fault "the progress of $one goes back"
    [ "$(wc -l <progress.txt)" -le 101 ] || fault "the progress of $one is long"
done
run 0 check db
cp -r db bad
size=$(stat -c %s bad/data.kdb)
for ((at = 65536; at < size; at += 1 << 20)); do
    printf '\125\252\125' | dd of=bad/data.kdb bs=1 seek=$((at + 777)) conv=notrunc status=none
done
run 1 check bad
run 0 check db

# ---- a reader replays the log of a process that was killed, and writes nothing
mkfifo pipe
exec 9<>pipe # both ends: opening it waits for nobody
"$kiln" load kdb c --create --batch 1 <pipe 9<&- &
pid=$!
printf 'one\t1\ntwo\t2\nthree\t3\n' >&9
found=0
for _ in $(seq 300); do
    [ -e kdb/data.kdb ] && grep -qa three kdb/rfl/*.rfl && found=1 && break
    sleep 0.1
done
[ $found -eq 1 ] || fault "three lines are not committed in 30 seconds"
run 1 get kdb c one
says err.txt INUSE
kill -9 $pid
wait $pid 2>/dev/null
exec 9>&-
cat kdb/data.kdb kdb/rfl/* | cksum >before.txt
run 0 dump kdb c
[ "$(wc -l <out.txt)" -ge 2 ] || { fault "committed lines are missing:"; cat out.txt; }
run 0 stat kdb
grep -q '^recovered_txns *[1-9]' out.txt || { fault "nothing was recovered:"; cat out.txt; }
cat kdb/data.kdb kdb/rfl/* | cksum | cmp -s - before.txt || fault "a reading command wrote"
run 0 put kdb c four 4
run 0 check kdb

# ---- a replay that does not fit into the cache says so, and fits into a larger one
exec 9<>pipe
"$kiln" load big c --create --batch 2000 <pipe 9<&- &
pid=$!
seq 60000 | timeout 60 awk '{ printf "%d\t%0100d\n", $1 * 7919 % 60000, $1 }' >&9
found=0
for _ in $(seq 300); do
    [ -e big/data.kdb ] && grep -qa "$(printf '%0100d' 60000)" big/rfl/*.rfl && found=1 && break
    sleep 0.1
done
kill -9 $pid
wait $pid 2>/dev/null
exec 9>&-
run 1 check big --cache 4M
says err.txt 'does not fit into a cache'
run 0 check big

# ---- one transaction, several times larger than the cache, its pages changed again and again
seq 60000 | awk '{ printf "%d\t%0100d\n", $1 * 7919 % 60000, $1 }' >in.txt
run 0 load wide c --create --batch 1000000 --cache 4M
: >in.txt
run 0 check wide --cache 4M
run 0 list wide
prints out.txt "60000	c"

# ---- recover: a log that is missing, moved, or there
run 0 put rdb c one 1 --create
run 0 recover rdb
says out.txt 'nothing is lost'
run 2 recover rdb --accept-loss
run 2 recover rdb --log-moved
run 1 recover rdb --without-log
says err.txt EXISTS
mv rdb/rfl rlog
run 1 get rdb c one
says err.txt CORRUPT
says err.txt 'closed cleanly'
run 1 get rdb c one --rfl-dir rlog
says err.txt 'log-moved'
run 0 recover rdb --rfl-dir rlog --log-moved
run 0 get rdb c one
prints out.txt 1
rm -r rlog
run 1 put rdb c two 2
says err.txt 'kiln recover --without-log'
run 0 recover rdb --without-log
says out.txt 'nothing is lost'
run 0 put rdb c two 2
run 0 check rdb
rm -r rlog
: >rdb/lock
run 1 recover rdb --without-log
says err.txt '--accept-loss'
run 0 recover rdb --without-log --accept-loss
says out.txt 'are lost'
run 0 get rdb c two
prints out.txt 2
run 0 check rdb

[ "$faults" -eq 0 ]
