#!/bin/bash
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

# other options than those of the database
for other in "2000" "--seed 2" "--order random" "--ids given" "--index age"; do
    # shellcheck disable=SC2086 # words on purpose
    run 1 --resume --db d $other
    says err.txt "was made with"
done
run 0 --resume --db d 1000 --seed 1 --order sequential --ids auto --index name --verify

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
