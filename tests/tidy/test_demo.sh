#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make demo: a page that says what happens, the result, and commands that work; the database stays,
# a second run replaces it, and it removes nothing else.
set -u
faults=0
fault() {
    echo "FAULT: $*"
    faults=1
}
build=$(cd "$KILN_BUILD" && pwd)
[ -x "$build/bin/gigatest" ] || { echo "there is no gigatest: was it built?"; exit 1; }
export KILN_DEMO_DIR="$PWD/a place"

demo() {
    bash "$KILN_SRC/tests/tidy/demo.sh" "$build" demo 2000 "$@" >out.txt 2>err.txt </dev/null
}

demo || { fault "the demo fails"; cat out.txt err.txt; }
[ -s err.txt ] && { fault "the demo complains"; cat err.txt; }
[ "$(wc -l <out.txt)" -le 40 ] || fault "the demo writes more than a page"
[ "$(awk '{ if (length > most) most = length } END { print most }' out.txt)" -le 160 ] || fault "wide lines"
for words in "2000 records" "2,000 of 2,000 (100.0 %)" "loaded      2,000 objects" "verified    2,000 objects" "To try next" "to remove it"; do
    grep -qF "$words" out.txt || { fault "the demo does not say \"$words\""; cat out.txt; }
done
[ -s "$KILN_DEMO_DIR/db/data.kdb" ] || fault "the database has gone"

# what it names can be run as it stands, but for the last, which removes
awk '/To try next/ { on = 1 } on && /^    /' out.txt >commands.txt
[ "$(wc -l <commands.txt)" -eq 4 ] || { fault "not four commands"; cat commands.txt; }
while read -r command; do
    case $command in
    rm*) ;;
    *) bash -c "$command" >said.txt 2>&1 </dev/null || { fault "$command"; cat said.txt; } ;;
    esac
done <commands.txt

echo mine >"$KILN_DEMO_DIR/mine.txt"
demo || { fault "the second demo fails"; cat out.txt err.txt; }
[ -s "$KILN_DEMO_DIR/mine.txt" ] || fault "the demo removed what is not its own"
demo --frobnicate && fault "a wrong option goes unnoticed"
[ -s "$KILN_DEMO_DIR/db/data.kdb" ] || fault "a refused demo removed the database"
bash -c "$(tail -n 1 commands.txt)" && [ ! -e "$KILN_DEMO_DIR" ] || fault "the command that removes it does not"
exit $faults
