#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gigatest: what it refuses, what it prints, what it leaves behind.
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"

run 0 --help
says out.txt "usage: gigatest"
grep -oE '^  --[a-z-]+' out.txt | while read -r option; do
    grep -qF -e "Fl -${option#--}" "$KILN_SRC/docs/man/gigatest.1" ||
        echo "$option"
done >unknown.txt
[ -s unknown.txt ] && fault "docs/man/gigatest.1 does not know $(cat unknown.txt)"
run 0 --version
says out.txt "gigatest "

run 2 --frobnicate
says err.txt "no such option: --frobnicate"
[ "$(wc -l <err.txt)" -eq 1 ] || fault "more than one line for a wrong option"
run 2 12x
run 2 --verify --db none
says err.txt "none: there is no database to verify"
run 2 --resume --db none
says err.txt "none: there is no database to go on with"
[ -e none ] && fault "a refused command made a database"

# a load without a terminal: lines and a summary, no control characters
run 0 $((50000 / slow)) --db d --verify --json report.json --html report.html --interval 0.05
says out.txt "objects/s"
says out.txt "verified "
for stage in loading "verifying records" "verifying index" "checking pages"; do # each to its end
    [ "$(grep -c "  $stage  [0-9,]* of [0-9,]* (100.0 %) in " out.txt)" -eq 1 ] ||
        { fault "$stage does not end at 100 %, once:"; cat out.txt; }
done
grep -q "$(printf '\033')" out.txt && fault "control characters without a terminal"
[ "$(json report.json objects)" = $((50000 / slow)) ] || fault "the report says other objects"
[ "$(json report.json verified)" = true ] || fault "the report does not say verified"
[ "$(json report.json data_bytes)" = "$(stat -c %s d/data.kdb)" ] || fault "data_bytes is not the file's size"
if command -v python3 >/dev/null; then
    python3 -c 'import json; json.load(open("report.json"))' || fault "report.json is no JSON"
fi
says report.html "</html>"
[ -n "$(find . -name '*.tmp')" ] && fault "the device's measuring left a file"

# a database in the way
run 2 1000 --db d
says err.txt "d: a database is there already"
run 2 1000 --db d --verify
says err.txt "--verify without COUNT checks it"
run 0 --verify --db d
run 0 1000 --db d --overwrite --verify --quiet
[ -s out.txt ] && fault "--quiet is not"
run 0 --verify --db d --json -
says out.txt '"objects": 1000,'
for words in "" --plain "--verify"; do # nothing but the object, whatever else is asked for
    # shellcheck disable=SC2086 # words on purpose
    run 0 1000 --db json-alone --overwrite --interval 0.01 $words --json -
    [ "$(head -n 1 out.txt)" = "{" ] && [ "$(grep -c '^[{}]' out.txt)" -eq 2 ] ||
        { fault "--json - $words: more than the object on standard output:"; head -5 out.txt; }
    [ -s err.txt ] && { fault "--json - $words: words on standard error:"; cat err.txt; }
done

# other options than those of the database
for other in "2000" "--seed 2" "--order random" "--ids given" "--index age"; do
    # shellcheck disable=SC2086 # words on purpose
    run 1 --resume --db d $other
    says err.txt "was made with"
done
run 0 --resume --db d 1000 --seed 1 --order sequential --ids auto --index name --verify

# what a refused --resume says
run 1 --resume --db d 2000
says err.txt "was made with COUNT 1,000, this command says 2,000"
[ "$(wc -l <err.txt)" -eq 1 ] && [ ! -s out.txt ] || fault "a refusal says more than why: $(cat err.txt out.txt)"
says err.txt "there is: 1,000 of 1,000 objects, --order sequential --ids auto --index name --seed 1, 0 rounds"
mkdir bare
run 2 --resume --db bare
says err.txt "the directory has no data.kdb"
echo file >plain
run 2 --resume --db plain
says err.txt "it is not a directory"
"$KILN_BUILD/bin/kiln" put --create other 'towns by name' k v
run 1 --resume --db other
says err.txt "was not made by gigatest: it has the collections towns by name"
[ "$(wc -l <err.txt)" -eq 1 ] && [ ! -s out.txt ] || fault "a refusal says more than why: $(cat err.txt out.txt)"

# --overwrite removes no file that is not kiln's, no open database, no log of another one
mkdir foreign
head -c 100000 /dev/zero >foreign/data.kdb
run 2 1000 --db foreign --overwrite
says err.txt "data.kdb is not a kiln database"
[ "$(stat -c %s foreign/data.kdb)" = 100000 ] || fault "--overwrite took a file that is not kiln's"
echo precious >foreign/data.kdb
run 2 1000 --db foreign --overwrite
[ "$(cat foreign/data.kdb)" = precious ] || fault "--overwrite took a short file that is not kiln's"
run 0 1000 --db one --quiet
run 0 1000 --db two --quiet
run 2 1000 --db one --overwrite --rfl-dir two/rfl
run 0 --verify --db two --quiet
run 0 --verify --db one --quiet
# nor does a new database go where another one's log is: refused before anything is made
for words in '' --overwrite '--keep --verify'; do
    # shellcheck disable=SC2086 # words on purpose
    run 2 1000 --db three --rfl-dir two/rfl $words
    says err.txt "two/rfl has the log of another database"
    [ ! -e three ] || fault "a refused gigatest $words leaves files behind: $(ls -R three)"
done
run 0 --verify --db two --quiet
mkdir one/rfl/mine && echo mine >one/rfl/mine/0000000000000000.rfl
run 0 500 --db one --overwrite --quiet
[ -s one/rfl/mine/0000000000000000.rfl ] || fault "--overwrite took a file below the log's directory"
run 0 1000 --db apart --rfl-dir apartlog --quiet
echo mine >apartlog/mine.txt
run 0 500 --db apart --rfl-dir apartlog --overwrite --verify --quiet
[ -s apartlog/mine.txt ] || fault "--overwrite took a foreign file beside the log"
dd if=/dev/urandom of=one/data.kdb bs=4096 seek=16 count=40 conv=notrunc status=none # damaged, but kiln's
run 0 500 --db one --overwrite --verify --quiet
mkfifo held
exec 9<>held # both ends: opening it waits for nobody
timeout 100 "$KILN_BUILD/bin/kiln" load one c --create --batch 1 <held 9<&- >held.txt &
holder=$!
printf 'key\tbeing held\n' >&9
for _ in $(seq 600); do # not by opening the database, which would be in the holder's way
    grep -qa 'being held' one/rfl/*.rfl && break
    sleep 0.1
done
run 2 1000 --db one --overwrite
says err.txt "in use"
exec 9>&-
wait $holder || fault "a database that was in use was harmed"

# output that cannot be written is told
for words in --help --version '--verify --db two' '--verify --db two --quiet --json -'; do
    status=0
    # shellcheck disable=SC2086 # words on purpose
    "$gigatest" $words >/dev/full 2>err.txt </dev/null || status=$?
    [ $status -eq 1 ] || fault "gigatest $words: a full standard output goes unnoticed: status $status"
    says err.txt "No space left"
done
for report in --json --html; do
    run 1 --verify --db two --quiet $report /dev/full
    says err.txt "cannot write /dev/full: No space left"
done
run 1 --verify --db two --quiet --json /no/such/place --html /dev/full # each of two is told
says err.txt "cannot write /no/such/place: No such file"
says err.txt "cannot write /dev/full: No space left"

# removal takes what is the database's and nothing else
run 0 1000 --db gone --remove --quiet
[ -e gone ] && fault "--remove left something"
run 0 1000 --db kept --quiet
echo mine >kept/mine.txt
run 0 1000 --db kept --overwrite --remove --quiet
[ "$(ls -A kept)" = mine.txt ] || fault "--remove took or left what it should not: $(ls -A kept)"

# a report that cannot be written is told, and a directory that cannot be made
run 1 1000 --db e --quiet --json /no/such/directory/report.json
says err.txt "cannot write /no/such/directory/report.json"
echo file >file
run 1 1000 --db file/db --quiet

# TERM unset, or no terminal of that name, is no reason to fail
if command -v script >/dev/null; then
    for term in "" dumb no-such-terminal; do
        rm -rf t
        TERM=$term script -qec "$gigatest 1000 --db t" /dev/null >out.txt 2>err.txt </dev/null ||
            fault "TERM=\"$term\": exit status $?"
        says out.txt "objects/s"
    done
fi
finish
